import { v } from "convex/values"
import { commands as commandsShape, commandsFor, recordPulse } from "../model/runtimes.ts"
import { serviceMutation, serviceQuery } from "../model/serviceFunctions.ts"
import { infrastructure, runtimeStatus, versions } from "../schema.ts"

/**
 * A runtime's presence once per interval, answered with all that is also pushed. The first pulse of a boot frees what
 * earlier boots of its RUNTIME_ID held; an earlier boot's fails with `conflict`. For runtimes; about ten rows are read,
 * and one per lease freed.
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
    intervalMs: v.number()
  },
  returns: v.object({
    commands: commandsShape,
    oldest: v.union(v.number(), v.null()),
    nextDueAt: v.union(v.number(), v.null()),
    rosterRevision: v.number(),
    now: v.number(),
    releasedLeases: v.number()
  }),
  handler: (ctx, args) => recordPulse(ctx, ctx.accountId, args)
})

/** What people ask of this runtime. For runtimes, subscribed; the token, the pause and the open commands are read. */
export const commands = serviceQuery({
  args: { runtimeId: v.string() },
  returns: commandsShape,
  handler: (ctx, { runtimeId }) => commandsFor(ctx, ctx.accountId, runtimeId)
})
