/** Questions of agents to people. The person's next message in the task's thread is the answer. */
import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { actor } from "../../tables/actor.ts"
import { agentsOnRoster, nameKey } from "../agents/agents.ts"
import { announce } from "../webhooks/announce.ts"
import { notifyMember } from "./notify.ts"
import type { Origin } from "./origin.ts"

type Question = Doc<"responseRequests">
type Task = Pick<Doc<"tasks">, "_id" | "accountId" | "isAtTurnLimit">

/** The maximum number of open questions that one transaction answers or ends. */
const maxOpen = 200
/** The maximum number of open questions that a task shows. */
const shown = 5
const maxNamesakes = 20

/** A question to a person that is not answered yet. */
export const openQuestion = v.object({
  text: v.string(),
  askedBy: actor,
  /** The name of the person who is asked. */
  person: v.string(),
  askedAt: v.number()
})

/** A name as a tool or a mention writes it, in the form in which names are compared: Pat, @pat or @"Pat Person". */
export const plainName = (text: string): string =>
  nameKey(
    text
      .trim()
      .replace(/^@/, "")
      .replace(/^["'“](.*)["'”]$/, "$1")
      .trim()
  )

/** The account's members with this name. Reads one row each, at most 20. */
export const membersByName = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  name: string
): Promise<Array<Doc<"members">>> =>
  ctx.db
    .query("members")
    .withIndex("by_name", (q) => q.eq("accountId", accountId).eq("nameKey", name))
    .take(maxNamesakes)

/** The account's first members. Reads one row each, at most 20. */
export const someMembers = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Array<Doc<"members">>> =>
  ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(maxNamesakes)

/** Ends a question, and takes it out of the person's unread notifications. Returns its text if it still has one. */
const end = async (
  ctx: Pick<MutationCtx, "db">,
  { _id, notificationId }: Question,
  outcome: "replied" | "stopped",
  outcomeReason: string
): Promise<string | undefined> => {
  await ctx.db.patch("responseRequests", _id, { openFor: undefined })
  const row = await ctx.db.get("notifications", notificationId)
  if (row === null) return undefined
  const ended = { state: "delivered" as const, endedAt: Date.now(), outcome, outcomeReason }
  await ctx.db.patch("notifications", notificationId, ended)
  return row.events[0]?.request
}

/**
 * Asks a person, and notifies the account's webhooks. An earlier question of the same agent to the person on this task
 * that is still open ends. Returns the notification's id.
 */
export const askMember = async (
  ctx: MutationCtx,
  task: Task,
  asked: {
    readonly memberId: Id<"members">
    readonly askerId: Id<"agents">
    readonly run: string
    readonly text: string
    readonly messageId: Id<"messages">
    readonly earlier: Question | null
  },
  origin: Origin
): Promise<Id<"notifications">> => {
  const { askerId, earlier, memberId, messageId, run, text } = asked
  if (earlier?.openFor !== undefined) await end(ctx, earlier, "stopped", "the agent asked again")
  const cause = { type: "response_request" as const, messageId, request: text }
  const notificationId = await notifyMember(ctx, task, memberId, origin, cause)
  const data = {
    notificationId,
    taskId: task._id,
    agentId: askerId,
    memberId,
    text: `${origin.actor.name} asks: ${text}`
  }
  await announce(ctx, task.accountId, { type: "question.asked", data })
  await ctx.db.insert("responseRequests", {
    accountId: task.accountId,
    taskId: task._id,
    askerId,
    recipientId: memberId,
    notificationId,
    event: 0,
    openFor: memberId,
    run
  })
  return notificationId
}

/** An agent whose question a person has answered, with the question's text. */
export interface Answered {
  readonly agent: Doc<"agents">
  readonly question: string
}

/**
 * Answers the person's open questions on the task with a message, each once: those of the agents that the message
 * mentions, or all if it mentions none of those who asked. Returns the agents to notify. Reads the open questions, and two
 * rows each.
 */
export const answerQuestions = async (
  ctx: Pick<MutationCtx, "db">,
  task: Task,
  memberId: Id<"members">,
  mentioned: ReadonlyArray<Pick<Doc<"agents">, "_id">>
): Promise<Array<Answered>> => {
  const open = await ctx.db
    .query("responseRequests")
    .withIndex("by_open", (q) => q.eq("taskId", task._id).eq("openFor", memberId))
    .take(maxOpen)
  const addressed = open.filter(({ askerId }) => mentioned.some(({ _id }) => _id === askerId))
  const questions = addressed.length > 0 ? addressed : open
  const answered: Array<Answered> = []
  for (const asked of questions) {
    const question = await end(ctx, asked, "replied", "answered in the thread")
    const [agent] = await agentsOnRoster(ctx, [asked.askerId])
    if (agent !== undefined && question !== undefined) answered.push({ agent, question })
  }
  return answered
}

/**
 * Ends the open questions of a task, of an agent, or those that one run of an agent asked. Reads at most 200, and one row
 * each.
 */
export const endQuestions = async (
  ctx: Pick<MutationCtx, "db">,
  of: { readonly taskId: Id<"tasks"> } | { readonly agentId: Id<"agents">; readonly run?: string },
  reason: string
): Promise<void> => {
  const all = ctx.db.query("responseRequests")
  const open = await (
    "taskId" in of
      ? all.withIndex("by_open", (q) => q.eq("taskId", of.taskId).gt("openFor", undefined))
      : all.withIndex("by_asker", (q) => q.eq("askerId", of.agentId).gt("openFor", undefined))
  ).take(maxOpen)
  const ended = open.filter(({ run }) => "taskId" in of || of.run === undefined || run === of.run)
  for (const each of ended) await end(ctx, each, "stopped", reason)
}

/** The oldest open questions of a task, oldest first, at most 5. Reads at most 200, and two rows of each shown. */
export const openQuestionsOf = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">
): Promise<Array<Infer<typeof openQuestion>>> => {
  const open = await ctx.db
    .query("responseRequests")
    .withIndex("by_open", (q) => q.eq("taskId", taskId).gt("openFor", undefined))
    .take(maxOpen)
  const views: Array<Infer<typeof openQuestion>> = []
  const oldest = open.toSorted((left, right) => left._creationTime - right._creationTime).slice(0, shown)
  for (const { notificationId, openFor } of oldest) {
    const row = await ctx.db.get("notifications", notificationId)
    const member = openFor === undefined ? null : await ctx.db.get("members", openFor)
    const event = row?.events[0]
    // A person who left the account answers no more.
    if (event === undefined || member === null) continue
    views.push({ text: event.request ?? "", askedBy: event.actor, person: member.name, askedAt: event.at })
  }
  return views
}
