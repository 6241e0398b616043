/** A claim as the runtime sends it, and its answer as the runtime reads it. */
import type { ClaimAnswer, Lease, Run } from "./Run.ts"

/** A claim of this boot: its number, its limits, and the leases of this process. */
export interface ClaimRequest {
  /** Grows with every claim of the boot; a claim that arrives late leases nothing. */
  readonly number: number
  /** 0 is the last claim of the boot: it leases nothing, and every lease that it does not name is released. */
  readonly limit: number
  readonly heartbeatLimit: number
  readonly held: ReadonlyArray<Lease>
  /** Leases whose runs have ended, although their outcome could not be stored. */
  readonly abandoned: ReadonlyArray<Lease>
  /** An answer of this boot may be missing: the leases that are not named are offered again. */
  readonly recoverUnnamed: boolean
}

/** The answer to a claim, with its readable and broken runs. */
export type Claim = Omit<ClaimAnswer, "runs"> & {
  readonly runs: ReadonlyArray<Run>
  /** Whether some runs could not be read at all; this process does not hold their leases. */
  readonly hasUnreadable: boolean
}

/** Times of a claim for the traces of its runs, epoch milliseconds of this process; `claimedThere` by the control plane's clock. */
export interface ClaimTimes {
  readonly from: number
  readonly claimed: number
  readonly claimedThere: number
  /** How many runs the claim returned. */
  readonly runs: number
}
