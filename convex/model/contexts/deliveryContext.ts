import { sessionKey } from "../../../src/domain/shared/SessionKey.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { colleaguesOf, toAgentRef, toAgentView } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { readWithin } from "../database/readWithin.ts"
import { fenceMarkOf, stoppedBefore } from "../queue/sessions.ts"
import { effectsOf } from "../runs/effects.ts"
import { earlierTraceOf } from "../runs/traces.ts"
import { taskSize, toTaskView } from "../tasks/taskView.ts"
import { type MessageView, toMessageView } from "../threads/messages.ts"
import { threadMessageLength } from "../threads/thread.ts"
import type { AccountContext } from "./accountContext.ts"
import type { BrokenCode, DeliveryContext } from "./deliveryContextView.ts"
import { type RunBudget, isLimitError } from "./readBudget.ts"
import { type Seen, type SeenTask, newSince, seenBefore, shownWith, unchangedIn } from "./seenTasks.ts"

/** The number of messages in a prompt before its request. The messages of the events are read in addition. */
const threadBefore = 25

const eventsLength = 75_000

const documentsLength = 4_000

const overviewLength = 50

/** The account's open tasks, most recently changed first, for the orchestrator's chat. */
const overviewOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  agents: ReadonlyArray<Doc<"agents">>,
  budget: RunBudget
): Promise<NonNullable<DeliveryContext["taskOverview"]>> => {
  const tasks: Array<Doc<"tasks">> = []
  const share = budget.characters / 5
  for (const status of ["in_progress", "review", "assigned", "blocked", "inbox"] as const) {
    if (tasks.length >= overviewLength || (tasks.length > 0 && budget.characters === 0)) break
    const newestFirst = ctx.db
      .query("tasks")
      .withIndex("by_status", (q) => q.eq("accountId", accountId).eq("status", status))
      .order("desc")
    const found = await readWithin(newestFirst, overviewLength - tasks.length, share, taskSize)
    for (const task of found) budget.read(taskSize(task))
    tasks.push(...found)
  }
  return tasks
    .filter((task) => !task.isOrchestratorChat)
    .map((task) => ({
      id: task._id,
      title: task.title,
      status: task.status,
      assigneeSlugs: agents.filter((agent) => task.assigneeIds.includes(agent._id)).map((agent) => agent.slug)
    }))
}

/** The task's documents, newest first, cut at their total length. */
const documentsOf = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">,
  budget: RunBudget
): Promise<DeliveryContext["documents"]> => {
  const newestFirst = ctx.db
    .query("documents")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .order("desc")
  const documents = await readWithin(newestFirst, 20, budget.characters, (document) => document.content.length)
  let left = documentsLength
  return documents.map((document) => {
    budget.read(document.content.length)
    const content = cut(document.content, Math.max(0, left))
    left -= content.length
    return { id: document._id, title: document.title, type: document.type, content }
  })
}

/** Replaces the message of an event that was too much to read. The thread still contains it. */
const unreadMessage = (id: Id<"messages">, event: Doc<"notifications">["events"][number]): MessageView => ({
  id,
  author: event.actor,
  content: "",
  kind: "message",
  createdAt: event.at,
  isCut: true,
  answersType: null
})

/**
 * The notification's events from this index on, with their messages, and the number of messages that are gone. The
 * newest events get their share of the text first.
 */
export const eventViews = async (
  ctx: Pick<QueryCtx, "db">,
  row: Doc<"notifications">,
  from: number,
  thread: ReadonlyArray<Doc<"messages">>,
  budget: RunBudget
): Promise<{ readonly views: DeliveryContext["events"]; readonly gone: number }> => {
  const views: DeliveryContext["events"] = []
  let left = eventsLength
  let gone = 0
  const viewOf = async (event: Doc<"notifications">["events"][number]): Promise<MessageView | null> => {
    const { messageId } = event
    if (messageId === undefined) return null
    const shown = thread.find(({ _id }) => _id === messageId)
    if (shown === undefined && !budget.takeMessage()) return unreadMessage(messageId, event)
    const message = shown ?? (await ctx.db.get("messages", messageId))
    if (message === null) {
      gone += 1
      return null
    }
    if (shown === undefined) budget.read(message.content.length)
    return toMessageView(message, Math.max(0, left))
  }
  for (const [index, event] of [...row.events.entries()].slice(from).toReversed()) {
    const message = await viewOf(event)
    left -= message?.content.length ?? 0
    views.unshift({
      index,
      type: event.type,
      createdAt: event.at,
      message,
      actor: event.actor,
      previousStatus: event.previousStatus ?? null,
      newStatus: event.newStatus ?? null,
      request: event.request ?? null,
      ...(event.answers === undefined ? {} : { answers: event.answers })
    })
  }
  return { views, gone }
}

/** The lease of an attempt, as far as its context needs it. */
export interface Attempt {
  readonly session: Doc<"sessions">
  readonly generation: number
  readonly epoch: number
  /** The number of attempts before this one. */
  readonly earlierAttempts: number
}

/** A context, what the session has seen with it, and what without it. */
type Built = Seen & { readonly context: DeliveryContext; readonly seen: SeenTask }

const buildContext = async (
  ctx: Pick<QueryCtx, "db">,
  row: Doc<"notifications">,
  { earlierAttempts, epoch, generation, session }: Attempt,
  { account, accountId, agents, primaryPerson, repository }: AccountContext,
  budget: RunBudget
): Promise<Built | BrokenCode> => {
  if (account === null) return "account_missing"
  const agent = agents.find((each) => each._id === row.agentId)
  if (agent === undefined) return "agent_missing"
  const task = await ctx.db.get("tasks", row.taskId)
  if (task === null || task.accountId !== accountId) return "task_missing"
  budget.read(taskSize(task))
  const { before, rowId } = await seenBefore(ctx, session, row, generation)
  const newestFirst = ctx.db
    .query("messages")
    .withIndex("by_task", (q) =>
      before === null ? q.eq("taskId", task._id) : q.eq("taskId", task._id).gt("_creationTime", newSince(before))
    )
    .order("desc")
  const messages = await readWithin(
    newestFirst,
    threadBefore + row.events.length,
    Math.floor(budget.characters / 2),
    (message) => message.content.length
  )
  for (const message of messages) budget.read(message.content.length)
  const { gone, views: events } = await eventViews(ctx, row, 0, messages, budget)
  if (gone === events.length) return "message_missing"
  const orchestrator = agents.find((each) => each.isOrchestrator)
  const view = await toTaskView(ctx, task, agents)
  const { openQuestions = [] } = view
  if (task.status === "blocked") budget.noteIntervals(1 + 2 * openQuestions.length)
  const repositoryDocument =
    repository === null ? null : { title: repository.title, content: cut(repository.content, documentsLength) }
  const documents = await documentsOf(ctx, task._id, budget)
  const briefing = task.isOrchestratorChat ? account.briefing : null
  const taskOverview = task.isOrchestratorChat ? await overviewOf(ctx, accountId, agents, budget) : null
  const mentionableAgents = colleaguesOf(agents, agent)
  const { assignees, blockedReason, description, labels, prNumber, priority } = view
  const seen = await shownWith({ epoch, generation }, messages, before, {
    task: [assignees, blockedReason, description, labels, prNumber, priority],
    documents: [repositoryDocument, documents],
    people: [mentionableAgents, primaryPerson],
    briefing,
    tasks: taskOverview
  })
  const context: DeliveryContext = {
    notification: {
      id: row._id,
      type: row.type,
      createdAt: row._creationTime,
      hops: row.hops,
      isRequired: row.isRequired
    },
    events,
    account: { id: accountId, name: account.name },
    agent: toAgentView(account, agent),
    sessionKey: sessionKey({
      slug: agent.slug,
      accountId,
      ...(session.taskId === undefined ? {} : { taskId: session.taskId }),
      generation
    }),
    generation,
    fenceMark: await fenceMarkOf(session, generation),
    stoppedRuns: stoppedBefore(session, generation, row._id),
    textNumber: epoch,
    delta: before === null ? null : { fullText: before.fullText, unchanged: unchangedIn(before, seen) },
    task: view,
    recipientIsAssignee: task.assigneeIds.includes(agent._id),
    thread: messages
      .filter(({ _id }) => before?.recentIds.includes(_id) !== true)
      .map((message) => toMessageView(message, threadMessageLength))
      .toReversed(),
    orchestrator: orchestrator === undefined ? null : toAgentRef(orchestrator),
    primaryPerson,
    mentionableAgents,
    repositoryDocument,
    documents,
    briefing,
    taskOverview,
    earlier: {
      attempts: earlierAttempts,
      lastError: row.error ?? null,
      effects: earlierAttempts > 0 ? await effectsOf(ctx, row._id) : [],
      ...earlierTraceOf(row)
    }
  }
  return { context, seen, before, rowId }
}

/**
 * Builds the context of a notification's attempt, with what it shows. Returns the reason if that is impossible: one
 * damaged notification does not affect other runs.
 */
export const contextOf = async (...args: Parameters<typeof buildContext>): Promise<Built | BrokenCode> => {
  try {
    return await buildContext(...args)
  } catch (error) {
    if (isLimitError(error)) throw error
    return "damaged"
  }
}
