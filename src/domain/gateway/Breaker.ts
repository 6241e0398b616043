/**
 * Keeps the runtime from hammering a gateway or provider that fails for everybody: opens after five shared failures in
 * a row with no completed round between, lets one probe through after 30 s, and doubles that wait up to 5 min.
 * Times are monotonic milliseconds.
 */
export type Breaker =
  | { readonly _tag: "Closed"; readonly failures: number }
  | { readonly _tag: "Open"; readonly until: number; readonly waitMillis: number }
  /** Probes may run: the admissions under which they were claimed. Nothing but their own ends tells what they met. */
  | {
      readonly _tag: "HalfOpen"
      readonly probes: ReadonlyArray<Admission>
      /** The next probe may run from this moment; null: at once. */
      readonly heldUntil: number | null
      readonly waitMillis: number
    }

/** Which claim let a run begin; null outside of any. */
export type Admission = number | null

const OPENS_AFTER = 5
const FIRST_WAIT = 30_000
const LONGEST_WAIT = 300_000
/** A probe that takes longer, such as a long turn, holds up the others no more: one more may run. */
const PROBE_MILLIS = 60_000

const halfOpen = (waitMillis: number): Breaker => ({ _tag: "HalfOpen", probes: [], heldUntil: null, waitMillis })

/** A breaker that has seen nothing yet. */
export const closed: Breaker = { _tag: "Closed", failures: 0 }

/** Time passing turns an open breaker half open, and lets the next probe run. */
export const atTime = (breaker: Breaker, now: number): Breaker => {
  if (breaker._tag === "Open" && now >= breaker.until) return halfOpen(breaker.waitMillis)
  if (breaker._tag === "HalfOpen" && breaker.heldUntil !== null && now >= breaker.heldUntil) {
    return { ...breaker, heldUntil: null }
  }
  return breaker
}

/** In how many milliseconds time lets something begin; null if it may now. */
export const opensIn = (breaker: Breaker, now: number): number | null => {
  switch (breaker._tag) {
    case "Closed":
      return null
    case "Open":
      return breaker.until - now
    case "HalfOpen":
      return breaker.heldUntil === null ? null : breaker.heldUntil - now
  }
}

/** How many deliveries may be claimed now; `breaker` is taken at the present time. */
export const allowance = (breaker: Breaker): number => {
  switch (breaker._tag) {
    case "Closed":
      return Number.POSITIVE_INFINITY
    case "Open":
      return 0
    case "HalfOpen":
      return breaker.heldUntil === null ? 1 : 0
  }
}

/** How many runs of this admission may begin now: of those claimed earlier, as of any others, none but the probe. */
export const admitted = (breaker: Breaker, admission: Admission): number =>
  isProbe(breaker, admission) ? 1 : breaker._tag === "HalfOpen" ? 0 : allowance(breaker)

const isProbe = (breaker: Breaker, admission: Admission): boolean =>
  breaker._tag === "HalfOpen" && breaker.probes.includes(admission)

/** After a pause one delivery goes first; what it meets decides for the others. */
export const onResumed = (breaker: Breaker): Breaker => (breaker._tag === "Closed" ? halfOpen(FIRST_WAIT / 2) : breaker)

/** The gateway is ready again: one probe may run at once, whatever earlier ones met. */
export const onReady = (breaker: Breaker): Breaker => (breaker._tag === "Closed" ? breaker : halfOpen(FIRST_WAIT / 2))

/** Something is claimed: in a half-open breaker it is a probe. */
export const onClaimed = (breaker: Breaker, admission: Admission, now: number): Breaker =>
  breaker._tag === "HalfOpen" && breaker.heldUntil === null
    ? { ...breaker, probes: [...breaker.probes, admission], heldUntil: now + PROBE_MILLIS }
    : breaker

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

/** A round was completed: gateway and provider work. While half open only a probe's tells that. */
export const onCompleted = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && !isProbe(breaker, admission) ? breaker : closed

/** A probe ended without telling anything about the gateway (skipped, interrupted): the next one may run. */
export const onInconclusive = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && isProbe(breaker, admission)
    ? { ...breaker, probes: breaker.probes.filter((probe) => probe !== admission), heldUntil: null }
    : breaker
