import { type Infer, v } from "convex/values"
import { sessionKey } from "../../src/domain/SessionKey.ts"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { QueryCtx } from "../_generated/server.js"
import { failure, notificationType, taskStatus } from "../schema.ts"
import { actor } from "./actor.ts"
import { activeAgents, agentRef, agentView, colleague, colleaguesOf, toAgentRef, toAgentView } from "./agents.ts"
import { cut } from "./cut.ts"
import { messageView, type MessageView, toMessageView } from "./messages.ts"
import { readWithin } from "./readWithin.ts"
import { taskSize, taskView, toTaskView } from "./tasks.ts"
import { earlierTrace, earlierTraceOf } from "./traces.ts"

/** Everything a turn needs to know. */
export const deliveryContext = v.object({
  notification: v.object({
    id: v.string(),
    type: notificationType,
    createdAt: v.number(),
    hops: v.number(),
    isRequired: v.boolean(),
    lane: v.number()
  }),
  fold: v.array(
    v.object({
      id: v.string(),
      type: notificationType,
      createdAt: v.number(),
      message: v.union(messageView, v.null()),
      actor,
      previousStatus: v.union(taskStatus, v.null()),
      newStatus: v.union(taskStatus, v.null()),
      request: v.union(v.string(), v.null())
    })
  ),
  account: v.object({ id: v.string(), name: v.string() }),
  agent: agentView,
  sessionKey: v.string(),
  generation: v.number(),
  task: v.union(taskView, v.null()),
  recipientIsAssignee: v.boolean(),
  thread: v.array(messageView),
  orchestrator: v.union(agentRef, v.null()),
  primaryPerson: v.union(v.object({ name: v.string() }), v.null()),
  mentionableAgents: v.array(colleague),
  repositoryDocument: v.union(v.object({ title: v.string(), content: v.string() }), v.null()),
  documents: v.array(v.object({ id: v.string(), title: v.string(), type: v.string(), content: v.string() })),
  briefing: v.union(v.string(), v.null()),
  taskOverview: v.union(
    v.array(v.object({ id: v.string(), title: v.string(), status: taskStatus, assigneeSlugs: v.array(v.string()) })),
    v.null()
  ),
  earlier: v.object({
    attempts: v.number(),
    lastError: v.union(failure, v.null()),
    effects: v.array(v.object({ tool: v.string(), summary: v.string(), at: v.number() })),
    trace: earlierTrace
  }),
  failures: v.number(),
  silences: v.number(),
  sharedSince: v.union(v.number(), v.null())
})
export type DeliveryContext = Infer<typeof deliveryContext>

/** Why there is no context: the lease is another's by now, or what it is built of is gone, which its runtime writes. */
export const brokenCode = v.union(
  v.literal("lease_lost"),
  v.literal("notification_missing"),
  v.literal("agent_missing"),
  v.literal("task_missing"),
  v.literal("message_missing"),
  v.literal("account_missing"),
  v.literal("damaged")
)
type BrokenCode = Infer<typeof brokenCode>

export const contextAnswer = v.union(
  v.object({ id: v.string(), context: deliveryContext }),
  v.object({ id: v.string(), broken: brokenCode })
)

/** As many messages as a prompt shows before its request; those of the request itself are read beside them. */
const threadBefore = 25
const threadMessageLength = 4_000
const foldLength = 75_000
const documentsLength = 4_000
const overviewLength = 50
const effectsListed = 50
const maxIds = 100
/** What one query may read of threads, of folds and of documents, in characters each; each context gets its share. */
const readBudget = 1_500_000

/** The last messages of a thread, oldest first, each cut; stops early when the characters read use up the budget. */
export const threadOf = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">,
  length: number,
  budget: number,
  messageLength = threadMessageLength
): Promise<Array<MessageView>> => {
  const newestFirst = ctx.db
    .query("messages")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .order("desc")
  const messages = await readWithin(newestFirst, length, budget, (message) => message.content.length)
  return messages.map((message) => toMessageView(message, messageLength)).toReversed()
}

/** The account's first owner's name. */
export const primaryPersonOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">) => {
  const members = await ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(100)
  const person = members.find((member) => member.role === "owner") ?? members[0]
  return person === undefined ? null : { name: person.name }
}

/** The account's tasks that are not over, most recently changed first, as the orchestrator's chat shows them. */
const overviewOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  agents: ReadonlyArray<Doc<"agents">>,
  budget: number
): Promise<NonNullable<DeliveryContext["taskOverview"]>> => {
  const tasks: Array<Doc<"tasks">> = []
  for (const status of ["in_progress", "review", "blocked", "assigned", "inbox"] as const) {
    if (tasks.length >= overviewLength) break
    const newestFirst = ctx.db
      .query("tasks")
      .withIndex("by_status", (q) => q.eq("accountId", accountId).eq("status", status))
      .order("desc")
    tasks.push(...(await readWithin(newestFirst, overviewLength - tasks.length, budget / 5, taskSize)))
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

/** The task's documents, newest first, cut at their common length. */
const documentsOf = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">,
  budget: number
): Promise<DeliveryContext["documents"]> => {
  const newestFirst = ctx.db
    .query("documents")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .order("desc")
  let left = documentsLength
  return (await readWithin(newestFirst, 20, budget, (document) => document.content.length)).map((document) => {
    const content = cut(document.content, Math.max(0, left))
    left -= content.length
    return { id: document._id, title: document.title, type: document.type, content }
  })
}

/** What the run did so far, oldest first. */
export const effectsOf = async (ctx: Pick<QueryCtx, "db">, runId: string) => {
  const effects = await ctx.db
    .query("effects")
    .withIndex("by_run", (q) => q.eq("runId", runId))
    .take(effectsListed)
  return effects.map((effect) => ({ tool: effect.tool, summary: effect.summary, at: effect._creationTime }))
}

/** What stands for a folded message that was too much to read along; the thread holds it. */
const unreadMessage = (row: Doc<"notifications">): MessageView | null =>
  row.messageId === undefined
    ? null
    : {
        id: row.messageId,
        author: row.actor,
        content: "",
        kind: "message",
        createdAt: row._creationTime,
        isCut: true,
        answersType: null
      }

/** What all contexts of an account have in common. */
const surroundingsOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">) => ({
  account: await ctx.db.get("accounts", accountId),
  agents: await activeAgents(ctx, accountId),
  primaryPerson: await primaryPersonOf(ctx, accountId),
  repository: await ctx.db
    .query("documents")
    .withIndex("by_repository", (q) => q.eq("accountId", accountId).eq("isRepository", true))
    .first()
})

/** The context of one notification, or why there is none; with an epoch only under the lease that has it. */
const contextOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  notificationId: string,
  epoch: number | undefined,
  budget: number,
  { account, agents, primaryPerson, repository }: Awaited<ReturnType<typeof surroundingsOf>>
): Promise<DeliveryContext | BrokenCode> => {
  const id = ctx.db.normalizeId("notifications", notificationId)
  const kept = id === null ? null : await ctx.db.get("notifications", id)
  if (kept === null || kept.accountId !== accountId) return "notification_missing"
  const session = kept.sessionId === undefined ? null : await ctx.db.get("sessions", kept.sessionId)
  const isHeld = session?.lease?.holder === kept._id
  // A claim that is repeated answers old leases, whatever became of them meanwhile.
  if (epoch !== undefined && session !== null && !(isHeld && session.lease?.epoch === epoch)) return "lease_lost"
  if (account === null) return "account_missing"
  const agent = agents.find((each) => each._id === kept.agentId)
  if (agent === undefined) return "agent_missing"
  const task = await ctx.db.get("tasks", kept.taskId)
  if (task === null || task.accountId !== accountId) return "task_missing"
  if (session === null) return "damaged"

  const folded = await ctx.db
    .query("notifications")
    .withIndex("by_folded_into", (q) => q.eq("foldedInto", kept._id))
    .take(100)
  const rows = [kept, ...folded.filter((each) => each.state === "folded")].toSorted(
    (left, right) => left._creationTime - right._creationTime
  )
  const fold: DeliveryContext["fold"] = []
  // The newest get their share first: what came last decides, and is what people look for in the answer.
  let left = foldLength
  let unread = budget
  for (const row of rows.toReversed()) {
    const isReadable = row.messageId !== undefined && (unread > 0 || row._id === kept._id)
    const message = row.messageId === undefined || !isReadable ? null : await ctx.db.get("messages", row.messageId)
    if (message === null && isReadable && row._id === kept._id) return "message_missing"
    const view = message === null ? (isReadable ? null : unreadMessage(row)) : toMessageView(message, Math.max(0, left))
    left -= view?.content.length ?? 0
    unread -= message?.content.length ?? 0
    fold.unshift({
      id: row._id,
      type: row.type,
      createdAt: row._creationTime,
      message: view,
      actor: row.actor,
      previousStatus: row.previousStatus ?? null,
      newStatus: row.newStatus ?? null,
      request: row.request ?? null
    })
  }

  const orchestrator = agents.find((each) => each.isOrchestrator)
  const generation = isHeld ? (session.lease?.generation ?? session.generation) : session.generation
  return {
    notification: {
      id: kept._id,
      type: kept.type,
      createdAt: kept._creationTime,
      hops: kept.hops,
      isRequired: kept.isRequired,
      lane: kept.lane
    },
    fold,
    account: { id: accountId, name: account.name },
    agent: toAgentView(account, agent),
    sessionKey: sessionKey({
      slug: agent.slug,
      accountId,
      ...(session.taskId === undefined ? {} : { taskId: session.taskId }),
      generation
    }),
    generation,
    task: await toTaskView(ctx, task),
    recipientIsAssignee: task.assigneeIds.includes(agent._id),
    thread: await threadOf(ctx, task._id, threadBefore + rows.length, budget),
    orchestrator: orchestrator === undefined ? null : toAgentRef(orchestrator),
    primaryPerson,
    mentionableAgents: colleaguesOf(agents, agent),
    repositoryDocument:
      repository === null ? null : { title: repository.title, content: cut(repository.content, documentsLength) },
    documents: await documentsOf(ctx, task._id, budget),
    briefing: task.isOrchestratorChat ? account.briefing : null,
    taskOverview: task.isOrchestratorChat ? await overviewOf(ctx, accountId, agents, budget) : null,
    earlier: {
      attempts: Math.max(0, kept.claims - (isHeld ? 1 : 0)),
      lastError: kept.error ?? null,
      effects: kept.claims > 1 ? await effectsOf(ctx, kept._id) : [],
      ...earlierTraceOf(kept)
    },
    failures: kept.failures,
    silences: kept.silences,
    sharedSince: kept.sharedSince ?? null
  }
}

/**
 * Builds each context on its own, so that one broken row keeps none of the others back. What they share is read once:
 * a roster with long texts, read for each of a hundred rows, is more than one query may read. `epochs` are of
 * their leases.
 */
export const contexts = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  ids: ReadonlyArray<string>,
  epochs: ReadonlyArray<number> = []
): Promise<Array<Infer<typeof contextAnswer>>> => {
  const answers: Array<Infer<typeof contextAnswer>> = []
  const wanted = ids.slice(0, maxIds)
  const surroundings = await surroundingsOf(ctx, accountId)
  for (const [index, id] of wanted.entries()) {
    let built: DeliveryContext | BrokenCode
    try {
      built = await contextOf(ctx, accountId, id, epochs[index], Math.floor(readBudget / wanted.length), surroundings)
    } catch {
      built = "damaged"
    }
    answers.push(typeof built === "string" ? { id, broken: built } : { id, context: built })
  }
  return answers
}
