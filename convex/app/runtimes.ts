import { v } from "convex/values"
import type { Doc } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import { type Caller, managerMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { bounded } from "../model/database/bounded.ts"
import { cut } from "../model/database/cut.ts"
import { pause as pauseIt, resume as resumeIt } from "../model/queue/pausing.ts"
import { bootRow } from "../model/runtimes/boots.ts"
import { requestCommand, targetOf } from "../model/runtimes/commandRequests.ts"
import { commands, commandsFor, lastCommand, lastCommandOf } from "../model/runtimes/commands.ts"
import { offlineRuntimes, runningRuntimes, runtimeRow } from "../model/runtimes/runtimes.ts"
import { infrastructure, runtimeStatus, versions } from "../tables/runtimes.ts"

/**
 * The account's runtimes with presence, open commands and the last command that ended. First those that are not
 * offline, then offline ones, most recent pulse first. `before` is for paging: pass the `lastPulseAt` of the last
 * runtime shown to get the offline ones that follow. For members. Reads four rows each and the open commands, of at
 * most 100 offline runtimes.
 */
export const list = memberQuery({
  args: { limit: v.optional(v.number()), before: v.optional(v.number()) },
  returns: v.array(
    v.object({
      runtimeId: v.string(),
      bootId: v.string(),
      status: runtimeStatus,
      reasons: v.array(v.string()),
      health: v.union(v.string(), v.null()),
      versions,
      infrastructure,
      lastPulseAt: v.number(),
      commands,
      lastCommand
    })
  ),
  handler: async (ctx, { limit, before }) => {
    const running = before === undefined ? await runningRuntimes(ctx, ctx.accountId) : []
    const offline = await offlineRuntimes(ctx, ctx.accountId, before ?? Infinity, bounded(limit, 50, 100))
    const views = []
    for (const runtime of [...running, ...offline]) {
      const { runtimeId, status, reasons, health, versions, infrastructure, lastPulseAt } = runtime
      const boot = await bootRow(ctx, ctx.accountId, runtimeId)
      const open = await commandsFor(ctx, ctx.accountId, runtimeId)
      const last = await lastCommandOf(ctx, ctx.accountId, runtimeId)
      views.push({
        runtimeId,
        bootId: boot?.bootId ?? "",
        status,
        reasons,
        health,
        versions,
        infrastructure,
        lastPulseAt,
        commands: open,
        lastCommand: last
      })
    }
    return views
  }
})

/**
 * Adds one command for the named runtime, or for each that is not offline. Replaces an open command of the same kind.
 */
const request = async (
  ctx: MutationCtx & Caller,
  runtimeId: string | undefined,
  wanted: Pick<Doc<"runtimeCommands">, "kind" | "runtimeVersion" | "openclawVersion">
): Promise<{ commandIds: Array<string> }> => {
  const named = runtimeId === undefined ? null : await runtimeRow(ctx, ctx.accountId, runtimeId)
  const runtimes = runtimeId === undefined ? await runningRuntimes(ctx, ctx.accountId) : named === null ? [] : [named]
  if (runtimes.length === 0) {
    throw refusal(
      "not_found",
      runtimeId === undefined
        ? "Every runtime of the account is offline. Start one, or name the one that should take the command at its next start."
        : "The account has no runtime with this id. List its runtimes."
    )
  }
  const commandIds: Array<string> = []
  for (const { runtimeId } of runtimes) {
    const { accountId, actor: requestedBy } = ctx
    commandIds.push(await requestCommand(ctx, { accountId, runtimeId, ...wanted, requestedBy }))
  }
  await recordActivity(ctx, {
    accountId: ctx.accountId,
    type: "runtime_command",
    actor: ctx.actor,
    summary: `${wanted.kind} requested of ${runtimeId === undefined ? "all runtimes" : cut(runtimeId, 100)}`
  })
  return { commandIds }
}

/**
 * Asks a runtime, or all that are not offline, to restart after a drain. The command expires after a day, or if the
 * runtime starts for another reason. For owners and admins. Reads the runtimes and open commands.
 */
export const restart = managerMutation({
  args: { runtimeId: v.optional(v.string()) },
  returns: v.object({ commandIds: v.array(v.string()) }),
  handler: (ctx, { runtimeId }) =>
    request(ctx, runtimeId, { kind: "restart", runtimeVersion: null, openclawVersion: null })
})

const targets = {
  runtimeId: v.optional(v.string()),
  runtimeVersion: v.optional(v.string()),
  openclawVersion: v.optional(v.string())
}

/**
 * Asks a runtime, or all that are not offline, to upgrade to these versions within a day. For owners and admins. Reads
 * the same as restart.
 */
export const upgrade = managerMutation({
  args: targets,
  returns: v.object({ commandIds: v.array(v.string()) }),
  handler: (ctx, args) => request(ctx, args.runtimeId, { kind: "upgrade", ...targetOf(args) })
})

/**
 * Asks a runtime, or all that are not offline, to roll back to these versions within a day. For owners and admins.
 * Reads the same as restart.
 */
export const rollback = managerMutation({
  args: targets,
  returns: v.object({ commandIds: v.array(v.string()) }),
  handler: (ctx, args) => request(ctx, args.runtimeId, { kind: "rollback", ...targetOf(args) })
})

/**
 * Stops the claims of all the account's runtimes. With `release` their running turns are aborted and their work waits.
 * For owners and admins. Reads one row, and the leases to release.
 */
export const pause = managerMutation({
  args: { release: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { release = false }): Promise<null> => {
    await pauseIt(ctx, ctx.accountId, null, { actor: ctx.actor, release })
    return null
  }
})

/** Ends the account's pause. For owners and admins. Reads one row. */
export const resume = managerMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx): Promise<null> => {
    await resumeIt(ctx, ctx.accountId, null, ctx.actor)
    return null
  }
})
