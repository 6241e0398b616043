import { describeRollout } from "../../../src/domain/shared/Versions.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { withdrawUntaken } from "./rolloutAccounts.ts"
import { atOnce, type Draft, draftOf, move, note, save, tell, waveName } from "./rolloutDraft.ts"
import { advance, hasAccountsIn } from "./rolloutSteps.ts"

const noCounts = {
  waiting: 0,
  retrying: 0,
  underway: 0,
  done: 0,
  failed: 0,
  left_out: 0,
  skipped: 0,
  rolling_back: 0,
  rolled_back: 0,
  rollback_failed: 0
}

const maxWaves = 20
const maxAccounts = 2_000
/** The number of failed accounts that a resumption tries again, and of accounts that it skips. */
const maxRetried = 200
const dayMs = 24 * 60 * 60 * 1_000

/** The rollout that has not ended; null if there is none. Reads one row. */
export const openRollout = (ctx: Pick<QueryCtx, "db">): Promise<Doc<"rollouts"> | null> =>
  ctx.db
    .query("rollouts")
    .withIndex("by_ended", (q) => q.eq("endedAt", undefined))
    .first()

/** The rollout with this id, or the latest one. Fails with `not_found` if there is none. Reads one row. */
export const rolloutOf = async (ctx: Pick<QueryCtx, "db">, given: string | undefined): Promise<Doc<"rollouts">> => {
  const id = given === undefined ? null : ctx.db.normalizeId("rollouts", given)
  const rollout =
    given === undefined
      ? await ctx.db.query("rollouts").order("desc").first()
      : id === null
        ? null
        : await ctx.db.get("rollouts", id)
  if (rollout !== null) return rollout
  throw refusal(
    "not_found",
    given === undefined
      ? "There was no rollout yet. `fleet upgrade` or `fleet restart` starts one."
      : "There is no rollout with this id. `fleet rollout show` shows the latest."
  )
}

/** What a rollout does, to which accounts, and how long each may take and is observed. */
export interface RolloutRequest extends Pick<Doc<"rollouts">, "kind" | "runtimeVersion" | "openclawVersion"> {
  readonly waves: ReadonlyArray<ReadonlyArray<string>>
  readonly deadlineMs: number
  readonly observeMs: number
}

const words = (state: string): string => state.replaceAll("_", " ")

const mustBeWaves = (ctx: MutationCtx, waves: ReadonlyArray<ReadonlyArray<string>>): Array<Array<Id<"accounts">>> => {
  const accounts = waves.flat()
  if (waves.length === 0 || waves.length > maxWaves || accounts.length > maxAccounts) {
    throw refusal("limit", `A rollout has 1 to ${maxWaves} waves and at most ${maxAccounts} accounts.`)
  }
  if (waves.some((wave) => wave.length === 0)) throw refusal("invalid", "A wave has no account. Leave it out.")
  if (new Set(accounts).size < accounts.length) throw refusal("invalid", "An account is in two waves. Name it once.")
  return waves.map((wave) =>
    wave.map((given) => {
      const id = ctx.db.normalizeId("accounts", given)
      if (id === null) throw refusal("invalid", "An account id is malformed. List the accounts.")
      return id
    })
  )
}

/**
 * Starts a rollout. Fails with `conflict` while another one has not ended. Reads one row and writes one for each
 * account.
 */
export const startRollout = async (ctx: MutationCtx, request: RolloutRequest): Promise<Id<"rollouts">> => {
  const { deadlineMs, kind, observeMs, openclawVersion, runtimeVersion } = request
  const open = await openRollout(ctx)
  if (open !== null) {
    const todo = open.state === "stopped" ? "Resume, roll back or cancel it first." : "Wait for its end, or cancel it."
    throw refusal("conflict", `Another rollout (${describeRollout(open)}) is ${words(open.state)}. ${todo}`)
  }
  if (!(deadlineMs >= 1_000 && deadlineMs <= dayMs) || !(observeMs >= 0 && observeMs <= dayMs)) {
    throw refusal("invalid", "deadlineMs is 1000 to 86400000 milliseconds, observeMs 0 to 86400000.")
  }
  const waves = mustBeWaves(ctx, request.waves)
  const id = await ctx.db.insert("rollouts", {
    kind,
    runtimeVersion,
    openclawVersion,
    deadlineMs,
    observeMs,
    state: "running",
    wave: 0,
    waves: waves.map(({ length: size }) => ({ size, counts: { ...noCounts, waiting: size } })),
    step: 0,
    steppedAt: Date.now(),
    log: []
  })
  let position = 0
  for (const [wave, accountIds] of waves.entries()) {
    for (const accountId of accountIds) {
      await ctx.db.insert("rolloutAccounts", {
        rolloutId: id,
        accountId,
        wave,
        position,
        state: "waiting",
        runtimes: []
      })
      position += 1
    }
  }
  const draft = draftOf(ctx, await rolloutOf(ctx, id))
  note(draft, `${describeRollout(request)} of ${position} account${position === 1 ? "" : "s"} started`)
  note(draft, `${waveName(draft, 0)} began`)
  await save(draft, atOnce)
  return id
}

const mustBeOpen = async (ctx: MutationCtx): Promise<Draft> => {
  const rollout = await openRollout(ctx)
  if (rollout === null) throw refusal("not_found", "No rollout is active. `fleet rollout show` shows the latest.")
  if (rollout.state === "rolling_back" || rollout.state === "cancelling") {
    throw refusal("conflict", "The rollout is being cancelled or rolled back. Wait until that ends.")
  }
  return draftOf(ctx, rollout)
}

/** Takes an account that has not ended out of the rollout. What a runtime has begun it continues. */
const skip = async (draft: Draft, given: string): Promise<void> => {
  const { ctx, rollout } = draft
  const accountId = ctx.db.normalizeId("accounts", given)
  const entry =
    accountId === null
      ? null
      : await ctx.db
          .query("rolloutAccounts")
          .withIndex("by_rollout_account", (q) => q.eq("rolloutId", rollout._id).eq("accountId", accountId))
          .unique()
  if (entry === null)
    throw refusal(
      "not_found",
      "An account to skip is not part of the rollout. `fleet rollout show --json` lists its accounts."
    )
  if (!["waiting", "retrying", "underway", "failed"].includes(entry.state)) {
    throw refusal(
      "conflict",
      "An account to skip has already ended: only accounts that failed or have not ended can be skipped."
    )
  }
  await withdrawUntaken(draft, entry)
  await move(draft, entry, "skipped", { reason: entry.reason ?? "skipped by the operator" })
  await tell(draft, entry, "skipped by the operator")
}

/**
 * Continues a stopped rollout: tries the failed accounts of the current wave again, except those to skip, then
 * continues. A running rollout only skips those, and looks at its accounts at once. Reads at most 200 failed accounts.
 */
export const resumeRollout = async (ctx: MutationCtx, skipped: ReadonlyArray<string>): Promise<void> => {
  if (skipped.length > maxRetried) throw refusal("limit", `At most ${maxRetried} accounts can be skipped at once.`)
  const draft = await mustBeOpen(ctx)
  const { rollout } = draft
  for (const given of skipped) await skip(draft, given)
  const failed = await ctx.db
    .query("rolloutAccounts")
    .withIndex("by_state", (q) => q.eq("rolloutId", rollout._id).eq("state", "failed"))
    .take(maxRetried + 1)
  if (failed.length > maxRetried) {
    throw refusal("limit", `More than ${maxRetried} accounts failed. Roll back or cancel, then start a new rollout.`)
  }
  for (const entry of failed) await move(draft, entry, "retrying")
  note(draft, `resumed by the operator: ${failed.length} tried again, ${skipped.length} skipped`)
  const wasStopped = rollout.state === "stopped"
  rollout.state = "running"
  // Otherwise a wave of which every account was left out would stop again.
  const isOver = wasStopped && !(await hasAccountsIn(draft, "retrying", "waiting", "underway"))
  await save(draft, !isOver || advance(draft) ? atOnce : null)
}

/** Ends the active rollout. Its accounts keep what they have; commands that no runtime has taken are withdrawn. */
export const cancelRollout = async (ctx: MutationCtx): Promise<void> => {
  const draft = await mustBeOpen(ctx)
  draft.rollout.state = "cancelling"
  note(draft, "cancelled by the operator")
  await save(draft, atOnce)
}

/**
 * Rolls back the last wave of the latest upgrade, or all its waves, also after its end. Every runtime that it changed
 * is asked to return to its former versions.
 */
export const rollBackRollout = async (ctx: MutationCtx, isAll: boolean): Promise<void> => {
  const draft = draftOf(ctx, await rolloutOf(ctx, undefined))
  const { rollout } = draft
  if (rollout.kind === "restart") {
    throw refusal(
      "invalid",
      "The latest rollout is a restart, which cannot be rolled back. `fleet rollout cancel` ends it if it is active."
    )
  }
  if (["rolling_back", "rolled_back", "cancelling"].includes(rollout.state)) {
    throw refusal("conflict", `The rollout is ${words(rollout.state)}. \`fleet rollout show\` shows it.`)
  }
  rollout.state = "rolling_back"
  rollout.rollbackFrom = isAll ? 0 : rollout.wave
  delete rollout.endedAt
  const what = isAll && rollout.wave > 0 ? `waves 1 to ${rollout.wave + 1}` : waveName(draft, rollout.wave)
  note(draft, `rollback of ${what} requested by the operator`)
  await save(draft, atOnce)
}

const deletedAtOnce = 250

/**
 * Deletes the oldest rollout that ended before that time, 250 accounts at a time. Returns whether there may be more.
 */
export const deleteRollouts = async (ctx: MutationCtx, before: number): Promise<boolean> => {
  const rollout = await ctx.db
    .query("rollouts")
    .withIndex("by_ended", (q) => q.gt("endedAt", 0).lt("endedAt", before))
    .first()
  if (rollout === null) return false
  const entries = await ctx.db
    .query("rolloutAccounts")
    .withIndex("by_rollout", (q) => q.eq("rolloutId", rollout._id))
    .take(deletedAtOnce)
  for (const { _id } of entries) await ctx.db.delete("rolloutAccounts", _id)
  if (entries.length < deletedAtOnce) await ctx.db.delete("rollouts", rollout._id)
  return true
}
