import type { Infer } from "convex/values"
import { servedProtocols } from "../../../src/domain/shared/Protocol.ts"
import { internal } from "../../_generated/api.js"
import type { Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { infrastructure, runtimeStatus, versions } from "../../tables/runtimes.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { accountOf } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { hasClaimable, nextDueAt, oldestReady } from "../queue/dueWork.ts"
import { hasExpiredLease, leasesOf, otherLeases, rescue } from "../queue/leases.ts"
import { announce } from "../webhooks/announce.ts"
import { takeBoot } from "./boots.ts"
import { commandsFor, endRestarts } from "./commands.ts"
import { isOnline, runtimeRow } from "./runtimes.ts"

const maxHealthLength = 64_000

const minLapseMs = 90_000

/** How long after a pulse a runtime is treated as offline: 90 s, or two and a half of its intervals. */
export const lapseAfterMs = (intervalMs: number): number => Math.max(minLapseMs, 2.5 * intervalMs)

export interface Pulse {
  readonly runtimeId: string
  readonly bootId: string
  readonly status: Infer<typeof runtimeStatus>
  readonly reasons: ReadonlyArray<string>
  readonly health?: unknown
  readonly versions: Infer<typeof versions>
  readonly infrastructure: Infer<typeof infrastructure>
  readonly intervalMs: number
}

const healthText = (health: unknown): string | null => {
  if (health === undefined || health === null) return null
  return cut(typeof health === "string" ? health : JSON.stringify(health), maxHealthLength)
}

/** Rescues the runs that earlier boots of this RUNTIME_ID left behind. Returns their number. */
const rescueEarlierBoots = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  runtimeId: string,
  bootId: string
): Promise<number> => {
  const left = (await leasesOf(ctx, accountId, runtimeId)).filter(({ lease }) => lease.bootId !== bootId)
  for (const session of left) await rescue(ctx, session)
  return left.length
}

const presenceWords: Record<Infer<typeof runtimeStatus>, string> = {
  booting: "is starting",
  online: "is online",
  degraded: "is degraded",
  draining: "is draining",
  offline: "is offline"
}

/** Stores a runtime's presence. If this boot is new, also rescues the runs of its earlier boots. */
export const recordPulse = async (ctx: MutationCtx, accountId: Id<"accounts">, pulse: Pulse) => {
  const now = Date.now()
  const { runtimeId, bootId } = pulse
  if (!(pulse.intervalMs >= 1_000 && pulse.intervalMs <= 86_400_000)) {
    throw refusal("invalid", "intervalMs is out of range: 1000 to 86400000 milliseconds.")
  }
  if (runtimeId === "" || runtimeId.length > 200 || bootId === "" || bootId.length > 200) {
    throw refusal("invalid", "runtimeId and bootId have 1 to 200 characters.")
  }
  const isNewBoot = await takeBoot(ctx, accountId, runtimeId, bootId)
  const releasedLeases = isNewBoot ? await rescueEarlierBoots(ctx, accountId, runtimeId, bootId) : 0
  if (isNewBoot) await endRestarts(ctx, accountId, runtimeId)

  const row = await runtimeRow(ctx, accountId, runtimeId)
  if (row?.lapseJobId !== undefined) await ctx.scheduler.cancel(row.lapseJobId)
  const presence = {
    status: pulse.status,
    reasons: pulse.reasons.slice(0, 20).map((reason) => cut(reason, 500)),
    health: healthText(pulse.health),
    versions: pulse.versions,
    infrastructure: pulse.infrastructure,
    intervalMs: pulse.intervalMs,
    lastPulseAt: now
  }
  let id: Id<"runtimes">
  if (row === null) {
    id = await ctx.db.insert("runtimes", { accountId, runtimeId, ...presence })
  } else {
    id = row._id
    await ctx.db.patch("runtimes", id, presence)
  }
  const lapseJobId = await ctx.scheduler.runAfter(lapseAfterMs(pulse.intervalMs), internal.scheduled.runtimes.lapse, {
    id,
    lastPulseAt: now
  })
  await ctx.db.patch("runtimes", id, { lapseJobId })
  if (row?.status !== pulse.status) {
    await recordActivity(ctx, {
      accountId,
      type: "runtime_status",
      actor: systemActor,
      summary: `runtime ${cut(runtimeId, 100)} ${presenceWords[pulse.status]}`
    })
  }

  const account = await accountOf(ctx, accountId)
  const { expired, nextExpiry } = await otherLeases(ctx, accountId, runtimeId, 1, now)
  // The process that should have claimed it may be gone.
  const isDue =
    expired.length > 0 ||
    (await hasExpiredLease(ctx, accountId, runtimeId, now)) ||
    (await hasClaimable(ctx, accountId, now))
  return {
    commands: await commandsFor(ctx, accountId, runtimeId),
    oldest: await oldestReady(ctx, accountId, now),
    nextDueAt: isDue ? now : await nextDueAt(ctx, accountId, nextExpiry, now),
    rosterRevision: account.rosterRevision,
    now,
    releasedLeases,
    protocol: servedProtocols
  }
}

/**
 * Marks a runtime as offline if it has sent no pulse since, and notifies the account's webhooks. Also of a runtime that was
 * stopped and did not start again in this time, so that a restart causes no event.
 */
export const lapse = async (
  ctx: MutationCtx,
  args: { readonly id: Id<"runtimes">; readonly lastPulseAt: number }
): Promise<void> => {
  const row = await ctx.db.get("runtimes", args.id)
  if (row === null || row.lastPulseAt !== args.lastPulseAt) return
  const { accountId, runtimeId } = row
  const isStopped = row.status === "offline"
  const lapsed = isStopped ? {} : { status: "offline" as const, reasons: ["no pulse"] }
  await ctx.db.patch("runtimes", row._id, { ...lapsed, lapseJobId: undefined })
  const name = `runtime ${cut(runtimeId, 100)}`
  const summary = isStopped
    ? `${name} was stopped and has not started again`
    : `${name} sent no pulse and is treated as offline`
  if (!isStopped) await recordActivity(ctx, { accountId, type: "runtime_status", actor: systemActor, summary })
  const isServed = await isOnline(ctx, accountId)
  await announce(ctx, accountId, { type: "runtime.offline", data: { runtimeId, isServed, text: summary } })
}
