import { type Result } from "./call.ts"
import { type OptimisticOptions } from "./optimistic.ts"
import { type Origin } from "./stats.ts"

const { setTimeout: setTimer } = globalThis

/** A mutation lost to another one: nothing of it was written. */
export class Conflict extends Error {}

/** What a deployment answers, with 503, when a mutation has lost too often. */
export const conflictFailure: Result = {
  status: "unavailable",
  code: "OptimisticConcurrencyControlFailure",
  message: "Documents read from or written to changed while this mutation was being run and on every subsequent retry."
}

/** A deployment retries a mutation this often; a scheduled one until it commits. */
const maximumRetries = 4

/** Whether a mutation that has lost this often is not run again. */
export const isGivenUp = (origin: Origin, conflicts: number): boolean =>
  (origin === "client" || origin === "action") && conflicts > maximumRetries

export const waitFor = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimer(resolve, milliseconds)
  })

/**
 * Waits before the next try. In optimistic mode as a deployment does: 100 ms, doubled with each conflict up to 2 s, with
 * full jitter. Otherwise 5 ms to a second, so that conflicts made by chance cost a test little time.
 */
export const pauseAfter = (conflicts: number, optimistic: OptimisticOptions | undefined): Promise<void> => {
  if (optimistic === undefined) return waitFor(Math.min(1000, 2.5 * 2 ** conflicts))
  const { random = Math.random, wait = waitFor } = optimistic
  return wait(random() * Math.min(2000, 100 * 2 ** (conflicts - 1)))
}

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
