import { type Result } from "./call.ts"
import { type OptimisticOptions } from "./optimistic.ts"
import { type Origin } from "./stats.ts"

const { setTimeout: setTimer } = globalThis

/** A mutation lost a conflict; none of its writes remain. */
export class Conflict extends Error {}

/** A deployment's answer, with 503, to a mutation that lost too often. */
export const conflictFailure: Result = {
  status: "unavailable",
  code: "OptimisticConcurrencyControlFailure",
  message: "Documents read from or written to changed while this mutation was being run and on every subsequent retry."
}

/** A deployment retries a client's mutation at most this often, and a scheduled one until it commits. */
const maximumRetries = 4

/** Whether a mutation with this many conflicts is not retried. */
export const isGivenUp = (origin: Origin, conflicts: number): boolean =>
  (origin === "client" || origin === "action") && conflicts > maximumRetries

export const waitFor = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimer(resolve, milliseconds)
  })

/**
 * Waits before a retry. Optimistic mode waits as a deployment does: 100 ms, doubled with each conflict up to 2 s, with
 * full jitter. Otherwise 5 ms to 1 s, so that random conflicts cost a test little time.
 */
export const pauseAfter = (conflicts: number, optimistic: OptimisticOptions | undefined): Promise<void> => {
  if (optimistic === undefined) return waitFor(Math.min(1000, 2.5 * 2 ** conflicts))
  const { random = Math.random, wait = waitFor } = optimistic
  return wait(random() * Math.min(2000, 100 * 2 ** (conflicts - 1)))
}

/**
 * Decides by a seed which commits lose a conflict. Each function has its own sequence, so that the same calls meet the
 * same conflicts, regardless of other calls. The generator is the 32-bit "mulberry" one.
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
