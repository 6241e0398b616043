import type { Doc } from "../../_generated/dataModel.js"
import { operator } from "../notifications/deadLetters.ts"
import { requestCommand, rivalsOf } from "../runtimes/commandRequests.ts"
import { runtimeRow } from "../runtimes/runtimes.ts"
import { areVersions, notOnline, type RolloutRuntime, type Verdict, versionsText } from "./healthGate.ts"
import { accountOfEntry, leaveOut, takeBack, withdrawUntaken } from "./rolloutAccounts.ts"
import { type Draft, minutes, move, note, openRequest, tell, waveName } from "./rolloutDraft.ts"

type Entry = Doc<"rolloutAccounts">

/** The versions to which the runtime returns: its former ones, where the rollout changes them. Null if unknown. */
const formerVersions = ({ openclawVersion, runtimeVersion }: Doc<"rollouts">, { from }: RolloutRuntime) => {
  const former = {
    runtimeVersion: runtimeVersion === null ? null : from.runtime,
    openclawVersion: openclawVersion === null ? null : from.openclaw
  }
  return former.runtimeVersion === null && former.openclawVersion === null ? null : former
}

/** Begins the rollback of an account. One whose commands no runtime has taken yet only waits again. */
export const beginRollback = async (draft: Draft, entry: Entry): Promise<void> => {
  if (entry.runtimes.length === 0) return await leaveOut(draft, entry, entry.reason ?? "nothing was asked of it")
  if (entry.state === "underway" && (await takeBack(draft, entry))) return
  await withdrawUntaken(draft, entry)
  await move(draft, entry, "rolling_back", { begunAt: draft.now, arrivedAt: undefined })
}

/** How far a runtime's rollback is, and the command to add for it. Reads three rows and the open commands. */
const judgeRollback = async (
  { ctx, rollout }: Draft,
  { accountId }: Entry,
  runtime: RolloutRuntime
): Promise<Verdict | { readonly kind: "request"; readonly former: NonNullable<ReturnType<typeof formerVersions>> }> => {
  const { from, rollback, runtimeId } = runtime
  const row = await runtimeRow(ctx, accountId, runtimeId)
  const former = formerVersions(rollout, runtime)
  const isBack = row !== null && former !== null && areVersions(former, row.versions)
  if (rollback !== undefined) {
    const command = await ctx.db.get("runtimeCommands", rollback)
    if (command?.state === "failed") {
      return { kind: "failed", reason: `the rollback of ${runtimeId} failed: ${command.message ?? "no reason given"}` }
    }
    const absence = notOnline(row, { ...runtime, wasDegraded: true })
    if (absence !== null) return { kind: "pending", reason: absence }
    if (command?.isOpen === true) return { kind: "pending", reason: `${runtimeId} has not reported its rollback` }
    return isBack ? { kind: "arrived" } : { kind: "pending", reason: `${runtimeId} does not run ${versionsText(from)}` }
  }
  const command = runtime.command === null ? null : await ctx.db.get("runtimeCommands", runtime.command)
  if (command?.isOpen === true) return { kind: "pending", reason: `${runtimeId} still carries out the upgrade` }
  const hasTaken = runtime.hasTaken || command?.takenAt !== undefined
  const isKnown = row?.status !== "offline" || !hasTaken
  if (row === null || (isBack && isKnown)) return { kind: "arrived" }
  if (former === null) return { kind: "failed", reason: `the former version of ${runtimeId} is not known` }
  const rival = (await rivalsOf(ctx, { accountId, runtimeId, kind: "rollback" })).at(-1)
  if (rival !== undefined) return { kind: "failed", reason: openRequest(rival) }
  return { kind: "request", former }
}

const failRollback = async (draft: Draft, entry: Entry, reason: string): Promise<void> => {
  const account = await accountOfEntry(draft, entry)
  note(draft, `${waveName(draft, entry.wave)}: ${account?.name ?? entry.accountId} is not rolled back: ${reason}`)
  await move(draft, entry, "rollback_failed", { reason })
  await tell(draft, entry, `rollback failed, ${reason}`)
}

/**
 * Continues the rollback of an account: adds a command for each runtime that does not run its former versions, once its
 * upgrade has ended. It fails if a rollback fails or the deadline passes. The rollback of a runtime that is offline
 * stays open until its next start, for at most a day. Reads the account, and three rows and the open commands of each
 * runtime.
 */
export const checkRollback = async (draft: Draft, entry: Entry): Promise<void> => {
  const { ctx, now, rollout } = draft
  const { accountId, begunAt = now } = entry
  if ((await accountOfEntry(draft, entry)) === null) return await leaveOut(draft, entry, "the account was deleted")
  const runtimes: Array<RolloutRuntime> = []
  let waitsFor: string | null = null
  let failure: string | null = null
  for (const runtime of entry.runtimes) {
    const verdict = await judgeRollback(draft, entry, runtime)
    if (verdict.kind === "failed") failure = verdict.reason
    if (verdict.kind === "pending") waitsFor = verdict.reason
    if (verdict.kind !== "request") {
      runtimes.push(runtime)
      continue
    }
    const { runtimeId } = runtime
    waitsFor = `${runtimeId} has not taken the rollback`
    const request = { accountId, runtimeId, kind: "rollback" as const, ...verdict.former, requestedBy: operator }
    runtimes.push({ ...runtime, rollback: await requestCommand(ctx, request) })
  }
  const isAsked = runtimes.some(({ rollback }, index) => rollback !== entry.runtimes[index]?.rollback)
  if (isAsked) {
    await ctx.db.patch("rolloutAccounts", entry._id, { runtimes })
    await tell(draft, entry, "rollback requested")
  }
  if (failure !== null) return await failRollback(draft, entry, failure)
  if (waitsFor === null) {
    await move(draft, entry, "rolled_back")
    return await tell(draft, entry, "rolled back")
  }
  if (now - begunAt < rollout.deadlineMs) return
  await failRollback(draft, entry, `not back within ${minutes(rollout.deadlineMs)}: ${waitsFor}`)
}
