/**
 * Keeps the runtime from hammering a gateway or provider that fails for everybody: opens after five shared failures in
 * a row with no completed turn between, lets one probe through after 30 s, and doubles that wait up to 5 min.
 * Times are monotonic milliseconds.
 */
export type Breaker =
  | { readonly _tag: "Closed"; readonly failures: number }
  | { readonly _tag: "Open"; readonly until: number; readonly waitMillis: number }
  /** One probe may run, or runs: the admission under which it was claimed. Nothing but its own end tells what it met. */
  | { readonly _tag: "HalfOpen"; readonly probe: Admission | null; readonly waitMillis: number }

/** Which claim let a run begin; null outside of any. */
export type Admission = number | null

const OPENS_AFTER = 5
const FIRST_WAIT = 30_000
const LONGEST_WAIT = 300_000

/** A breaker that has seen nothing yet. */
export const closed: Breaker = { _tag: "Closed", failures: 0 }

/** Time passing turns an open breaker half open. */
export const atTime = (breaker: Breaker, now: number): Breaker =>
  breaker._tag === "Open" && now >= breaker.until
    ? { _tag: "HalfOpen", probe: null, waitMillis: breaker.waitMillis }
    : breaker

/** How many deliveries may be claimed now; `breaker` is taken at the present time. */
export const allowance = (breaker: Breaker): number => {
  switch (breaker._tag) {
    case "Closed":
      return Number.POSITIVE_INFINITY
    case "Open":
      return 0
    case "HalfOpen":
      return breaker.probe === null ? 1 : 0
  }
}

/** How many runs of this admission may begin now: of those claimed earlier, as of any others, none but the probe. */
export const admitted = (breaker: Breaker, admission: Admission): number =>
  isProbe(breaker, admission) ? 1 : breaker._tag === "HalfOpen" ? 0 : allowance(breaker)

const isProbe = (breaker: Breaker, admission: Admission): boolean =>
  breaker._tag === "HalfOpen" && breaker.probe !== null && breaker.probe === admission

/** After a pause one delivery goes first; what it meets decides for the others. */
export const onResumed = (breaker: Breaker): Breaker =>
  breaker._tag === "Closed" ? { _tag: "HalfOpen", probe: null, waitMillis: FIRST_WAIT / 2 } : breaker

/** Something is claimed: in a half-open breaker that has none it is the probe. */
export const onClaimed = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && breaker.probe === null ? { ...breaker, probe: admission } : breaker

/** A shared failure. Those of turns begun before the breaker opened change nothing any more. */
export const onSharedFailure = (breaker: Breaker, admission: Admission, now: number): Breaker => {
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
      if (!isProbe(breaker, admission)) return breaker
      const waitMillis = Math.min(LONGEST_WAIT, breaker.waitMillis * 2)
      return { _tag: "Open", until: now + waitMillis, waitMillis }
    }
  }
}

/** A turn was completed, if only in silence: gateway and provider work. While half open the probe's end is awaited. */
export const onCompleted = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && !isProbe(breaker, admission) ? breaker : closed

/** A probe ended without telling anything about the gateway (skipped, interrupted): the next one may run. */
export const onInconclusive = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && isProbe(breaker, admission) ? { ...breaker, probe: null } : breaker
