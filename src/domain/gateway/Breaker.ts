/**
 * Stops sending turns to a gateway or provider that fails for every agent: opens after five shared failures in a row
 * without a completed round between them, lets one probe through after 30 s, and doubles that wait up to 5 min. Times
 * are monotonic milliseconds.
 */
export type Breaker =
  | { readonly _tag: "Closed"; readonly failures: number }
  | { readonly _tag: "Open"; readonly until: number; readonly waitMillis: number }
  /** Probes may run. `probes` are the admissions under which they were claimed; only the ends of these count. */
  | {
      readonly _tag: "HalfOpen"
      readonly probes: ReadonlyArray<Admission>
      /** The moment from which the next probe may run; null means at once. */
      readonly heldUntil: number | null
      readonly waitMillis: number
    }

/** The number of the claim under which a run started; null outside a claim. */
export type Admission = number | null

const OPENS_AFTER = 5
const FIRST_WAIT = 30_000
const LONGEST_WAIT = 300_000
/** After this time another probe may run, because a probe can be a long turn. */
const PROBE_MILLIS = 60_000

const halfOpen = (waitMillis: number): Breaker => ({ _tag: "HalfOpen", probes: [], heldUntil: null, waitMillis })

/** The initial state. */
export const closed: Breaker = { _tag: "Closed", failures: 0 }

/** The breaker at this time: an open one becomes half open, and a half-open one allows its next probe. */
export const atTime = (breaker: Breaker, now: number): Breaker => {
  if (breaker._tag === "Open" && now >= breaker.until) return halfOpen(breaker.waitMillis)
  if (breaker._tag === "HalfOpen" && breaker.heldUntil !== null && now >= breaker.heldUntil) {
    return { ...breaker, heldUntil: null }
  }
  return breaker
}

/** Milliseconds until a run may start; null if it may start now. */
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

/** How many deliveries may be claimed now; `breaker` must be at the present time. */
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

/** How many runs of this admission may start now. In a half-open breaker only a probe may. */
export const admitted = (breaker: Breaker, admission: Admission): number =>
  isProbe(breaker, admission) ? 1 : breaker._tag === "HalfOpen" ? 0 : allowance(breaker)

const isProbe = (breaker: Breaker, admission: Admission): boolean =>
  breaker._tag === "HalfOpen" && breaker.probes.includes(admission)

/** After a pause one delivery runs first, as a probe. */
export const onResumed = (breaker: Breaker): Breaker => (breaker._tag === "Closed" ? halfOpen(FIRST_WAIT / 2) : breaker)

/** The gateway is ready again: a probe may run at once, even if earlier ones failed. */
export const onReady = (breaker: Breaker): Breaker => (breaker._tag === "Closed" ? breaker : halfOpen(FIRST_WAIT / 2))

/** A run is claimed. In a half-open breaker it is a probe. */
export const onClaimed = (breaker: Breaker, admission: Admission, now: number): Breaker =>
  breaker._tag === "HalfOpen" && breaker.heldUntil === null
    ? { ...breaker, probes: [...breaker.probes, admission], heldUntil: now + PROBE_MILLIS }
    : breaker

/** A shared failure. Failures of turns that started before the breaker opened are ignored. */
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

/** A round was completed, so gateway and provider work. In a half-open breaker only a probe's round counts. */
export const onCompleted = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && !isProbe(breaker, admission) ? breaker : closed

/** A probe ended without a result (skipped, interrupted): the next one may run. */
export const onInconclusive = (breaker: Breaker, admission: Admission): Breaker =>
  breaker._tag === "HalfOpen" && isProbe(breaker, admission)
    ? { ...breaker, probes: breaker.probes.filter((probe) => probe !== admission), heldUntil: null }
    : breaker
