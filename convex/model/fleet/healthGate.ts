import type { Infer } from "convex/values"
import { describeVersions, isOnVersion } from "../../../src/domain/shared/Versions.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import type { attemptCounts, rolloutRuntime } from "../../tables/rollouts.ts"
import { bootRow } from "../runtimes/boots.ts"
import { runtimeRow } from "../runtimes/runtimes.ts"

type Reading = Pick<QueryCtx, "db">
export type RolloutRuntime = Infer<typeof rolloutRuntime>
type AttemptCounts = Infer<typeof attemptCounts>

/** `pending` may still become `arrived`; `failed` may not. */
export type Verdict =
  | { readonly kind: "arrived" }
  | { readonly kind: "pending"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string }

const pending = (reason: string): Verdict => ({ kind: "pending", reason })

/** Whether these versions are the wanted ones. */
export const areVersions = (
  wanted: Pick<Doc<"rollouts">, "runtimeVersion" | "openclawVersion">,
  { openclaw, runtime }: Doc<"runtimes">["versions"]
): boolean => isOnVersion(wanted.runtimeVersion, runtime) && isOnVersion(wanted.openclawVersion, openclaw)

/** Why this runtime is not online; null if it is, or if it is degraded as it was before. */
export const notOnline = (row: Doc<"runtimes"> | null, runtime: RolloutRuntime): string | null => {
  const { runtimeId, wasDegraded } = runtime
  if (row === null) return `${runtimeId} is gone`
  if (row.status === "online" || (row.status === "degraded" && wasDegraded)) return null
  const [reason] = row.reasons
  return `${runtimeId} is ${row.status}${reason === undefined ? "" : `: ${reason}`}`
}

/** "runtime 1.0.0, OpenClaw 2026.9.1". */
export const versionsText = ({ openclaw, runtime }: Doc<"runtimes">["versions"]): string =>
  describeVersions({ runtimeVersion: runtime, openclawVersion: openclaw })

/**
 * Whether a runtime has done what the rollout asked: its command has ended, it runs the target versions or, for a
 * restart, another boot, and it is online. Reads three rows.
 */
export const judgeRuntime = async (
  ctx: Reading,
  rollout: Doc<"rollouts">,
  accountId: Id<"accounts">,
  runtime: RolloutRuntime
): Promise<Verdict> => {
  const { runtimeId } = runtime
  const command = runtime.command === null ? null : await ctx.db.get("runtimeCommands", runtime.command)
  if (command !== null && (command.state === "failed" || command.state === "rolled_back")) {
    const detail = command.message === undefined ? "" : `: ${command.message}`
    return { kind: "failed", reason: `the ${command.kind} of ${runtimeId} failed${detail}` }
  }
  const row = await runtimeRow(ctx, accountId, runtimeId)
  const absence = notOnline(row, runtime)
  if (absence !== null || row === null) return pending(absence ?? "")
  if (command?.state === "pending") return pending(`${runtimeId} has not taken the command`)
  if (rollout.kind === "restart") {
    const boot = await bootRow(ctx, accountId, runtimeId)
    return boot?.bootId === runtime.bootId ? pending(`${runtimeId} has not started again`) : { kind: "arrived" }
  }
  if (!areVersions(rollout, row.versions)) return pending(`${runtimeId} runs ${versionsText(row.versions)}`)
  return command?.isOpen === true ? pending(`${runtimeId} has not reported that it arrived`) : { kind: "arrived" }
}

/** Whether the account got a dead letter at or after that time that is still one. Reads one row. */
export const hasNewDeadLetter = async (ctx: Reading, accountId: Id<"accounts">, since: number): Promise<boolean> => {
  const dead = await ctx.db
    .query("notifications")
    .withIndex("by_ended", (q) => q.eq("accountId", accountId).eq("state", "dead").gte("endedAt", since))
    .first()
  return dead !== null
}

/** Ends of attempts that failed, and of those that completed a turn. Others, such as stops, do not count. */
const failedEnds: ReadonlySet<string> = new Set(["failed", "fallback", "process_ended", "abandoned", "lease_lost"])
const completedEnds: ReadonlySet<string> = new Set(["replied", "acted", "skipped", "finished"])

const compared = 20

/** Of the account's last 20 attempts in this period, those that count, and how many of them failed. */
export const countAttempts = async (
  ctx: Reading,
  accountId: Id<"accounts">,
  from: number,
  until: number
): Promise<AttemptCounts> => {
  const rows = await ctx.db
    .query("attempts")
    .withIndex("by_ended", (q) => q.eq("accountId", accountId).gte("endedAt", from).lt("endedAt", until))
    .order("desc")
    .take(compared)
  const failed = rows.filter(({ end }) => failedEnds.has(end)).length
  // Without usage there was no request to the gateway, so nothing was shown.
  const completed = rows.filter(({ end, usage }) => completedEnds.has(end) && usage !== null).length
  return { attempts: failed + completed, failed }
}

const minFailures = 3

/**
 * Why the account fails more often than before: at least three of its attempts failed, and a greater share than before.
 * Null if it does not.
 */
export const moreFailures = (before: AttemptCounts, since: AttemptCounts): string | null =>
  since.failed >= minFailures && since.failed * Math.max(1, before.attempts) > before.failed * since.attempts
    ? `${since.failed} of its ${since.attempts} attempts failed since, ${before.failed} of ${before.attempts} before`
    : null
