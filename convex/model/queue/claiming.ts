import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { type Permission, type Spender, permit } from "../budgets/budgets.ts"
import type { SpendingBook } from "../budgets/spendingBook.ts"
import type { AccountContext } from "../contexts/accountContext.ts"
import type { ReadBudget } from "../contexts/readBudget.ts"
import type { Run } from "./claimAnswer.ts"
import type { ClaimRequest } from "./claimRequest.ts"
import { isNamed } from "./leases.ts"
import type { Pauses } from "./pauses.ts"
import type { LeasedSession } from "./sessions.ts"

/** A claim in progress: its request, and what it has read and leased so far. */
export interface Claiming {
  readonly ctx: MutationCtx
  readonly accountId: Id<"accounts">
  readonly request: ClaimRequest
  readonly now: number
  readonly budget: ReadBudget
  /** The shared parts of the contexts, read when the first one is built. */
  readonly accountContext: () => Promise<AccountContext>
  /** Agents whose work is not claimed. */
  readonly pausedAgents: Pauses["agentIds"]
  /** Stops in progress. Their next batch ends the work that they cover, so it is not claimed. */
  readonly stops: ReadonlyArray<Doc<"stops">>
  /** Budgets and spending, read at the first run; null if the account is gone. */
  readonly book: () => Promise<SpendingBook | null>
  readonly runs: Array<Run>
  readonly spent: Array<string>
  /**
   * The leases of this boot, read only when needed: a claim that reads them conflicts with every run that ends during
   * it.
   */
  readonly ownLeases: () => Promise<ReadonlyArray<LeasedSession>>
  /** This claim leased a suspect run. */
  takesSuspect: boolean
  heldBack: number
  hasMore: boolean
  hasMoreHeartbeats: boolean
}

/** Whether one more run may be leased. The first one always may. */
export const hasRoom = ({ budget, request, runs }: Claiming): boolean =>
  runs.length < request.limit && (runs.length === 0 || budget.hasRoom)

/** Whether the process has a suspect run or gets one in this claim. It gets at most one at a time. */
export const hasSuspect = async ({ ownLeases, request, takesSuspect }: Claiming): Promise<boolean> =>
  takesSuspect || (await ownLeases()).some((session) => session.lease.isSuspect && !isNamed(request.abandoned, session))

export const leaseFields = ({ now, request }: Claiming) => ({
  runtimeId: request.runtimeId,
  bootId: request.bootId,
  expiresAt: now + request.leaseMs,
  claimedAt: now
})

/** Whether budgets allow a run to begin, and with how many tokens. */
export const permitted = async ({ book, ctx }: Claiming, spender: Spender): Promise<Permission> => {
  const known = await book()
  return known === null ? { allowance: null } : await permit(ctx, known, spender)
}

export const allowanceOf = (permission: Permission) =>
  "allowance" in permission && permission.allowance !== null ? { allowance: permission.allowance } : {}

/** The number of due sessions read beyond the limit, because some may be busy with a heartbeat or suspect. */
export const scanSlack = 50

/** A run is suspect after this many consecutive attempts whose process ended. */
export const suspectAfter = 2
