import { v } from "convex/values"
import { servedProtocols } from "../../src/domain/shared/Protocol.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { acknowledgeCommand, commands as commandsShape, commandsFor } from "../model/runtimes/commands.ts"
import { recordPulse } from "../model/runtimes/presence.ts"
import { infrastructure, runtimeStatus, versions } from "../tables/runtimes.ts"

const servedProtocol = v.object({ oldest: v.number(), newest: v.number() })

/**
 * A runtime's presence once per interval, answered with all that is also pushed. The first pulse of a boot frees what
 * earlier boots of its RUNTIME_ID held: twenty leases at once, the rest in scheduled batches. An earlier boot's pulse
 * fails with `conflict`. For runtimes; about ten rows are read, and at the first pulse the sessions that the runtime
 * leases with their rows.
 */
export const pulse = serviceMutation({
  args: {
    runtimeId: v.string(),
    bootId: v.string(),
    status: runtimeStatus,
    reasons: v.array(v.string()),
    /** A record or its JSON; stored as text, cut at 64,000 characters. */
    health: v.optional(v.any()),
    versions,
    infrastructure,
    intervalMs: v.number(),
    /** The contract version of the runtime; the pulse serves any. */
    protocol: v.optional(v.number())
  },
  returns: v.object({
    commands: commandsShape,
    oldest: v.union(v.number(), v.null()),
    nextDueAt: v.union(v.number(), v.null()),
    rosterRevision: v.number(),
    now: v.number(),
    releasedLeases: v.number(),
    protocol: servedProtocol
  }),
  handler: (ctx, args) => recordPulse(ctx, ctx.accountId, args)
})

/** The contract versions that this deployment serves. For runtimes and operators; the token is read. */
export const protocol = serviceQuery({
  args: {},
  returns: servedProtocol,
  handler: async () => servedProtocols
})

/** What people ask of this runtime. For runtimes, subscribed; the token, the pause and the open commands are read. */
export const commands = serviceQuery({
  args: { runtimeId: v.string() },
  returns: commandsShape,
  handler: (ctx, { runtimeId }) => commandsFor(ctx, ctx.accountId, runtimeId)
})

/**
 * Says what became of a command: taken (by one boot only), how far it is (progress, with a message), success, failed or
 * rolled_back. For runtimes; three rows are read.
 */
export const acknowledge = serviceMutation({
  args: {
    runtimeId: v.string(),
    bootId: v.string(),
    command: v.string(),
    result: v.union(
      v.literal("taken"),
      v.literal("progress"),
      v.literal("success"),
      v.literal("failed"),
      v.literal("rolled_back")
    ),
    message: v.optional(v.string())
  },
  returns: v.null(),
  handler: async (ctx, args) => {
    await acknowledgeCommand(ctx, ctx.accountId, args)
    return null
  }
})
