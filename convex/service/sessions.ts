import { v } from "convex/values"
import { refusal } from "../model/access/refusal.ts"
import { serviceMutation } from "../model/access/serviceFunctions.ts"
import { agentByIdOrSlug } from "../model/agents/agents.ts"
import { taskOf } from "../model/tasks/taskView.ts"

/**
 * Starts the next generation of an agent's sessions at their next claim: of one task's session if a task is given,
 * otherwise of all its sessions, including its heartbeats'. `agent` is an id or a slug. For runtimes. Reads one row per
 * session, at most 1,000.
 */
export const rotate = serviceMutation({
  args: { agent: v.string(), taskId: v.optional(v.string()) },
  returns: v.object({ rotated: v.number() }),
  handler: async (ctx, args) => {
    const agent = await agentByIdOrSlug(ctx, ctx.accountId, args.agent)
    const task = args.taskId === undefined ? null : await taskOf(ctx, ctx.accountId, args.taskId)
    const sessions = await ctx.db
      .query("sessions")
      .withIndex("by_agent", (q) =>
        task === null
          ? q.eq("agentId", agent._id)
          : q.eq("agentId", agent._id).eq("kind", "notification").eq("taskId", task._id)
      )
      .take(1_000)
    if (sessions.length === 0)
      throw refusal("not_found", "The agent has no such session yet, so there is nothing to rotate.")
    for (const session of sessions) {
      // A running attempt may already use the next generation, so the new one comes after that.
      const current = Math.max(session.generation, session.lease?.generation ?? 0)
      await ctx.db.patch("sessions", session._id, { nextGeneration: current + 1 })
    }
    return { rotated: sessions.length }
  }
})
