import { describeRollout } from "../../../src/domain/shared/Versions.ts"
import { internal } from "../../_generated/api.js"
import type { Doc } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { RolloutAccountState } from "../../tables/rollouts.ts"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { cut } from "../database/cut.ts"

/** A rollout within one transaction. `rollout` is a copy that the transaction changes and `save` stores. */
export interface Draft {
  readonly ctx: MutationCtx
  readonly rollout: Doc<"rollouts">
  readonly now: number
}

/** A copy of the rollout to change. */
export const draftOf = (ctx: MutationCtx, rollout: Doc<"rollouts">): Draft => ({
  ctx,
  now: Date.now(),
  rollout: {
    ...rollout,
    log: [...rollout.log],
    waves: rollout.waves.map(({ counts, size }) => ({ size, counts: { ...counts } }))
  }
})

const logged = 100

/** Adds an entry to the rollout's log. */
export const note = ({ now, rollout }: Draft, text: string): void => {
  rollout.log = [...rollout.log, { at: now, text: cut(text, 500) }].slice(-logged)
}

/**
 * Stores the rollout. Schedules its next step in `delayMs`, for the accounts after that position; null for no step. Any
 * step that was scheduled before does nothing.
 */
export const save = async (draft: Draft, next: { delayMs: number; after: number } | null): Promise<void> => {
  const { ctx, now, rollout } = draft
  const step = rollout.step + 1
  const { _creationTime, _id: id, ...fields } = rollout
  await ctx.db.replace("rollouts", id, { ...fields, step, steppedAt: now })
  if (next !== null) {
    await ctx.scheduler.runAfter(next.delayMs, internal.scheduled.rollouts.step, { id, step, after: next.after })
  }
}

/** The next step runs now, for all accounts. */
export const atOnce = { delayMs: 0, after: -1 }

type Change = Partial<Pick<Doc<"rolloutAccounts">, "runtimes" | "before">> & {
  readonly reason?: string | undefined
  readonly begunAt?: number | undefined
  readonly arrivedAt?: number | undefined
}

/** Moves an account to another state, and counts it. */
export const move = async (
  { ctx, rollout }: Draft,
  entry: Doc<"rolloutAccounts">,
  state: RolloutAccountState,
  change: Change = {}
): Promise<void> => {
  const counts = rollout.waves[entry.wave]?.counts
  if (counts !== undefined) {
    counts[entry.state] -= 1
    counts[state] += 1
  }
  await ctx.db.patch("rolloutAccounts", entry._id, { state, ...change })
}

/** "1.5 min". */
export const minutes = (ms: number): string => `${Math.round(ms / 6_000) / 10} min`

/** Why the rollout adds no command for this runtime: someone else's request is open. */
export const openRequest = ({ kind, requestedBy, runtimeId }: Doc<"runtimeCommands">): string =>
  `the ${kind} of ${runtimeId} that ${requestedBy.name} requested is open`

/** "wave 2 of 4". */
export const waveName = ({ rollout }: Draft, wave: number): string => `wave ${wave + 1} of ${rollout.waves.length}`

/** Adds an activity to the account: what this rollout did. */
export const tell = (draft: Draft, entry: Doc<"rolloutAccounts">, text: string): Promise<void> =>
  recordActivity(draft.ctx, {
    accountId: entry.accountId,
    type: "rollout",
    actor: systemActor,
    summary: `${describeRollout(draft.rollout)} (${waveName(draft, entry.wave)}): ${cut(text, 500)}`
  })
