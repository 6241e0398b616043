/** A count with its noun, e.g. "1 turn" and "2 turns". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`
