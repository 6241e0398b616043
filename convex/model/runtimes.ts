import type { WithoutSystemFields } from "convex/server"
import { type Infer, v } from "convex/values"
import { servedProtocols } from "../../src/domain/shared/Protocol.ts"
import { internal } from "../_generated/api.js"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import type { infrastructure, runtimeStatus, versions } from "../tables/runtimes.ts"
import { recordActivity } from "./activities.ts"
import { systemActor } from "./actor.ts"
import { accountOf } from "./agents.ts"
import { bootRow, mustBeCurrentBoot, takeBoot } from "./boots.ts"
import { hasClaimable, nextDueAt, oldestReady } from "./claim.ts"
import { cut } from "./cut.ts"
import { hasExpiredLease, leasesOf, otherLeases, rescue } from "./leases.ts"
import { pauseOf } from "./pauses.ts"
import { refusal } from "./refusal.ts"

const versionChange = {
  id: v.string(),
  kind: v.union(v.literal("upgrade"), v.literal("rollback")),
  runtimeVersion: v.union(v.string(), v.null()),
  openclawVersion: v.union(v.string(), v.null()),
  requestedAt: v.number()
}

/**
 * What people ask of a runtime. An upgrade or rollback that a boot has taken moves to `underway`, so that it is tried
 * once, and its next start can report how it went.
 */
export const commands = v.object({
  paused: v.boolean(),
  restart: v.union(v.object({ id: v.string(), requestedAt: v.number() }), v.null()),
  upgrade: v.union(v.object(versionChange), v.null()),
  underway: v.union(
    v.object({
      ...versionChange,
      takenAt: v.number(),
      takenBy: v.string(),
      /** How far the boot that took it is, in its words. */
      message: v.union(v.string(), v.null())
    }),
    v.null()
  )
})

/** How the last command ended that is not open any more. */
export const lastCommand = v.union(
  v.object({
    kind: v.union(v.literal("restart"), v.literal("upgrade"), v.literal("rollback")),
    state: v.union(v.literal("taken"), v.literal("success"), v.literal("failed"), v.literal("rolled_back")),
    runtimeVersion: v.union(v.string(), v.null()),
    openclawVersion: v.union(v.string(), v.null()),
    message: v.union(v.string(), v.null()),
    requestedAt: v.number()
  }),
  v.null()
)

const maxHealthLength = 64_000
const forgetBatch = 50
const leastLapseMs = 90_000

/** How long after a pulse a runtime is taken for gone: 90 s, or two and a half of its intervals. */
export const lapseAfterMs = (intervalMs: number): number => Math.max(leastLapseMs, 2.5 * intervalMs)

/** The runtime's commands that have not ended, the oldest first: at most one of each kind. */
export const openCommands = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Array<Doc<"runtimeCommands">>> =>
  ctx.db
    .query("runtimeCommands")
    .withIndex("by_open", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId).eq("isOpen", true))
    .take(50)

/** The open commands for a runtime: the pause, the oldest restart, the newest upgrade or rollback. */
export const commandsFor = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Infer<typeof commands>> => {
  const open = await openCommands(ctx, accountId, runtimeId)
  const restart = open.find((command) => command.kind === "restart")
  const changes = open.flatMap(({ kind, ...rest }) => (kind === "restart" ? [] : [{ kind, ...rest }]))
  const upgrade = changes.findLast((command) => command.state === "pending")
  const taken = changes.findLast((command) => command.state === "taken")
  const view = (command: (typeof changes)[number]) => ({
    id: command._id,
    kind: command.kind,
    runtimeVersion: command.runtimeVersion,
    openclawVersion: command.openclawVersion,
    requestedAt: command._creationTime
  })
  return {
    paused: (await pauseOf(ctx, accountId)) !== null,
    restart: restart === undefined ? null : { id: restart._id, requestedAt: restart._creationTime },
    upgrade: upgrade === undefined ? null : view(upgrade),
    underway:
      taken === undefined
        ? null
        : {
            ...view(taken),
            takenAt: taken.takenAt ?? 0,
            takenBy: taken.takenBy ?? "",
            message: taken.message ?? null
          }
  }
}

/** The runtime's last command that ended; one row is read. */
export const lastCommandOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Infer<typeof lastCommand>> => {
  const last = await ctx.db
    .query("runtimeCommands")
    .withIndex("by_open", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId).eq("isOpen", false))
    .order("desc")
    .first()
  if (last === null || last.state === "pending") return null
  const { kind, message = null, openclawVersion, runtimeVersion, state } = last
  return { kind, state, runtimeVersion, openclawVersion, message, requestedAt: last._creationTime }
}

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

/** Rescues the runs that earlier boots of this RUNTIME_ID left behind; answers how many. */
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

/** Ends the restarts that were asked for before this start, which has done what they are for. */
const endRestarts = async (ctx: MutationCtx, accountId: Id<"accounts">, runtimeId: string): Promise<void> => {
  for (const command of await openCommands(ctx, accountId, runtimeId)) {
    if (command.kind !== "restart") continue
    const message = "The runtime has started since."
    await ctx.db.patch("runtimeCommands", command._id, { state: "success", isOpen: false, message })
  }
}

const presenceWords: Record<Infer<typeof runtimeStatus>, string> = {
  booting: "is starting",
  online: "is online",
  degraded: "is degraded",
  draining: "is draining",
  offline: "is offline"
}

/** The presence of a runtime, by its RUNTIME_ID. Reads one row. */
export const runtimeRow = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Doc<"runtimes"> | null> =>
  ctx.db
    .query("runtimes")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
    .unique()

/** Writes a runtime's presence, and frees what its earlier boots held when this is a new one. */
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
  const lapseJobId =
    pulse.status === "offline"
      ? undefined
      : await ctx.scheduler.runAfter(lapseAfterMs(pulse.intervalMs), internal.scheduled.runtimes.lapse, {
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
  // The process that was to claim it may be gone.
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

const withStatus = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">, status: Doc<"runtimes">["status"]) =>
  ctx.db.query("runtimes").withIndex("by_account", (q) => q.eq("accountId", accountId).eq("status", status))

/** The account's runtimes that are not offline, however many others are: at most 25 of each status, one row read each. */
export const runningRuntimes = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">
): Promise<Array<Doc<"runtimes">>> => {
  const running: Array<Doc<"runtimes">> = []
  for (const status of ["online", "degraded", "draining", "booting"] as const) {
    running.push(...(await withStatus(ctx, accountId, status).order("desc").take(25)))
  }
  return running
}

/** The account's offline runtimes that were last heard of before that moment, the latest first. One row is read each. */
export const offlineRuntimes = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  before: number,
  count: number
): Promise<Array<Doc<"runtimes">>> =>
  ctx.db
    .query("runtimes")
    .withIndex("by_account", (q) => q.eq("accountId", accountId).eq("status", "offline").lt("lastPulseAt", before))
    .order("desc")
    .take(count)

/**
 * Deletes runtimes that are offline and were last heard of before that moment, with their boots, last claims and
 * commands, at most 50 of each per call; answers whether there may be more. Where each start has a RUNTIME_ID of its own their number would grow for ever.
 */
export const forgetRuntimes = async (ctx: MutationCtx, before: number, count: number): Promise<boolean> => {
  const runtimes = await ctx.db
    .query("runtimes")
    .withIndex("by_status", (q) => q.eq("status", "offline").lt("lastPulseAt", before))
    .take(count)
  let isMore = runtimes.length === count
  for (const { _id, accountId, runtimeId } of runtimes) {
    const boot = await bootRow(ctx, accountId, runtimeId)
    if (boot !== null) await ctx.db.delete("boots", boot._id)
    const commands = await ctx.db
      .query("runtimeCommands")
      .withIndex("by_open", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
      .take(forgetBatch)
    for (const command of commands) await ctx.db.delete("runtimeCommands", command._id)
    // The runtime's row goes last, so that the next batch finds what is left.
    if (commands.length === forgetBatch) isMore = true
    else await ctx.db.delete("runtimes", _id)
  }
  return isMore
}

/** Whether a runtime of the account serves it now; only then are its agents online. Reads at most one row. */
export const isOnline = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<boolean> =>
  (await withStatus(ctx, accountId, "online").first()) !== null ||
  (await withStatus(ctx, accountId, "degraded").first()) !== null

/** Marks a runtime offline that has not pulsed since; a pulse that came meanwhile wins. */
export const lapse = async (
  ctx: MutationCtx,
  args: { readonly id: Id<"runtimes">; readonly lastPulseAt: number }
): Promise<void> => {
  const row = await ctx.db.get("runtimes", args.id)
  if (row === null || row.lastPulseAt !== args.lastPulseAt || row.status === "offline") return
  await ctx.db.patch("runtimes", row._id, { status: "offline", reasons: ["no pulse"], lapseJobId: undefined })
  await recordActivity(ctx, {
    accountId: row.accountId,
    type: "runtime_status",
    actor: systemActor,
    summary: `runtime ${cut(row.runtimeId, 100)} went silent and is taken for offline`
  })
}

/** How long nothing may be heard of a taken upgrade before it counts as failed, once its boot is gone. */
export const upgradeTimeoutMs = 10 * 60 * 1_000

export interface Acknowledgement {
  readonly runtimeId: string
  readonly bootId: string
  readonly command: string
  readonly result: "taken" | "progress" | "success" | "failed" | "rolled_back"
  readonly message?: string
}

const commandOf = async (ctx: MutationCtx, accountId: Id<"accounts">, args: Acknowledgement) => {
  const id = ctx.db.normalizeId("runtimeCommands", args.command)
  const command = id === null ? null : await ctx.db.get("runtimeCommands", id)
  if (command === null || command.accountId !== accountId || command.runtimeId !== args.runtimeId) {
    throw refusal("not_found", "No such command for this runtime: read service/runtimes:commands again.")
  }
  return command
}

const timeOutIn = (ctx: MutationCtx, id: Id<"runtimeCommands">, ms: number) =>
  ctx.scheduler.runAfter(ms, internal.scheduled.runtimes.timeOutCommand, { id })

/** How long a command waits for its runtime to take it. */
const expiryMs = 24 * 60 * 60 * 1_000

/** Writes a command for a runtime, which expires a day later if it is not taken by then. */
export const addCommand = async (
  ctx: MutationCtx,
  command: Omit<WithoutSystemFields<Doc<"runtimeCommands">>, "state" | "isOpen">
): Promise<Id<"runtimeCommands">> => {
  const id = await ctx.db.insert("runtimeCommands", { ...command, state: "pending", isOpen: true })
  await timeOutIn(ctx, id, expiryMs)
  return id
}

/**
 * Writes what became of a command. A restart ends when it is taken; an upgrade when its next start reports, or ten
 * minutes after the last word of the boot that took it. A command is taken by one boot only: another gets `conflict`.
 */
export const acknowledgeCommand = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Acknowledgement
): Promise<void> => {
  await mustBeCurrentBoot(ctx, accountId, args.runtimeId, args.bootId)
  const command = await commandOf(ctx, accountId, args)
  const said = args.message === undefined ? {} : { message: cut(args.message, 500) }
  switch (args.result) {
    case "taken": {
      if (command.takenBy === args.bootId) return
      if (command.state !== "pending") {
        throw refusal("conflict", "This command was taken or replaced: do not act on it.", { reason: "taken" })
      }
      const isRestart = command.kind === "restart"
      const now = Date.now()
      await ctx.db.patch("runtimeCommands", command._id, {
        state: "taken",
        isOpen: !isRestart,
        takenAt: now,
        heardAt: now,
        takenBy: args.bootId,
        ...said
      })
      if (!isRestart) await timeOutIn(ctx, command._id, upgradeTimeoutMs)
      break
    }
    case "progress":
      // People see it beside the runtime; the activities tell beginning and end.
      if (command.isOpen && command.state === "taken" && command.takenBy === args.bootId) {
        await ctx.db.patch("runtimeCommands", command._id, { heardAt: Date.now(), ...said })
      }
      return
    default:
      // A late success replaces the failure that the timeout wrote; any other second report changes nothing.
      if (!command.isOpen && !(command.state === "failed" && args.result === "success")) return
      await ctx.db.patch("runtimeCommands", command._id, { state: args.result, isOpen: false, ...said })
  }
  const detail = args.result === "failed" && args.message !== undefined ? `, ${cut(args.message, 300)}` : ""
  await recordActivity(ctx, {
    accountId,
    type: "runtime_command",
    actor: systemActor,
    summary: `${command.kind} of ${cut(args.runtimeId, 100)}: ${args.result.replace("_", " ")}${detail}`
  })
}

/** Ends a command without success, and tells people. */
const giveUp = async (ctx: MutationCtx, command: Doc<"runtimeCommands">, message: string, summary: string) => {
  await ctx.db.patch("runtimeCommands", command._id, { state: "failed", isOpen: false, message })
  await recordActivity(ctx, {
    accountId: command.accountId,
    type: "runtime_command",
    actor: systemActor,
    summary: `${command.kind} of ${cut(command.runtimeId, 100)}: failed, ${summary}`
  })
}

/**
 * Gives up a command that no boot has taken within a day, and an upgrade of which nothing was heard for ten minutes.
 * While the boot that took it is still there, finishing its turns, the minutes have not begun.
 */
export const timeOutCommand = async (ctx: MutationCtx, id: Id<"runtimeCommands">): Promise<void> => {
  const command = await ctx.db.get("runtimeCommands", id)
  if (command === null || !command.isOpen) return
  const now = Date.now()
  if (command.state === "pending") {
    await giveUp(ctx, command, "The runtime did not take it within a day.", "not taken within a day")
    return
  }
  const runtime = await runtimeRow(ctx, command.accountId, command.runtimeId)
  const boot = await bootRow(ctx, command.accountId, command.runtimeId)
  const isItsBootThere = runtime !== null && runtime.status !== "offline" && boot?.bootId === command.takenBy
  const heardAt = isItsBootThere ? now : (command.heardAt ?? command.takenAt ?? 0)
  const left = heardAt + upgradeTimeoutMs - now
  if (left > 0) {
    await timeOutIn(ctx, id, left)
    return
  }
  const versions = runtime?.versions
  const runs =
    versions === undefined
      ? ""
      : ` The runtime last reported ${versions.runtime}${versions.openclaw === null ? "" : ` with OpenClaw ${versions.openclaw}`}.`
  const message = `No runtime of the target versions reported within ten minutes.${runs}`
  await giveUp(ctx, command, message, "nothing was heard for ten minutes")
}
