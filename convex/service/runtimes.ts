import { v } from "convex/values"
import { servedProtocols } from "../../src/domain/shared/Protocol.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { acknowledgeCommand, commands as commandsShape, commandsFor } from "../model/runtimes/commands.ts"
import { recordPulse } from "../model/runtimes/presence.ts"
import { infrastructure, runtimeStatus, versions } from "../tables/runtimes.ts"

const servedProtocol = v.object({ oldest: v.number(), newest: v.number() })

/**
 * Stores a runtime's presence, once per interval, and returns everything that is also pushed. The first pulse of a boot
 * rescues the runs of earlier boots with the same RUNTIME_ID. Fails with `conflict` for an earlier boot. For runtimes.
 * Reads about ten rows; at the first pulse also the runtime's leases and their work.
 */
export const pulse = serviceMutation({
  args: {
    runtimeId: v.string(),
    bootId: v.string(),
    status: runtimeStatus,
    reasons: v.array(v.string()),
    /** An object or its JSON. Stored as text, cut at 64,000 characters. */
    health: v.optional(v.any()),
    versions,
    infrastructure,
    intervalMs: v.number(),
    /** The contract version of the runtime. The pulse serves every version. */
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

/** The contract versions that this deployment serves. For runtimes and operators. Reads the token. */
export const protocol = serviceQuery({
  args: {},
  returns: servedProtocol,
  handler: async () => servedProtocols
})

/**
 * The open commands of this runtime, and since when and until when members watch. For runtimes, which subscribe to it.
 * Reads the token, the pause, the watch and the open commands.
 */
export const commands = serviceQuery({
  args: { runtimeId: v.string() },
  returns: commandsShape,
  handler: (ctx, { runtimeId }) => commandsFor(ctx, ctx.accountId, runtimeId)
})

/**
 * Reports the state of a command: taken (by one boot only), progress with a message, success, failed or rolled_back.
 * For runtimes. Reads three rows.
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
