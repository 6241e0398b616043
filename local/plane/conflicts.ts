/**
 * Decides by a seed which commits lose to a rival. Each function has a sequence of its own, so that the same calls meet the
 * same conflicts whatever else runs beside them. The generator is the 32-bit "mulberry" one.
 */
export const seededConflicts = (rate: number, seed: number): ((path: string) => boolean) => {
  const states = new Map<string, number>()
  return (path) => {
    const state = ((states.get(path) ?? hash(path) ^ seed) + 0x6d2b79f5) >>> 0
    states.set(path, state)
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 < rate
  }
}

/** FNV-1a, 32 bits. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193)
  return value
}
