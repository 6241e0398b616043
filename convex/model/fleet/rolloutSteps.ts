import { describeRollout } from "../../../src/domain/shared/Versions.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { RolloutAccountState } from "../../tables/rollouts.ts"
import { beginAccount, checkAccount, failAccount, takeBack } from "./rolloutAccounts.ts"
import { atOnce, type Draft, draftOf, move, note, save, waveName } from "./rolloutDraft.ts"
import { beginRollback, checkRollback } from "./rolloutRollbacks.ts"

type Entry = Doc<"rolloutAccounts">

/** The number of accounts that one step handles. */
const batch = 20

/** The time between two looks at the accounts that are underway: a thirtieth of the deadline, at most a minute. */
const pauseMs = ({ rollout }: Draft): number => Math.min(60_000, Math.ceil(rollout.deadlineMs / 30))

/** The positions of the waves from `first` up to and including `last`. */
const positions = ({ waves }: Doc<"rollouts">, first: number, last: number) => {
  const before = (wave: number) => waves.slice(0, wave).reduce((sum, { size }) => sum + size, 0)
  return { from: before(first), until: before(last + 1) }
}

/** The next accounts in a state, after a position. Waves are given by index, by default only the current one. */
const accountsIn = (
  { ctx, rollout }: Draft,
  state: RolloutAccountState,
  { after = -1, count = batch, first = rollout.wave }: { after?: number; count?: number; first?: number } = {}
): Promise<Array<Entry>> => {
  const { from, until } = positions(rollout, first, rollout.wave)
  return ctx.db
    .query("rolloutAccounts")
    .withIndex("by_state", (q) =>
      q
        .eq("rolloutId", rollout._id)
        .eq("state", state)
        .gt("position", Math.max(after, from - 1))
        .lt("position", until)
    )
    .take(count)
}

/** Whether an account of the current wave is in one of these states. Reads at most one row for each. */
export const hasAccountsIn = async (draft: Draft, ...states: ReadonlyArray<RolloutAccountState>): Promise<boolean> => {
  for (const state of states) if ((await accountsIn(draft, state, { count: 1 })).length > 0) return true
  return false
}

/** Handles the next accounts underway. Returns where the next step continues: after them, or from the start later. */
const lookAt = async (
  draft: Draft,
  state: RolloutAccountState,
  options: { readonly after: number; readonly first?: number },
  handle: (entry: Entry) => Promise<unknown>
): Promise<{ delayMs: number; after: number }> => {
  const entries = await accountsIn(draft, state, options)
  for (const entry of entries) await handle(entry)
  const last = entries.at(-1)
  return last !== undefined && entries.length === batch
    ? { delayMs: 0, after: last.position }
    : { delayMs: pauseMs(draft), after: -1 }
}

/** Goes to the next wave, or ends the rollout after the last. Returns whether there is one. */
export const advance = (draft: Draft): boolean => {
  const { now, rollout } = draft
  if (rollout.wave + 1 < rollout.waves.length) {
    rollout.wave += 1
    note(draft, `${waveName(draft, rollout.wave)} began`)
    return true
  }
  rollout.state = "done"
  rollout.endedAt = now
  note(draft, `${describeRollout(rollout)} is done`)
  return false
}

const run = async (draft: Draft, after: number): Promise<{ delayMs: number; after: number } | null> => {
  const { rollout } = draft
  for (const state of ["retrying", "waiting"] as const) {
    const entries = await accountsIn(draft, state)
    for (const entry of entries) await beginAccount(draft, entry)
    if (entries.length > 0) {
      if (await hasAccountsIn(draft, "failed")) stop(draft)
      return atOnce
    }
  }
  const next = await lookAt(draft, "underway", { after }, (entry) => checkAccount(draft, entry))
  if (await hasAccountsIn(draft, "failed")) {
    stop(draft)
    return atOnce
  }
  if (next.delayMs === 0 || (await hasAccountsIn(draft, "underway"))) return next
  if (!(await hasAccountsIn(draft, "done", "skipped"))) {
    note(draft, `${waveName(draft, rollout.wave)}: every account was left out, so nothing is known about the target`)
    stop(draft)
    return null
  }
  note(draft, `${waveName(draft, rollout.wave)} is healthy`)
  return advance(draft) ? atOnce : null
}

const stop = (draft: Draft): void => {
  draft.rollout.state = "stopped"
  note(draft, `stopped in ${waveName(draft, draft.rollout.wave)}: no further account is asked`)
}

/** A stopped rollout takes back what no runtime has taken, and watches the others until they end. */
const stopped = async (draft: Draft, after: number) => {
  const next = await lookAt(draft, "underway", { after }, async (entry) => {
    if (!(await takeBack(draft, entry))) await checkAccount(draft, entry)
  })
  return next.delayMs === 0 || (await hasAccountsIn(draft, "underway")) ? next : null
}

const cancel = async (draft: Draft) => {
  for (const state of ["underway", "retrying"] as const) {
    const entries = await accountsIn(draft, state)
    for (const entry of entries) {
      if (state === "retrying") await move(draft, entry, "failed")
      else if (!(await takeBack(draft, entry))) {
        await failAccount(draft, entry, "the rollout was cancelled while a runtime carried out its command")
      }
    }
    if (entries.length > 0) return atOnce
  }
  draft.rollout.state = "cancelled"
  draft.rollout.endedAt = draft.now
  note(draft, "cancelled")
  return null
}

const rollBack = async (draft: Draft, after: number) => {
  const { now, rollout } = draft
  const first = rollout.rollbackFrom ?? rollout.wave
  for (const state of ["underway", "retrying", "done", "failed", "skipped"] as const) {
    const entries = await accountsIn(draft, state, { first })
    for (const entry of entries) await beginRollback(draft, entry)
    if (entries.length > 0) return atOnce
  }
  const next = await lookAt(draft, "rolling_back", { after, first }, (entry) => checkRollback(draft, entry))
  if (next.delayMs === 0 || (await accountsIn(draft, "rolling_back", { first, count: 1 })).length > 0) return next
  rollout.state = "rolled_back"
  rollout.endedAt = now
  note(draft, "rolled back")
  return null
}

/**
 * One step of a rollout: handles at most 20 accounts and schedules the next step. A step that was replaced in the
 * meantime does nothing.
 */
export const stepRollout = async (
  ctx: MutationCtx,
  args: { readonly id: Id<"rollouts">; readonly step: number; readonly after: number }
): Promise<void> => {
  const rollout = await ctx.db.get("rollouts", args.id)
  if (rollout === null || rollout.step !== args.step || rollout.endedAt !== undefined) return
  const draft = draftOf(ctx, rollout)
  switch (rollout.state) {
    case "running":
      return await save(draft, await run(draft, args.after))
    case "stopped":
      return await save(draft, await stopped(draft, args.after))
    case "cancelling":
      return await save(draft, await cancel(draft))
    case "rolling_back":
      return await save(draft, await rollBack(draft, args.after))
    default:
      return
  }
}
