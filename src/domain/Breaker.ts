/**
 * Keeps the runtime from hammering a gateway or provider that fails for everybody: opens after five shared failures in
 * a row with no answered turn between, lets one probe through after 30 s, and doubles that wait up to 5 min.
 * Times are monotonic milliseconds.
 */
export type Breaker =
  | { readonly _tag: "Closed"; readonly failures: number }
  | { readonly _tag: "Open"; readonly until: number; readonly waitMillis: number }
  /** One probe may run, or runs. */
  | { readonly _tag: "HalfOpen"; readonly isProbing: boolean; readonly waitMillis: number }

const OPENS_AFTER = 5
const FIRST_WAIT = 30_000
const LONGEST_WAIT = 300_000

/** A breaker that has seen nothing yet. */
export const closed: Breaker = { _tag: "Closed", failures: 0 }

/** Time passing turns an open breaker half open. */
export const atTime = (breaker: Breaker, now: number): Breaker =>
  breaker._tag === "Open" && now >= breaker.until
    ? { _tag: "HalfOpen", isProbing: false, waitMillis: breaker.waitMillis }
    : breaker

/** How many deliveries may be claimed now; `breaker` is taken at the present time. */
export const allowance = (breaker: Breaker): number => {
  switch (breaker._tag) {
    case "Closed":
      return Number.POSITIVE_INFINITY
    case "Open":
      return 0
    case "HalfOpen":
      return breaker.isProbing ? 0 : 1
  }
}

/** After a pause one delivery goes first; what it meets decides for the others. */
export const onResumed = (breaker: Breaker): Breaker =>
  breaker._tag === "Closed" ? { _tag: "HalfOpen", isProbing: false, waitMillis: FIRST_WAIT / 2 } : breaker

/** A delivery was claimed: in a half-open breaker it is the probe. */
export const onClaimed = (breaker: Breaker): Breaker =>
  breaker._tag === "HalfOpen" ? { ...breaker, isProbing: true } : breaker

/** A shared failure. Those of turns begun before the breaker opened change nothing any more. */
export const onSharedFailure = (breaker: Breaker, now: number): Breaker => {
  switch (breaker._tag) {
    case "Closed": {
      const failures = breaker.failures + 1
      return failures >= OPENS_AFTER
        ? { _tag: "Open", until: now + FIRST_WAIT, waitMillis: FIRST_WAIT }
        : { _tag: "Closed", failures }
    }
    case "Open":
      return breaker
    case "HalfOpen": {
      const waitMillis = Math.min(LONGEST_WAIT, breaker.waitMillis * 2)
      return { _tag: "Open", until: now + waitMillis, waitMillis }
    }
  }
}

/** A turn was answered: whatever it said, gateway and provider work. */
export const onAnswered = (): Breaker => closed

/** A probe ended without telling anything about the gateway (skipped, interrupted): the next one may run. */
export const onInconclusive = (breaker: Breaker): Breaker =>
  breaker._tag === "HalfOpen" ? { ...breaker, isProbing: false } : breaker
