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

/** One claim at work: what it was asked, and what it has read and taken so far. */
export interface Claiming {
  readonly ctx: MutationCtx
  readonly accountId: Id<"accounts">
  readonly request: ClaimRequest
  readonly now: number
  readonly budget: ReadBudget
  /** What the contexts have in common, read at the first one. */
  readonly accountContext: () => Promise<AccountContext>
  /** Work of these agents is not taken. */
  readonly pausedAgents: Pauses["agentIds"]
  /** What these stop is not taken: it ends in their next batch. */
  readonly stops: ReadonlyArray<Doc<"stops">>
  /** What is known of budgets, read at the first run; null if the account is gone. */
  readonly book: () => Promise<SpendingBook | null>
  readonly runs: Array<Run>
  readonly spent: Array<string>
  /** The leases of this boot, read when they are needed: each that ends meanwhile conflicts with a claim that read them. */
  readonly ownLeases: () => Promise<ReadonlyArray<LeasedSession>>
  /** This claim takes a suspect run. */
  takesSuspect: boolean
  heldBack: number
  hasMore: boolean
  hasMoreHeartbeats: boolean
}

/** Whether one more run may be taken; the first one always may. */
export const hasRoom = ({ budget, request, runs }: Claiming): boolean =>
  runs.length < request.limit && (runs.length === 0 || budget.hasRoom)

/** Whether the process has a suspect run, or takes one here: it gets only one at a time. */
export const hasSuspect = async ({ ownLeases, request, takesSuspect }: Claiming): Promise<boolean> =>
  takesSuspect || (await ownLeases()).some((session) => session.lease.isSuspect && !isNamed(request.abandoned, session))

export const leaseFields = ({ now, request }: Claiming) => ({
  runtimeId: request.runtimeId,
  bootId: request.bootId,
  expiresAt: now + request.leaseMs,
  claimedAt: now
})

/** Whether budgets let a run begin, and with how much. */
export const permitted = async ({ book, ctx }: Claiming, spender: Spender): Promise<Permission> => {
  const known = await book()
  return known === null ? { allowance: null } : await permit(ctx, known, spender)
}

export const allowanceOf = (permission: Permission) =>
  "allowance" in permission && permission.allowance !== null ? { allowance: permission.allowance } : {}

/** How many due sessions beyond the limit one claim looks at: some may be busy with a heartbeat, or suspect. */
export const scanSlack = 50

/** Two attempts in a row that ended with their process make a run suspect. */
export const suspectAfter = 2
