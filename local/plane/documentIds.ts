const idLength = 32
/** The digits of the golden ratio: multiples of it are spread evenly. */
const digits = "618033988749894848204586834365638117720"

/**
 * The id of the table's document with this number. As in a deployment, ids differ in their first characters, so that
 * people can shorten them. convex-test reads the table's name after the digits.
 */
export const documentId = (table: string, number: number): string => {
  const length = idLength - table.length
  const scale = 10n ** BigInt(length)
  // It ends in 7, so it has no factor in common with the scale, and no two numbers give the same id.
  const step = BigInt(`${digits.slice(0, length - 1)}7`)
  return ((BigInt(number) * step) % scale).toString().padStart(length, "0") + table
}
