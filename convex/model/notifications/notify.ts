import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { NotificationEvent } from "../../tables/notifications.ts"
import { accountOf } from "../agents/agents.ts"
import { markHopLimitNotified } from "../limits/taskLoops.ts"
import { enqueue, refreshSession, sessionFor } from "../queue/sessions.ts"
import { isStopping, openStops } from "../runs/openStops.ts"
import { announce } from "../webhooks/announce.ts"
import { derivedFrom, type Due, dueOf, isPersonsMessage, maxEvents, orderOf } from "./events.ts"
import type { Origin } from "./origin.ts"

type Task = Pick<Doc<"tasks">, "_id" | "accountId" | "isAtTurnLimit">

/** What an event is about. */
export type Cause = Pick<
  NotificationEvent,
  "type" | "messageId" | "previousStatus" | "newStatus" | "request" | "answers"
>

const eventOf = (origin: Origin, cause: Cause): NotificationEvent => ({
  ...cause,
  actor: origin.actor,
  at: Date.now(),
  hops: origin.hops,
  ...(origin.chain === undefined ? {} : { chain: origin.chain })
})

/** The fields of a notification that was never claimed. */
const newNotification = (
  task: Pick<Task, "_id" | "accountId">,
  events: Array<NotificationEvent>,
  { at, readyAt, retryAt }: Due
) => ({
  accountId: task.accountId,
  taskId: task._id,
  events,
  ...derivedFrom(events),
  at,
  readyAt,
  ...(retryAt === undefined ? {} : { retryAt }),
  attempts: 0,
  claims: 0,
  failures: 0,
  silences: 0,
  crashes: 0,
  hasFallback: false,
  runsInNextGeneration: false
})

/** Creates a notification of the agent with these events. Its session's order key does not change. */
export const insertForAgent = (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Task, "_id" | "accountId">,
  of: { readonly agentId: Id<"agents">; readonly sessionId: Id<"sessions"> },
  events: Array<NotificationEvent>,
  due: Due
): Promise<Id<"notifications">> =>
  ctx.db.insert("notifications", {
    ...newNotification(task, events, due),
    recipientType: "agent",
    ...of,
    state: "ready"
  })

/** Notifies a person. No runtime claims such a notification. Returns its id. */
export const notifyMember = async (
  ctx: Pick<MutationCtx, "db">,
  task: Task,
  memberId: Id<"members">,
  origin: Origin,
  cause: Cause
): Promise<Id<"notifications">> => {
  const events = [eventOf(origin, cause)]
  const notification = newNotification(task, events, { at: orderOf(events), readyAt: Date.now(), retryAt: undefined })
  return await ctx.db.insert("notifications", { ...notification, recipientType: "person", memberId, state: "unread" })
}

/** The account's first owner. */
export const ownerOf = async (
  ctx: Pick<MutationCtx, "db">,
  accountId: Id<"accounts">
): Promise<Doc<"members"> | null> => {
  const members = await ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(100)
  return members.find((member) => member.role === "owner") ?? null
}

/** The person responsible for the task: its creator, or the account's owner. */
export const responsibleFor = async (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Doc<"tasks">, "accountId" | "createdBy">
): Promise<Doc<"members"> | null> => {
  const creatorId = task.createdBy.type === "person" ? ctx.db.normalizeId("members", task.createdBy.id ?? "") : null
  const creator = creatorId === null ? null : await ctx.db.get("members", creatorId)
  return creator ?? (await ownerOf(ctx, task.accountId))
}

/**
 * Notifies the person responsible for the task and the account's webhooks, once, that a chain of agents' turns reached
 * the hop limit.
 */
const notifyHopLimit = async (ctx: MutationCtx, taskId: Id<"tasks">, origin: Origin): Promise<void> => {
  const task = await ctx.db.get("tasks", taskId)
  if (task === null || !(await markHopLimitNotified(ctx, task))) return
  const limit = origin.settings.maxHops
  const text =
    `A chain of agents' turns reached the hop limit (MAX_AGENT_HOPS=${limit}). ` +
    "No agent is notified of the last one until a person writes in the thread."
  await announce(ctx, task.accountId, { type: "limit.hops", data: { taskId, limit, text } })
  const recipient = await responsibleFor(ctx, task)
  if (recipient === null) return
  await notifyMember(ctx, task, recipient._id, origin, { type: "thread_update", request: text })
}

/** Lets the agent's running turn on the task know of a person's message, which may join it. */
const noteNews = async (
  ctx: Pick<MutationCtx, "db">,
  { _id, lease, recalled }: Doc<"sessions">,
  taskId: Id<"tasks">,
  news: Id<"messages"> | undefined
): Promise<void> => {
  if (lease?.taskId === taskId && recalled === undefined) await ctx.db.patch("sessions", _id, { news })
}

/** The notification that took an event, and the event's index in it. */
export interface Notified {
  readonly notificationId: Id<"notifications">
  readonly event: number
}

/**
 * The agent's notification on the task that an event may join: ready, never claimed, not full, and not being stopped.
 */
const joinableNotification = async (
  ctx: Pick<MutationCtx, "db">,
  agentId: Id<"agents">,
  taskId: Id<"tasks">
): Promise<Doc<"notifications"> | null> => {
  const newest = await ctx.db
    .query("notifications")
    .withIndex("by_untried", (q) => q.eq("agentId", agentId).eq("taskId", taskId).eq("state", "ready").eq("claims", 0))
    .order("desc")
    .first()
  if (newest === null || newest.events.length >= maxEvents) return null
  return isStopping(await openStops(ctx, newest.accountId), newest) ? null : newest
}

/**
 * Notifies the agents. The event joins a notification of the same agent and task that was never claimed, so that a busy
 * thread costs one turn and not one for each message; otherwise it starts a new notification. Beyond the limits of hops
 * and turns, an agent's event notifies no agent. A person's message for the agent's running turn is announced to its
 * process. Returns the results in the order of the agents. Reads two rows per
 * agent, one more if it delays work that waits for quiet, and the account if it creates a notification.
 */
export const notifyAgents = async (
  ctx: MutationCtx,
  task: Task,
  agents: ReadonlyArray<Doc<"agents">>,
  origin: Origin,
  cause: Cause
): Promise<Array<Notified>> => {
  if (agents.length === 0 || (task.isAtTurnLimit && origin.actor.type === "agent")) return []
  if (origin.hops > origin.settings.maxHops) {
    await notifyHopLimit(ctx, task._id, origin)
    return []
  }
  let account: Doc<"accounts"> | undefined
  const event = eventOf(origin, cause)
  const notified: Array<Notified> = []
  for (const agent of agents) {
    const found = await joinableNotification(ctx, agent._id, task._id)
    let session: Doc<"sessions"> | null
    if (found?.sessionId === undefined) {
      account ??= await accountOf(ctx, task.accountId)
      session = await sessionFor(ctx, agent, {
        kind: "notification",
        ...(account.sessionScope === "task" ? { taskId: task._id } : {})
      })
    } else session = await ctx.db.get("sessions", found.sessionId)
    if (session === null) throw new Error("The session of a notification was deleted.")
    const events = [...(found?.events ?? []), event]
    // The claim checks the budgets again, because a person's event may use a larger share.
    const known = found?.held === undefined ? found : { ...found, ...found.held, retryAt: undefined }
    const due = dueOf(events, known, origin.settings, event.at)
    if (found === null) {
      const of = { agentId: agent._id, sessionId: session._id }
      notified.push({ notificationId: await insertForAgent(ctx, task, of, events, due), event: 0 })
    } else {
      await ctx.db.patch("notifications", found._id, { events, ...derivedFrom(events), held: undefined, ...due })
      notified.push({ notificationId: found._id, event: events.length - 1 })
    }
    if (found !== null && due.at > found.at && session.at === found.at) await refreshSession(ctx, session._id)
    else await enqueue(ctx, session, due.at)
    if (isPersonsMessage(event)) await noteNews(ctx, session, task._id, event.messageId)
  }
  return notified
}
