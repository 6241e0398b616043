import { type Mentions, parseMentions } from "../../../src/domain/shared/Mention.ts"
import type { TaskStatus } from "../../../src/domain/shared/TaskStatus.ts"
import { isReviewer } from "../../../src/domain/shared/TaskStatus.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import {
  accountOf,
  activeAgents,
  agentBySlug,
  agentsByName,
  agentsOnRoster,
  flagsOf,
  inRosterOrder,
  orchestratorOf
} from "../agents/agents.ts"
import { subscribe, subscribeParticipants, subscribersOf } from "../tasks/subscriptions.ts"
import { type Cause, notifyAgents, notifyMember } from "./notify.ts"
import type { Origin } from "./origin.ts"
import { answerQuestions } from "./questions.ts"

interface Mentioned {
  readonly agents: ReadonlyArray<Doc<"agents">>
  readonly members: ReadonlyArray<Doc<"members">>
}

/** Up to this many mentions are looked up one by one. With more, the roster and the members are read as a whole. */
const maxLookups = 20
const maxMembers = 1_000

/** The account's agents and members that the mentions name, whoever the author is. */
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
 * The agents and members that a message mentions and its author may mention. Reads nothing without a mention, the
 * roster and at most 1,000 members for `@all` or more than twenty mentions, and otherwise the named agents and members.
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
 * Notifies the mentioned agents and members of a message, then the subscribers. Fallbacks and notes (`isQuiet`) notify
 * only people, except those that a note asks (`asked`), who are notified of the question. A person's message answers
 * agents' questions, and notifies those agents as if it mentioned them. Reads the task's subscriptions, the subscribed
 * and mentioned agents and members, the person's open questions, and the orchestrator if an agent wrote or the task is
 * the orchestrator's chat.
 */
export const fanOutMessage = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  message: { readonly _id: Id<"messages">; readonly content: string },
  origin: Origin,
  { asked = [], isQuiet }: { readonly asked?: ReadonlyArray<Id<"members">> | undefined; readonly isQuiet: boolean }
): Promise<void> => {
  const { actor: author } = origin
  const mentioned = await mentionedIn(ctx, task, message.content, author)
  const mentionedAgents = isQuiet ? [] : mentioned.agents
  const mentionedMembers = mentioned.members.filter(({ _id }) => !asked.includes(_id))
  const authorId = author.type === "agent" ? ctx.db.normalizeId("agents", author.id ?? "") : null
  const authorMemberId = author.type === "person" ? ctx.db.normalizeId("members", author.id ?? "") : null
  const answered =
    authorMemberId === null || isQuiet ? [] : await answerQuestions(ctx, task, authorMemberId, mentionedAgents)
  const concernsOrchestrator = !isQuiet && (author.type === "agent" || task.isOrchestratorChat)
  const orchestrator = concernsOrchestrator ? await orchestratorOf(ctx, task.accountId) : null
  const subscribers = await subscribeParticipants(ctx, task, [
    ...(authorId === null ? [] : [{ agentId: authorId }]),
    ...(authorMemberId === null ? [] : [{ memberId: authorMemberId }]),
    ...mentionedAgents.map((agent) => ({ agentId: agent._id })),
    ...answered.map(({ agent }) => ({ agentId: agent._id })),
    ...mentionedMembers.map((member) => ({ memberId: member._id })),
    ...(orchestrator !== null && author.type === "agent" ? [{ agentId: orchestrator._id }] : [])
  ])

  const mention: Cause = { type: "mention", messageId: message._id }
  const others = mentionedAgents.filter(({ _id }) => !answered.some(({ agent }) => agent._id === _id))
  await notifyAgents(ctx, task, others, origin, mention)
  for (const { agent, question } of answered) {
    await notifyAgents(ctx, task, [agent], origin, { ...mention, answers: question })
  }
  for (const member of mentionedMembers) await notifyMember(ctx, task, member._id, origin, mention)

  const update: Cause = { type: "thread_update", messageId: message._id }
  const writtenByOrchestrator = orchestrator !== null && orchestrator._id === authorId
  const isUpdate =
    !isQuiet &&
    mentionedAgents.length === 0 &&
    answered.length === 0 &&
    task.status !== "done" &&
    task.status !== "archived" &&
    (task.status !== "blocked" || author.type === "person" || writtenByOrchestrator)
  const subscribed = task.isOrchestratorChat ? [{ agentId: orchestrator?._id }] : subscribers
  const recipients = await agentsOnRoster(
    ctx,
    isUpdate
      ? subscribed.flatMap(({ agentId }) => (agentId === undefined || agentId === authorId ? [] : [agentId]))
      : [],
    orchestrator === null ? [] : [orchestrator]
  )
  await notifyAgents(ctx, task, inRosterOrder(recipients), origin, update)
  for (const { memberId } of subscribers) {
    const isRecipient = memberId !== undefined && memberId !== authorMemberId && !asked.includes(memberId)
    if (isRecipient && !mentionedMembers.some((member) => member._id === memberId)) {
      await notifyMember(ctx, task, memberId, origin, update)
    }
  }
}

/**
 * Notifies the agents and members whom a new task's title or description mentions, except its assignees, who are
 * notified of the assignment. Reads what `mentionedIn` reads.
 */
export const fanOutDescription = async (ctx: MutationCtx, task: Doc<"tasks">, origin: Origin): Promise<void> => {
  const mentioned = await mentionedIn(ctx, task, `${task.title}\n${task.description}`, origin.actor)
  const agents = mentioned.agents.filter(({ _id }) => !task.assigneeIds.includes(_id))
  if (agents.length + mentioned.members.length === 0) return
  await subscribeParticipants(ctx, task, [
    ...agents.map((agent) => ({ agentId: agent._id })),
    ...mentioned.members.map((member) => ({ memberId: member._id }))
  ])
  await notifyAgents(ctx, task, agents, origin, { type: "mention" })
  for (const member of mentioned.members) {
    await notifyMember(ctx, task, member._id, origin, { type: "mention", request: `The new task ${task.title}` })
  }
}

/** Notifies the new assignees, and subscribes them and the orchestrator. */
export const fanOutAssignment = async (
  ctx: MutationCtx,
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
 * Notifies the assignees of a new status, except the actor; of a review also the orchestrator and subscribed reviewers.
 * Reads the assignees; for a review also the account, the orchestrator and the subscribed agents.
 */
export const fanOutStatus = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  previousStatus: TaskStatus,
  newStatus: TaskStatus,
  origin: Origin
): Promise<void> => {
  const recipientIds = new Set(task.assigneeIds)
  if (newStatus === "review") {
    const account = await accountOf(ctx, task.accountId)
    const orchestrator = await orchestratorOf(ctx, task.accountId)
    if (orchestrator !== null) recipientIds.add(orchestrator._id)
    const subscribedIds = (await subscribersOf(ctx, task._id)).flatMap(({ agentId }) => agentId ?? [])
    for (const agent of await agentsOnRoster(
      ctx,
      subscribedIds.filter((id) => !recipientIds.has(id))
    )) {
      if (isReviewer({ isOrchestrator: agent.isOrchestrator, flags: flagsOf(account, agent) }))
        recipientIds.add(agent._id)
    }
  }
  const recipients = await agentsOnRoster(
    ctx,
    [...recipientIds].filter((id) => id !== origin.actor.id)
  )
  await notifyAgents(ctx, task, inRosterOrder(recipients), origin, {
    type: "status_change",
    previousStatus,
    newStatus
  })
}
