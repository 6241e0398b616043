import { v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { agentBySlug } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { notifyAgents } from "../notifications/notify.ts"
import { askMember, membersByName, plainName, someMembers } from "../notifications/questions.ts"
import { createOnce } from "../runs/effects.ts"
import { mustActOn, mustHaveFlag, type Run } from "../runs/runs.ts"
import { taskOf } from "../tasks/taskView.ts"
import { postMessage } from "../threads/messages.ts"
import { defineTool } from "./agentTool.ts"

const maxRecipients = 10
const maxMessageLength = 1_000
const askAgainAfterMs = 4 * 60 * 60 * 1_000
const alreadyAsked = "asked less than 4 hours ago and not yet answered"

/** Why agents cannot be notified in this task. */
const limitOf = (task: Doc<"tasks">): string =>
  task.isAtTurnLimit
    ? "agents have used up their turns on this task until a person acts on it"
    : "the chain of agents' turns reached the hop limit"

/** This agent's last request to the recipient about the task. Reads one row. */
const lastRequest = (
  ctx: Pick<QueryCtx, "db">,
  run: Run,
  recipientId: Id<"agents"> | Id<"members">,
  taskId: Id<"tasks">
): Promise<Doc<"responseRequests"> | null> =>
  ctx.db
    .query("responseRequests")
    .withIndex("by_pair", (q) => q.eq("recipientId", recipientId).eq("taskId", taskId).eq("askerId", run.agent._id))
    .order("desc")
    .first()

/** Whether the request was made less than four hours ago and has no answer yet. Reads at most one row. */
const isAsked = async (ctx: Pick<QueryCtx, "db">, request: Doc<"responseRequests"> | null): Promise<boolean> => {
  if (request === null || request._creationTime < Date.now() - askAgainAfterMs) return false
  if (typeof request.run === "string") return request.openFor !== undefined
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

/** A person who can be asked, and the agent's last question to them on the task. */
interface Askable {
  readonly member: Doc<"members">
  readonly earlier: Doc<"responseRequests"> | null
}

/** The people with this name who can be asked, or why there are none. Reads two rows each. */
const peopleToAsk = async (
  ctx: Pick<QueryCtx, "db">,
  run: Run,
  name: string,
  taskId: Id<"tasks">
): Promise<Array<Askable> | string> => {
  const members = await membersByName(ctx, run.accountId, name)
  if (members.length === 0) {
    const names = (await someMembers(ctx, run.accountId)).map((member) => member.name).join(", ")
    return `no agent has this slug and no person this name; the people are: ${names}`
  }
  const people: Array<Askable> = []
  for (const member of members) {
    const earlier = await lastRequest(ctx, run, member._id, taskId)
    if (!(await isAsked(ctx, earlier))) people.push({ member, earlier })
  }
  return people.length === 0 ? alreadyAsked : people
}

/** Asks these people with a note in the thread. */
const askPeople = async (
  ctx: MutationCtx,
  run: Run,
  task: Doc<"tasks">,
  people: ReadonlyArray<Askable>,
  text: string
): Promise<Array<{ slug: string; notificationId: string }>> => {
  if (people.length === 0) return []
  const content = `Question to ${people.map(({ member }) => member.name).join(" and ")}: ${text}`
  const asked = people.map(({ member }) => member._id)
  const written = { content, kind: "note" as const, run: { runId: run.id, epoch: run.epoch }, asked }
  const messageId = await postMessage(ctx, task, written, run.origin)
  const answers: Array<{ slug: string; notificationId: string }> = []
  for (const { earlier, member } of people) {
    const question = { memberId: member._id, askerId: run.agent._id, run: run.id, text, messageId, earlier }
    answers.push({ slug: member.name, notificationId: await askMember(ctx, task, question, run.origin) })
  }
  return answers
}

/** response_request: asks agents or people for a response in a task's thread, once per run and arguments. */
export const requestResponses = defineTool({
  name: "response_request",
  args: { recipientSlugs: v.array(v.string()), message: v.string(), taskId: v.optional(v.string()) },
  returns: v.object({
    asked: v.array(v.object({ slug: v.string(), notificationId: v.string() })),
    skipped: v.array(v.object({ slug: v.string(), reason: v.string() })),
    repeated: v.boolean()
  }),
  prepare: async (ctx, run, args) => {
    mustHaveFlag(run, "canMentionAgents")
    const taskId = args.taskId ?? run.taskId
    if (taskId === null) throw refusal("invalid", "This run has no task. Name the task of the request.")
    const task = await taskOf(ctx, run.accountId, taskId)
    mustActOn(run, task)
    const message = args.message.trim()
    const slugs = [...new Set(args.recipientSlugs.map(plainName))]
    if (message === "") throw refusal("invalid", "The message is empty. Write what you ask for.")
    if (message.length > maxMessageLength) {
      throw refusal("limit", `A request has at most ${maxMessageLength} characters. Shorten it.`)
    }
    if (slugs.length === 0) throw refusal("invalid", "No recipient is named. Name at least one.")
    if (slugs.length > maxRecipients) throw refusal("limit", `A request has at most ${maxRecipients} recipients.`)
    const once = { taskId: task._id, recipientSlugs: slugs.toSorted(), message }
    const act = () =>
      createOnce(ctx, run, "response_request", once, async () => {
        const recipients: Array<Doc<"agents">> = []
        const people: Array<Askable> = []
        const skipped: Array<{ slug: string; reason: string }> = []
        for (const slug of slugs) {
          const agent = await agentBySlug(ctx, run.accountId, slug)
          const skip = (reason: string) => skipped.push({ slug: cut(slug, 64), reason })
          if (agent === null) {
            const named = await peopleToAsk(ctx, run, slug, task._id)
            if (typeof named === "string") skip(named)
            else people.push(...named)
          } else if (agent._id === run.agent._id) skip("an agent cannot ask itself")
          else if (task.isOrchestratorChat && !agent.isOrchestrator) skip("only the orchestrator answers in its chat")
          else if (await isAsked(ctx, await lastRequest(ctx, run, agent._id, task._id))) skip(alreadyAsked)
          else recipients.push(agent)
        }
        const cause = { type: "response_request" as const, request: message }
        const notified = await notifyAgents(ctx, task, recipients, run.origin, cause)
        const asked: Array<{ slug: string; notificationId: string }> = []
        for (const [index, agent] of recipients.entries()) {
          const made = notified[index]
          if (made === undefined) skipped.push({ slug: agent.slug, reason: limitOf(task) })
          else {
            const pair = { accountId: run.accountId, taskId: task._id, askerId: run.agent._id, recipientId: agent._id }
            await ctx.db.insert("responseRequests", { ...pair, ...made })
            asked.push({ slug: agent.slug, notificationId: made.notificationId })
          }
        }
        const summary = asked.map(({ slug }) => `@${slug}`)
        const askedPeople = await askPeople(ctx, run, task, people, message)
        asked.push(...askedPeople)
        summary.push(...askedPeople.map(({ slug }) => slug))
        if (asked.length > 0) {
          await recordActivity(ctx, {
            accountId: run.accountId,
            type: "response_requested",
            actor: run.origin.actor,
            taskId: task._id,
            summary: `asked ${asked.map(({ slug }) => slug).join(", ")} for a response`
          })
        }
        return {
          result: { asked, skipped },
          summary: `asked ${summary.join(", ") || "no one"}`
        }
      })
    return { task, once, act }
  }
})
