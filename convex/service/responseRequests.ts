import { v } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { QueryCtx } from "../_generated/server.js"
import { refusal } from "../model/access/refusal.ts"
import { serviceMutation } from "../model/access/serviceFunctions.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { agentBySlug } from "../model/agents/agents.ts"
import { cut } from "../model/database/cut.ts"
import { notifyAgents } from "../model/notifications/notify.ts"
import { createOnce } from "../model/runs/effects.ts"
import { liveRun, mustActOn, mustHaveFlag, type Run, runArgs } from "../model/runs/runs.ts"
import { taskOf } from "../model/tasks/taskView.ts"

const maxRecipients = 10
const maxMessageLength = 1_000
const askAgainAfterMs = 4 * 60 * 60 * 1_000

/** Why agents cannot be notified in this task. */
const limitOf = (task: Doc<"tasks">): string =>
  task.isAtTurnLimit
    ? "agents have used up their turns on this task until a person acts on it"
    : "the chain of agents' turns reached the hop limit"

/**
 * Whether this agent asked the recipient about the task less than four hours ago and has no answer yet. Reads two rows.
 */
const isAsked = async (ctx: Pick<QueryCtx, "db">, run: Run, recipientId: Id<"agents">, taskId: Id<"tasks">) => {
  const request = await ctx.db
    .query("responseRequests")
    .withIndex("by_pair", (q) => q.eq("recipientId", recipientId).eq("taskId", taskId).eq("askerId", run.agent._id))
    .order("desc")
    .first()
  if (request === null || request._creationTime < Date.now() - askAgainAfterMs) return false
  const row = await ctx.db.get("notifications", request.notificationId)
  if (row === null) return false
  // A fallback, a skip or a refusal is not an answer.
  const isAnswered = row.events[request.event]?.refusal === undefined && row.state === "delivered"
  const { outcome, state } = row
  return !(
    state === "discarded" ||
    outcome === "stopped" ||
    (isAnswered && (outcome === "replied" || outcome === "acted"))
  )
}

/**
 * Requests a response from agents in the task's thread, once per run and arguments (response_request). Returns which
 * agents were skipped and why. For runtimes. Reads about ten rows, and six per recipient.
 */
export const create = serviceMutation({
  args: { ...runArgs, recipientSlugs: v.array(v.string()), message: v.string(), taskId: v.optional(v.string()) },
  returns: v.object({
    asked: v.array(v.object({ slug: v.string(), notificationId: v.string() })),
    skipped: v.array(v.object({ slug: v.string(), reason: v.string() })),
    repeated: v.boolean()
  }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    mustHaveFlag(run, "canMentionAgents")
    const taskId = args.taskId ?? run.taskId
    if (taskId === null) throw refusal("invalid", "This run has no task. Name the task of the request.")
    const task = await taskOf(ctx, ctx.accountId, taskId)
    mustActOn(run, task)
    const message = args.message.trim()
    const slugs = [...new Set(args.recipientSlugs.map((slug) => slug.trim().replace(/^@/, "").toLowerCase()))]
    if (message === "") throw refusal("invalid", "The message is empty. Write what you ask for.")
    if (message.length > maxMessageLength) {
      throw refusal("limit", `A request has at most ${maxMessageLength} characters. Shorten it.`)
    }
    if (slugs.length === 0) throw refusal("invalid", "No recipient is named. Name at least one.")
    if (slugs.length > maxRecipients) throw refusal("limit", `A request has at most ${maxRecipients} recipients.`)
    const given = { taskId: task._id, recipientSlugs: slugs.toSorted(), message }
    return await createOnce(ctx, run, "response_request", given, async () => {
      const recipients: Array<Doc<"agents">> = []
      const skipped: Array<{ slug: string; reason: string }> = []
      for (const slug of slugs) {
        const agent = await agentBySlug(ctx, ctx.accountId, slug)
        const skip = (reason: string) => skipped.push({ slug: cut(slug, 64), reason })
        if (agent === null) skip("no agent on the roster has this slug")
        else if (agent._id === run.agent._id) skip("an agent cannot ask itself")
        else if (task.isOrchestratorChat && !agent.isOrchestrator) skip("only the orchestrator answers in its chat")
        else if (await isAsked(ctx, run, agent._id, task._id)) skip("asked less than 4 hours ago and not yet answered")
        else recipients.push(agent)
      }
      const cause = { type: "response_request" as const, request: message }
      const notified = await notifyAgents(ctx, task, recipients, run.origin, cause)
      const asked: Array<{ slug: string; notificationId: string }> = []
      for (const [index, agent] of recipients.entries()) {
        const made = notified[index]
        if (made === undefined) skipped.push({ slug: agent.slug, reason: limitOf(task) })
        else {
          const pair = { accountId: ctx.accountId, taskId: task._id, askerId: run.agent._id, recipientId: agent._id }
          await ctx.db.insert("responseRequests", { ...pair, ...made })
          asked.push({ slug: agent.slug, notificationId: made.notificationId })
        }
      }
      if (asked.length > 0) {
        await recordActivity(ctx, {
          accountId: ctx.accountId,
          type: "response_requested",
          actor: run.origin.actor,
          taskId: task._id,
          summary: `asked ${asked.map(({ slug }) => slug).join(", ")} for a response`
        })
      }
      return {
        result: { asked, skipped },
        summary: `asked ${asked.map(({ slug }) => `@${slug}`).join(", ") || "no one"}`
      }
    })
  }
})
