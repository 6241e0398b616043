import type { Doc } from "../../_generated/dataModel.js"
import { operator } from "../notifications/deadLetters.ts"
import { bootRow } from "../runtimes/boots.ts"
import { rivalsOf, requestCommand, withdrawCommand } from "../runtimes/commandRequests.ts"
import { runningRuntimes, runtimeRow } from "../runtimes/runtimes.ts"
import {
  areVersions,
  countAttempts,
  hasNewDeadLetter,
  judgeRuntime,
  moreFailures,
  type RolloutRuntime,
  type Verdict
} from "./healthGate.ts"
import { type Draft, minutes, move, note, openRequest, tell, waveName } from "./rolloutDraft.ts"

type Entry = Doc<"rolloutAccounts">

/** How long before the rollout an attempt may have ended to be compared with later ones. */
const comparedMs = 24 * 60 * 60 * 1_000

const maxRuntimes = 10

/** The account of an entry; null if it was deleted or is being deleted. */
export const accountOfEntry = async ({ ctx }: Draft, entry: Entry): Promise<Doc<"accounts"> | null> => {
  const account = await ctx.db.get("accounts", entry.accountId)
  return account?.deletion === undefined ? account : null
}

/** Withdraws the account's commands that no runtime has taken. */
export const withdrawUntaken = async ({ ctx }: Draft, { runtimes }: Entry): Promise<void> => {
  for (const runtime of runtimes) {
    const command = runtime.command === null ? null : await ctx.db.get("runtimeCommands", runtime.command)
    if (command?.state === "pending") await withdrawCommand(ctx, command, "withdrawn by the rollout")
  }
}

/** Takes an account out of the rollout because nothing can be asked of it. */
export const leaveOut = async (draft: Draft, entry: Entry, reason: string): Promise<void> => {
  await withdrawUntaken(draft, entry)
  await move(draft, entry, "left_out", { reason })
}

/** Whether a runtime has taken none of the account's commands yet, and at least one waits. */
const isUntaken = async ({ ctx }: Draft, { runtimes }: Entry): Promise<boolean> => {
  const commands = []
  for (const { command } of runtimes) {
    if (command !== null) commands.push(await ctx.db.get("runtimeCommands", command))
  }
  return commands.length > 0 && commands.every((command) => command?.state === "pending")
}

/** Fails an account, and withdraws its commands that no runtime has taken. */
export const failAccount = async (draft: Draft, entry: Entry, reason: string): Promise<void> => {
  await withdrawUntaken(draft, entry)
  const account = await accountOfEntry(draft, entry)
  note(draft, `${waveName(draft, entry.wave)}: ${account?.name ?? entry.accountId} failed: ${reason}`)
  await move(draft, entry, "failed", { reason })
  await tell(draft, entry, `failed, ${reason}`)
}

/** The runtimes to ask: those that are not offline, and those that the rollout asked before. */
const runtimesToAsk = async ({ ctx }: Draft, { accountId, runtimes }: Entry): Promise<Array<Doc<"runtimes">>> => {
  const rows = await runningRuntimes(ctx, accountId)
  for (const { runtimeId } of runtimes) {
    if (rows.some((row) => row.runtimeId === runtimeId)) continue
    const row = await runtimeRow(ctx, accountId, runtimeId)
    if (row !== null) rows.push(row)
  }
  return rows
}

/** Another request for a runtime of the account that the rollout's command would replace; null if there is none. */
const conflictOf = async (
  { ctx, rollout: { kind } }: Draft,
  { accountId, runtimes }: Entry,
  rows: ReadonlyArray<Doc<"runtimes">>
): Promise<string | null> => {
  const own = new Set(runtimes.map(({ command }) => command))
  for (const { runtimeId } of rows) {
    const rival = (await rivalsOf(ctx, { accountId, runtimeId, kind })).find(({ _id }) => !own.has(_id))
    if (rival !== undefined) return openRequest(rival)
  }
  return null
}

/** Adds the rollout's command for a runtime that needs one. */
const askRuntime = async (draft: Draft, entry: Entry, row: Doc<"runtimes">): Promise<RolloutRuntime> => {
  const { ctx, rollout } = draft
  const { accountId } = entry
  const { runtimeId } = row
  const { kind, openclawVersion, runtimeVersion } = rollout
  const boot = kind === "restart" ? await bootRow(ctx, accountId, runtimeId) : null
  const bootId = boot?.bootId ?? null
  const earlier = entry.runtimes.find((each) => each.runtimeId === runtimeId)
  const former =
    earlier === undefined || earlier.command === null ? null : await ctx.db.get("runtimeCommands", earlier.command)
  const known = {
    ...(earlier ?? { runtimeId, from: row.versions, bootId, wasDegraded: row.status === "degraded" }),
    hasTaken: earlier?.hasTaken === true || former?.takenAt !== undefined
  }
  const open = (await rivalsOf(ctx, { accountId, runtimeId, kind })).at(-1)
  if (open !== undefined) return { ...known, command: open._id }
  const isThere = kind === "restart" ? bootId !== known.bootId : areVersions(rollout, row.versions)
  if (isThere) return { ...known, command: null }
  const request = { accountId, runtimeId, kind, runtimeVersion, openclawVersion, requestedBy: operator }
  return { ...known, command: await requestCommand(ctx, request) }
}

/**
 * Begins with an account, or tries again after it failed: adds a command for each runtime that is not offline and needs
 * one. Leaves the account out if it is gone, has no such runtime, or has an open request of someone else. An account
 * that was asked before then fails instead.
 */
export const beginAccount = async (draft: Draft, entry: Entry): Promise<void> => {
  const { ctx, now } = draft
  const isRetry = entry.runtimes.length > 0
  if ((await accountOfEntry(draft, entry)) === null) return await leaveOut(draft, entry, "the account was deleted")
  const rows = await runtimesToAsk(draft, entry)
  if (rows.length === 0) return await leaveOut(draft, entry, "all its runtimes are offline")
  if (rows.length > maxRuntimes) return await leaveOut(draft, entry, `it has more than ${maxRuntimes} runtimes`)
  const conflict = await conflictOf(draft, entry, rows)
  if (conflict !== null) {
    return isRetry ? await failAccount(draft, entry, conflict) : await leaveOut(draft, entry, conflict)
  }
  const runtimes: Array<RolloutRuntime> = []
  for (const row of rows) runtimes.push(await askRuntime(draft, entry, row))
  if (!isRetry && runtimes.every(({ command }) => command === null)) {
    return await leaveOut(draft, entry, "it already runs the target versions")
  }
  const before = entry.before ?? (await countAttempts(ctx, entry.accountId, now - comparedMs, now))
  await move(draft, entry, "underway", { begunAt: now, arrivedAt: undefined, before, runtimes })
  await tell(draft, entry, isRetry ? "requested again" : "requested")
}

/** What the account's runtimes have done: failed if one has, pending if one is, otherwise arrived. */
const judgeRuntimes = async ({ ctx, rollout }: Draft, { accountId, runtimes }: Entry): Promise<Verdict> => {
  let verdict: Verdict = { kind: "arrived" }
  for (const runtime of runtimes) {
    const each = await judgeRuntime(ctx, rollout, accountId, runtime)
    if (each.kind === "failed") return each
    if (each.kind === "pending") verdict = each
  }
  return verdict
}

/**
 * Checks an account that is underway. It fails if a command failed, if it got a dead letter since it began, if more of
 * its attempts fail than before, or if the deadline passed before all its runtimes were online on the target. It is
 * done once it was healthy there for the time of observation. Reads the account, a dead letter, three rows per runtime
 * and, once it has arrived, 20 attempts.
 */
export const checkAccount = async (draft: Draft, entry: Entry): Promise<void> => {
  const { ctx, now, rollout } = draft
  const { accountId, arrivedAt, before = { attempts: 0, failed: 0 }, begunAt = now } = entry
  if ((await accountOfEntry(draft, entry)) === null) return await leaveOut(draft, entry, "the account was deleted")
  const verdict = await judgeRuntimes(draft, entry)
  if (verdict.kind === "failed") return await failAccount(draft, entry, verdict.reason)
  if (await hasNewDeadLetter(ctx, accountId, begunAt)) {
    return await failAccount(draft, entry, "it got a dead letter")
  }
  if (verdict.kind === "pending") {
    if (now - begunAt >= rollout.deadlineMs) {
      return await failAccount(draft, entry, `not healthy within ${minutes(rollout.deadlineMs)}: ${verdict.reason}`)
    }
    if (arrivedAt !== undefined) await ctx.db.patch("rolloutAccounts", entry._id, { arrivedAt: undefined })
    return
  }
  const since = arrivedAt ?? now
  const failures = moreFailures(before, await countAttempts(ctx, accountId, since, Infinity))
  if (failures !== null) return await failAccount(draft, entry, failures)
  if (now - since >= rollout.observeMs) {
    await move(draft, entry, "done", { arrivedAt: since, reason: undefined })
    return await tell(draft, entry, "done")
  }
  if (arrivedAt === undefined) await ctx.db.patch("rolloutAccounts", entry._id, { arrivedAt: since })
}

/**
 * Takes back an account that is underway if no runtime has taken its commands yet. It then waits again, or has failed
 * again if it was tried after a failure. Returns whether it took it back. Reads one row per runtime.
 */
export const takeBack = async (draft: Draft, entry: Entry): Promise<boolean> => {
  if (!(await isUntaken(draft, entry))) return false
  await withdrawUntaken(draft, entry)
  if (entry.reason === undefined) await move(draft, entry, "waiting", { runtimes: [], begunAt: undefined })
  else await move(draft, entry, "failed")
  await tell(draft, entry, "withdrawn")
  return true
}
