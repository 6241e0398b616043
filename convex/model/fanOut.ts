import type { Infer } from "convex/values"
import { type Mentions, parseMentions } from "../../src/domain/Mention.ts"
import type { TaskStatus } from "../../src/domain/TaskStatus.ts"
import { isReviewer } from "../../src/domain/TaskStatus.ts"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import type { NotificationType, notificationState } from "../schema.ts"
import type { Actor } from "./actor.ts"
import {
  accountOf,
  activeAgents,
  agentBySlug,
  agentsByName,
  agentsOnRoster,
  flagsOf,
  inRosterOrder,
  orchestratorOf
} from "./agents.ts"
import { markHopNotice } from "./participants.ts"
import { sessionFor } from "./sessions.ts"
import { subscribe, subscribeParticipants, subscribersOf } from "./subscriptions.ts"

/** How many turns agents may set off in a row when nothing else says so; a person's act starts anew. */
export const defaultMaxHops = 12

/** Who caused a change, and how far down a chain of agents' turns it is. */
export interface Origin {
  readonly actor: Actor
  /** The hops its notifications carry: 0 for a person, the run's hops + 1 for an agent. */
  readonly hops: number
  readonly maxHops: number
}

/** What a person does starts a chain of its own. */
export const personOrigin = (actor: Actor): Origin => ({ actor, hops: 0, maxHops: defaultMaxHops })

interface Cause {
  readonly type: NotificationType
  readonly messageId?: Id<"messages">
  readonly previousStatus?: TaskStatus
  readonly newStatus?: TaskStatus
  readonly request?: string
}

const laneOf = (type: NotificationType, actor: Actor): number => {
  if (actor.type === "person" && (type === "mention" || type === "thread_update")) return 0
  if (type === "response_request") return 1
  return type === "assignment" ? 2 : 3
}

/** Whether the sender is owed an answer. */
const isRequired = (type: NotificationType, actor: Actor): boolean =>
  type === "assignment" ||
  type === "mention" ||
  type === "response_request" ||
  (type === "thread_update" && actor.type === "person")

const row = (task: Pick<Doc<"tasks">, "_id" | "accountId">, origin: Origin, cause: Cause) => ({
  accountId: task.accountId,
  taskId: task._id,
  ...cause,
  actor: origin.actor,
  lane: laneOf(cause.type, origin.actor),
  readyAt: Date.now(),
  attempts: 0,
  claims: 0,
  failures: 0,
  silences: 0,
  crashes: 0,
  hops: origin.hops,
  isRequired: isRequired(cause.type, origin.actor),
  hasFallback: false,
  runsInNextGeneration: false
})

/** Inserts a person's row, which no runtime ever claims. */
export const notifyMember = async (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Doc<"tasks">, "_id" | "accountId">,
  memberId: Id<"members">,
  origin: Origin,
  cause: Cause
): Promise<void> => {
  const state: Infer<typeof notificationState> = "unread"
  await ctx.db.insert("notifications", { ...row(task, origin, cause), recipientType: "person", memberId, state })
}

/** Tells the task's creator once (the account's owner, when an agent made it) that the agents' chain ended here. */
const noticeHopLimit = async (ctx: Pick<MutationCtx, "db">, taskId: Id<"tasks">, origin: Origin): Promise<void> => {
  const task = await ctx.db.get("tasks", taskId)
  if (task === null || !(await markHopNotice(ctx, task))) return
  const creatorId = task.createdBy.type === "person" ? ctx.db.normalizeId("members", task.createdBy.id ?? "") : null
  const creator = creatorId === null ? null : await ctx.db.get("members", creatorId)
  const recipient = creator ?? (await ownerOf(ctx, task.accountId))
  if (recipient === null) return
  await notifyMember(ctx, task, recipient._id, origin, {
    type: "thread_update",
    request: "The agents' chain reached the hop limit: no agent is told of what follows until a person writes."
  })
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

/**
 * Inserts one ready row for each agent and puts it into its session's order; always a row of its own, folding is the
 * claim's. Beyond the hop limit no agent is told. Answers the rows' ids in the order of the agents.
 */
export const notifyAgents = async (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Doc<"tasks">, "_id" | "accountId">,
  agents: ReadonlyArray<Doc<"agents">>,
  origin: Origin,
  cause: Cause
): Promise<Array<Id<"notifications">>> => {
  if (agents.length === 0) return []
  if (origin.hops > origin.maxHops) {
    await noticeHopLimit(ctx, task._id, origin)
    return []
  }
  const account = await accountOf(ctx, task.accountId)
  const ids: Array<Id<"notifications">> = []
  for (const agent of agents) {
    const session = await sessionFor(ctx, agent, account.sessionScope, task._id)
    const made = row(task, origin, cause)
    ids.push(
      await ctx.db.insert("notifications", {
        ...made,
        recipientType: "agent",
        agentId: agent._id,
        sessionId: session._id,
        state: "ready",
        ...(cause.type === "thread_update" ? { foldTaskId: task._id } : {})
      })
    )
    // The newest row is best only in a lane of its own, and oldest only when there is no other.
    const isBest = session.lane === undefined || made.lane < session.lane
    if (isBest || session.oldestAt === undefined) {
      await ctx.db.patch("sessions", session._id, {
        ...(isBest ? { lane: made.lane, readyAt: made.readyAt } : {}),
        ...(session.oldestAt === undefined ? { oldestAt: made.readyAt } : {})
      })
    }
  }
  return ids
}

interface Mentioned {
  readonly agents: ReadonlyArray<Doc<"agents">>
  readonly members: ReadonlyArray<Doc<"members">>
}

/** Up to this many mentions are looked up one by one; beyond that the roster and the members are read as a whole. */
const maxLookups = 20
const maxMembers = 1_000

/** The account's agents and members that the mentions name, whoever wrote them. */
const namedBy = async (
  ctx: Pick<MutationCtx, "db">,
  accountId: Id<"accounts">,
  { all, names, slugs }: Mentions
): Promise<Mentioned> => {
  const memberKeys = [...new Set([...names, ...slugs])]
  if (all || memberKeys.length > maxLookups) {
    const agents = await activeAgents(ctx, accountId)
    const members = await ctx.db
      .query("members")
      .withIndex("by_account", (q) => q.eq("accountId", accountId))
      .take(maxMembers)
    return {
      agents: agents.filter((agent) => all || slugs.includes(agent.slug) || names.includes(agent.nameKey)),
      members: members.filter((member) => all || memberKeys.includes(member.nameKey))
    }
  }
  const agents = new Map<Id<"agents">, Doc<"agents">>()
  for (const slug of slugs) {
    const agent = await agentBySlug(ctx, accountId, slug)
    if (agent !== null) agents.set(agent._id, agent)
  }
  for (const name of names) {
    for (const agent of await agentsByName(ctx, accountId, name)) agents.set(agent._id, agent)
  }
  const members: Array<Doc<"members">> = []
  for (const key of memberKeys) {
    const namesakes = await ctx.db
      .query("members")
      .withIndex("by_name", (q) => q.eq("accountId", accountId).eq("nameKey", key))
      .take(maxMembers)
    members.push(...namesakes)
  }
  return { agents: inRosterOrder(agents.values()), members }
}

/**
 * Whom a message of this task mentions, as far as its author may mention them. Reads nothing if there is no mention,
 * the roster and at most 1,000 members for `@all` or more than twenty mentions, and otherwise the agents and members
 * that are named.
 */
const mentionedIn = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  content: string,
  author: Actor
): Promise<Mentioned> => {
  const mentions = parseMentions(content)
  if (!mentions.all && mentions.slugs.length === 0 && mentions.names.length === 0) return { agents: [], members: [] }
  const named = await namedBy(ctx, task.accountId, mentions)
  const members = named.members.filter((member) => member._id !== author.id)
  const agents = named.agents.filter((agent) => agent._id !== author.id)
  if (author.type !== "agent") {
    return { agents: task.isOrchestratorChat ? agents.filter((agent) => agent.isOrchestrator) : agents, members }
  }
  if (task.isOrchestratorChat || agents.length === 0) return { agents: [], members }
  const authorId = ctx.db.normalizeId("agents", author.id ?? "")
  const [writer] = authorId === null ? [] : await agentsOnRoster(ctx, [authorId])
  const mayMention = writer !== undefined && flagsOf(await accountOf(ctx, task.accountId), writer).canMentionAgents
  return { agents: mayMention ? agents : [], members }
}

/**
 * Notifies everyone concerned of a message: the mentioned, then the subscribers. Fallbacks and notes (`isQuiet`) reach
 * people only. Reads the task's subscriptions and the subscribed agents, the orchestrator if an agent wrote or the task
 * is the orchestrator's chat, and whom the message mentions.
 */
export const fanOutMessage = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  message: { readonly _id: Id<"messages">; readonly content: string },
  origin: Origin,
  isQuiet: boolean
): Promise<void> => {
  const { actor: author } = origin
  const mentioned = await mentionedIn(ctx, task, message.content, author)
  const mentionedAgents = isQuiet ? [] : mentioned.agents
  const authorId = author.type === "agent" ? ctx.db.normalizeId("agents", author.id ?? "") : null
  const authorMemberId = author.type === "person" ? ctx.db.normalizeId("members", author.id ?? "") : null
  const concernsOrchestrator = !isQuiet && (author.type === "agent" || task.isOrchestratorChat)
  const orchestrator = concernsOrchestrator ? await orchestratorOf(ctx, task.accountId) : null
  const subscribers = await subscribeParticipants(ctx, task, [
    ...(authorId === null ? [] : [{ agentId: authorId }]),
    ...(authorMemberId === null ? [] : [{ memberId: authorMemberId }]),
    ...mentionedAgents.map((agent) => ({ agentId: agent._id })),
    ...mentioned.members.map((member) => ({ memberId: member._id })),
    ...(orchestrator !== null && author.type === "agent" ? [{ agentId: orchestrator._id }] : [])
  ])

  const mention: Cause = { type: "mention", messageId: message._id }
  await notifyAgents(ctx, task, mentionedAgents, origin, mention)
  for (const member of mentioned.members) await notifyMember(ctx, task, member._id, origin, mention)

  const update: Cause = { type: "thread_update", messageId: message._id }
  const writtenByOrchestrator = orchestrator !== null && orchestrator._id === authorId
  const isHeard =
    !isQuiet &&
    mentionedAgents.length === 0 &&
    task.status !== "done" &&
    task.status !== "archived" &&
    (task.status !== "blocked" || author.type === "person" || writtenByOrchestrator)
  const audience = task.isOrchestratorChat ? [{ agentId: orchestrator?._id }] : subscribers
  const listeners = await agentsOnRoster(
    ctx,
    isHeard ? audience.flatMap(({ agentId }) => (agentId === undefined || agentId === authorId ? [] : [agentId])) : []
  )
  await notifyAgents(ctx, task, inRosterOrder(listeners), origin, update)
  for (const { memberId } of subscribers) {
    const isTold = memberId !== undefined && memberId !== authorMemberId
    if (isTold && !mentioned.members.some((member) => member._id === memberId)) {
      await notifyMember(ctx, task, memberId, origin, update)
    }
  }
}

/** Tells the new assignees; they and the orchestrator are subscribed. */
export const fanOutAssignment = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  newAssignees: ReadonlyArray<Doc<"agents">>,
  origin: Origin
): Promise<void> => {
  if (newAssignees.length === 0) return
  for (const agent of newAssignees) await subscribe(ctx, task, { agentId: agent._id }, "assignee")
  const orchestrator = await orchestratorOf(ctx, task.accountId)
  if (orchestrator !== null) await subscribe(ctx, task, { agentId: orchestrator._id }, "participant")
  await notifyAgents(ctx, task, newAssignees, origin, { type: "assignment" })
}

/**
 * Notifies the assignees but the actor of a new status, of a review also the orchestrator and subscribed reviewers.
 * Reads the assignees; for a review also the account, the orchestrator and the subscribed agents.
 */
export const fanOutStatus = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  previousStatus: TaskStatus,
  newStatus: TaskStatus,
  origin: Origin
): Promise<void> => {
  const told = new Set(task.assigneeIds)
  if (newStatus === "review") {
    const account = await accountOf(ctx, task.accountId)
    const orchestrator = await orchestratorOf(ctx, task.accountId)
    if (orchestrator !== null) told.add(orchestrator._id)
    const subscribedIds = (await subscribersOf(ctx, task._id)).flatMap(({ agentId }) => agentId ?? [])
    for (const agent of await agentsOnRoster(
      ctx,
      subscribedIds.filter((id) => !told.has(id))
    )) {
      if (isReviewer({ isOrchestrator: agent.isOrchestrator, flags: flagsOf(account, agent) })) told.add(agent._id)
    }
  }
  const recipients = await agentsOnRoster(
    ctx,
    [...told].filter((id) => id !== origin.actor.id)
  )
  await notifyAgents(ctx, task, inRosterOrder(recipients), origin, {
    type: "status_change",
    previousStatus,
    newStatus
  })
}
