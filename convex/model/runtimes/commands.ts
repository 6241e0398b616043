import { type Infer, v } from "convex/values"
import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { cut } from "../database/cut.ts"
import { pauseOf } from "../queue/pauses.ts"
import { watched, watchOf } from "../runs/progress.ts"
import { bootRow, mustBeCurrentBoot } from "./boots.ts"
import { runtimeRow } from "./runtimes.ts"

const versionChange = {
  id: v.string(),
  kind: v.union(v.literal("upgrade"), v.literal("rollback")),
  runtimeVersion: v.union(v.string(), v.null()),
  openclawVersion: v.union(v.string(), v.null()),
  requestedAt: v.number()
}

/**
 * The open commands of a runtime. An upgrade or rollback that a boot has taken moves to `underway`, so that it is tried
 * once and the next start can report its result.
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
      /** The progress that the boot reported. */
      message: v.union(v.string(), v.null())
    }),
    v.null()
  ),
  watched
})

/** The result of the last command that ended. */
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

/** The runtime's open commands, the oldest first, at most one of each kind. */
export const openCommands = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Array<Doc<"runtimeCommands">>> =>
  ctx.db
    .query("runtimeCommands")
    .withIndex("by_open", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId).eq("isOpen", true))
    .take(50)

/**
 * The open commands of a runtime: the pause, the oldest restart, the newest upgrade or rollback, and whether members
 * watch its turns.
 */
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
          },
    watched: await watchOf(ctx, accountId)
  }
}

/** The runtime's last command that ended. Reads one row. */
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

/** Ends an open command, with its timeout. */
export const endCommand = async (
  ctx: MutationCtx,
  command: Doc<"runtimeCommands">,
  end: Pick<Partial<Doc<"runtimeCommands">>, "state" | "message" | "takenAt" | "heardAt" | "takenBy">
): Promise<void> => {
  if (command.timeOutJobId !== undefined) await ctx.scheduler.cancel(command.timeOutJobId)
  await ctx.db.patch("runtimeCommands", command._id, { ...end, isOpen: false, timeOutJobId: undefined })
}

/** Completes the restarts that were requested before this start. */
export const endRestarts = async (ctx: MutationCtx, accountId: Id<"accounts">, runtimeId: string): Promise<void> => {
  for (const command of await openCommands(ctx, accountId, runtimeId)) {
    if (command.kind !== "restart") continue
    await endCommand(ctx, command, { state: "success", message: "The runtime has started since then." })
  }
}

/** How long a taken upgrade may go without a report before it fails, once its boot is gone. */
export const upgradeTimeoutMs = 10 * 60 * 1_000

export interface Acknowledgement {
  readonly runtimeId: string
  readonly bootId: string
  readonly command: string
  readonly result: "taken" | "progress" | "success" | "failed" | "rolled_back"
  readonly message?: string
}

const commandOf = async (ctx: MutationCtx, accountId: Id<"accounts">, args: Acknowledgement) => {
  const command = await ownRow(ctx, "runtimeCommands", accountId, args.command)
  if (command?.runtimeId !== args.runtimeId) {
    throw refusal("not_found", "This runtime has no command with this id. Read service/runtimes:commands again.")
  }
  return command
}

/** Has the command time out after this time, instead of when it would have before. */
export const timeOutIn = async (ctx: MutationCtx, id: Id<"runtimeCommands">, ms: number): Promise<void> => {
  const timeOutJobId = await ctx.scheduler.runAfter(ms, internal.scheduled.runtimes.timeOutCommand, { id })
  await ctx.db.patch("runtimeCommands", id, { timeOutJobId })
}

/**
 * Stores what a runtime reports about a command. A restart ends when it is taken. An upgrade ends when its next start
 * reports, or ten minutes after the last report of the boot that took it. Only one boot takes a command; another one
 * gets `conflict`.
 */
export const acknowledgeCommand = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Acknowledgement
): Promise<void> => {
  await mustBeCurrentBoot(ctx, accountId, args.runtimeId, args.bootId)
  const command = await commandOf(ctx, accountId, args)
  const messagePatch = args.message === undefined ? {} : { message: cut(args.message, 500) }
  switch (args.result) {
    case "taken": {
      if (command.takenBy === args.bootId) return
      if (command.state !== "pending") {
        throw refusal("conflict", "Another boot took this command, or another command replaced it. Do not act on it.", {
          reason: "taken"
        })
      }
      const now = Date.now()
      const taken = { state: "taken", takenAt: now, heardAt: now, takenBy: args.bootId, ...messagePatch } as const
      if (command.kind === "restart") {
        await endCommand(ctx, command, taken)
        break
      }
      if (command.timeOutJobId !== undefined) await ctx.scheduler.cancel(command.timeOutJobId)
      await ctx.db.patch("runtimeCommands", command._id, taken)
      await timeOutIn(ctx, command._id, upgradeTimeoutMs)
      break
    }
    case "progress":
      // People see progress next to the runtime. The activities list only start and end.
      if (command.isOpen && command.state === "taken" && command.takenBy === args.bootId) {
        await ctx.db.patch("runtimeCommands", command._id, { heardAt: Date.now(), ...messagePatch })
      }
      return
    default:
      // A late success replaces the failure that the timeout stored. Any other second report changes nothing.
      if (!command.isOpen && !(command.state === "failed" && args.result === "success")) return
      await endCommand(ctx, command, { state: args.result, ...messagePatch })
  }
  const detail = args.result === "failed" && args.message !== undefined ? `, ${cut(args.message, 300)}` : ""
  await recordActivity(ctx, {
    accountId,
    type: "runtime_command",
    actor: systemActor,
    summary: `${command.kind} of ${cut(args.runtimeId, 100)}: ${args.result.replace("_", " ")}${detail}`
  })
}

/** Fails a command and adds an activity for people. */
const failCommand = async (ctx: MutationCtx, command: Doc<"runtimeCommands">, message: string, summary: string) => {
  // The timeout is this job. Convex drops what a cancelled job schedules.
  const failed = { state: "failed", isOpen: false, message, timeOutJobId: undefined } as const
  await ctx.db.patch("runtimeCommands", command._id, failed)
  await recordActivity(ctx, {
    accountId: command.accountId,
    type: "runtime_command",
    actor: systemActor,
    summary: `${command.kind} of ${cut(command.runtimeId, 100)}: failed, ${summary}`
  })
}

/**
 * Fails a command that no boot has taken within a day, and an upgrade without a report for ten minutes. The ten minutes
 * do not start while the boot that took it still runs and finishes its turns.
 */
export const timeOutCommand = async (ctx: MutationCtx, id: Id<"runtimeCommands">): Promise<void> => {
  const command = await ctx.db.get("runtimeCommands", id)
  if (command === null || !command.isOpen) return
  const now = Date.now()
  if (command.state === "pending") {
    await failCommand(ctx, command, "The runtime did not take the command within a day.", "not taken within a day")
    return
  }
  const runtime = await runtimeRow(ctx, command.accountId, command.runtimeId)
  const boot = await bootRow(ctx, command.accountId, command.runtimeId)
  const isBootRunning = runtime !== null && runtime.status !== "offline" && boot?.bootId === command.takenBy
  const heardAt = isBootRunning ? now : (command.heardAt ?? command.takenAt ?? 0)
  const left = heardAt + upgradeTimeoutMs - now
  if (left > 0) {
    await timeOutIn(ctx, id, left)
    return
  }
  const versions = runtime?.versions
  const lastReport =
    versions === undefined
      ? ""
      : ` The runtime last reported ${versions.runtime}${versions.openclaw === null ? "" : ` with OpenClaw ${versions.openclaw}`}.`
  const message = `No runtime of the target versions reported within ten minutes.${lastReport}`
  await failCommand(ctx, command, message, "no report for ten minutes")
}
