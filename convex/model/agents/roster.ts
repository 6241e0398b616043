import { type Infer, v } from "convex/values"
import { isAgentSlug } from "../../../src/domain/shared/SessionKey.ts"
import { needsAssignee } from "../../../src/domain/shared/TaskStatus.ts"
import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { flagSettings } from "../../tables/accounts.ts"
import { type Actor, actor } from "../../tables/actor.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { budgetsOf } from "../budgets/spendingBook.ts"
import { scheduleHeartbeat } from "../heartbeats/heartbeats.ts"
import { heartbeatOf, nextCronMoment } from "../heartbeats/heartbeatSchedule.ts"
import { personOrigin } from "../notifications/origin.ts"
import { pauseOf } from "../queue/pauses.ts"
import { firstGenerationFor } from "../queue/sessions.ts"
import { stopAll } from "../runs/stops.ts"
import { endSubscriptions } from "../tasks/subscriptions.ts"
import { assignTask, moveTask } from "../tasks/tasks.ts"
import {
  accountOf,
  activeAgents,
  agentBySlug,
  agentsOnRoster,
  type AgentTexts,
  maxAgents,
  nameKey,
  orchestratorOf,
  textsOf
} from "./agents.ts"

const maxTextLength = 100_000

/** Raises the revision by which subscriptions and pulses notice that agents, skills or flags changed. */
export const bumpRoster = async (ctx: MutationCtx, accountId: Id<"accounts">): Promise<void> => {
  const account = await accountOf(ctx, accountId)
  await ctx.db.patch("accounts", accountId, { rosterRevision: account.rosterRevision + 1 })
}

/** What an account sets of an agent. An absent field keeps its value, or gets the default in a new agent. */
export const agentSettings = v.object({
  role: v.optional(v.string()),
  isOrchestrator: v.optional(v.boolean()),
  flags: v.optional(flagSettings),
  heartbeat: v.optional(v.union(v.number(), v.string())),
  model: v.optional(v.union(v.string(), v.null())),
  soul: v.optional(v.string()),
  identity: v.optional(v.string()),
  userText: v.optional(v.string())
})

/** The same, with a changed name and with skills. */
export interface AgentFields extends Infer<typeof agentSettings> {
  readonly name?: string
  readonly skillIds?: ReadonlyArray<string>
}

/** Checks the given texts and returns them. */
const checkTexts = ({ identity, soul, userText }: AgentFields): Partial<AgentTexts> => {
  for (const text of [soul, identity, userText]) {
    if (text !== undefined && text.length > maxTextLength) {
      throw refusal("limit", `A text of an agent has at most ${maxTextLength} characters. Shorten it.`)
    }
  }
  return {
    ...(soul === undefined ? {} : { soul }),
    ...(identity === undefined ? {} : { identity }),
    ...(userText === undefined ? {} : { userText })
  }
}

/** Checks the other fields and returns them as the agent's row stores them. */
const checkFields = async (ctx: MutationCtx, accountId: Id<"accounts">, fields: AgentFields) => {
  const { name, role, heartbeat } = fields
  if (name !== undefined && (name.trim() === "" || name.length > 100)) {
    throw refusal("invalid", "A name has 1 to 100 characters.")
  }
  if (role !== undefined && role.length > 200) throw refusal("limit", "A role has at most 200 characters.")
  if (typeof heartbeat === "number" && !(Number.isInteger(heartbeat) && heartbeat >= 1 && heartbeat <= 1_440)) {
    throw refusal("invalid", "A heartbeat is a whole number of minutes from 1 to 1440, or a cron expression.")
  }
  if (typeof heartbeat === "string" && (heartbeat.length > 100 || nextCronMoment(heartbeat, Date.now()) === null)) {
    throw refusal(
      "invalid",
      "A heartbeat is a whole number of minutes from 1 to 1440, or a cron expression of five or six fields in UTC that fires."
    )
  }
  const skillIds: Array<Id<"skills">> = []
  for (const each of fields.skillIds ?? []) {
    const skill = await ownRow(ctx, "skills", accountId, each)
    if (skill === null) {
      throw refusal("not_found", "The account has no skill with one of these ids. List its skills.")
    }
    if (!skillIds.includes(skill._id)) skillIds.push(skill._id)
  }
  return {
    ...(name === undefined ? {} : { name: name.trim() }),
    ...(role === undefined ? {} : { role: role.trim() }),
    ...(fields.isOrchestrator === undefined ? {} : { isOrchestrator: fields.isOrchestrator }),
    ...(fields.flags === undefined ? {} : { flags: fields.flags }),
    ...(heartbeat === undefined ? {} : { heartbeat: typeof heartbeat === "string" ? heartbeat.trim() : heartbeat }),
    ...(fields.model === undefined ? {} : { model: fields.model }),
    ...(fields.skillIds === undefined ? {} : { skillIds })
  }
}

const mustBeOnlyOrchestrator = async (ctx: MutationCtx, accountId: Id<"accounts">, agentId: Id<"agents"> | null) => {
  const other = await orchestratorOf(ctx, accountId)
  if (other !== null && other._id !== agentId) {
    throw refusal("conflict", "The account already has an orchestrator. Change that agent first.")
  }
}

/** Adds an agent to the roster. */
export const addAgent = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  slug: string,
  fields: AgentFields & { readonly name: string },
  actor: Actor
): Promise<Id<"agents">> => {
  if (!isAgentSlug(slug) || slug === "all") {
    throw refusal("invalid", "A slug has 1 to 64 of a-z, 0-9, - and _, starts with a letter or digit, and is not all.")
  }
  if ((await agentBySlug(ctx, accountId, slug)) !== null) {
    throw refusal("conflict", "Another agent on the roster has this slug. Choose another slug.")
  }
  if ((await activeAgents(ctx, accountId)).length >= maxAgents) {
    throw refusal("limit", `An account has at most ${maxAgents} agents. Remove one first.`)
  }
  if (fields.isOrchestrator === true) await mustBeOnlyOrchestrator(ctx, accountId, null)
  const given = await checkFields(ctx, accountId, fields)
  const texts = checkTexts(fields)
  const id = await ctx.db.insert("agents", {
    accountId,
    slug,
    name: slug,
    nameKey: nameKey(given.name ?? slug),
    role: "",
    isOrchestrator: false,
    flags: {},
    heartbeat: 15,
    model: null,
    skillIds: [],
    firstGeneration: await firstGenerationFor(ctx, accountId, slug),
    ...given
  })
  await ctx.db.insert("agentTexts", { accountId, agentId: id, soul: "", identity: "", userText: "", ...texts })
  await scheduleHeartbeat(ctx, id)
  await bumpRoster(ctx, accountId)
  await recordActivity(ctx, { accountId, type: "agent_created", actor, summary: `agent ${slug} joined` })
  return id
}

/**
 * Changes the given fields of an agent. The slug never changes, because the agent's sessions and workspace contain it.
 */
export const changeAgent = async (
  ctx: MutationCtx,
  agent: Doc<"agents">,
  fields: AgentFields,
  actor: Actor
): Promise<void> => {
  if (agent.removedAt !== undefined) throw refusal("not_found", "The agent was removed. Create it again.")
  if (fields.isOrchestrator === true) await mustBeOnlyOrchestrator(ctx, agent.accountId, agent._id)
  const change = await checkFields(ctx, agent.accountId, fields)
  const texts = checkTexts(fields)
  const names = [...Object.keys(change), ...Object.keys(texts)]
  if (names.length === 0) return
  if (Object.keys(change).length > 0) {
    await ctx.db.patch("agents", agent._id, {
      ...change,
      ...(change.name === undefined ? {} : { nameKey: nameKey(change.name) })
    })
  }
  if (Object.keys(texts).length > 0) await ctx.db.patch("agentTexts", (await textsOf(ctx, agent._id))._id, texts)
  await scheduleHeartbeat(ctx, agent._id)
  await bumpRoster(ctx, agent.accountId)
  await recordActivity(ctx, {
    accountId: agent.accountId,
    type: "agent_updated",
    actor,
    summary: `agent ${agent.slug}: changed ${names.join(", ")}`
  })
}

const taskBatch = 10

/** An agent's removal that is still in progress. */
export const removal = v.object({
  agentId: v.id("agents"),
  /** The person who removed it. */
  actor
})
type Removal = Infer<typeof removal>

/** Unassigns a removed agent from a task. A task in progress without another assignee becomes blocked. */
const unassign = async (ctx: MutationCtx, agent: Doc<"agents">, task: Doc<"tasks">, by: Actor): Promise<void> => {
  const origin = personOrigin(by)
  const others = await agentsOnRoster(
    ctx,
    task.assigneeIds.filter((id) => id !== agent._id)
  )
  const isStuck = others.length === 0 && needsAssignee(task.status) && task.status !== "assigned"
  const blockedReason = `Its only assignee ${agent.name} was removed.`
  const left = isStuck ? (await moveTask(ctx, task, { to: "blocked", blockedReason }, origin)).task : task
  await assignTask(ctx, left, others, origin)
}

/** Unassigns a removed agent from up to ten open tasks. Returns whether there may be more. */
const unassignTasks = async (ctx: MutationCtx, agent: Doc<"agents">, by: Actor): Promise<boolean> => {
  const assignments: Array<Doc<"assignments">> = []
  for (const status of ["assigned", "blocked", "in_progress", "inbox", "review"] as const) {
    if (assignments.length === taskBatch) break
    const found = await ctx.db
      .query("assignments")
      .withIndex("by_agent", (q) => q.eq("agentId", agent._id).eq("status", status))
      .take(taskBatch - assignments.length)
    assignments.push(...found)
  }
  for (const { _id, taskId } of assignments) {
    const task = await ctx.db.get("tasks", taskId)
    if (task !== null) await unassign(ctx, agent, task, by)
    // Deletes the row even if the task disagrees; otherwise every batch would find it again.
    if ((await ctx.db.get("assignments", _id)) !== null) await ctx.db.delete("assignments", _id)
  }
  return assignments.length === taskBatch
}

/**
 * One batch of an agent's removal: unassigns ten tasks, deletes 200 subscriptions, and schedules the next batch if
 * there is more. Reads those rows and the assignees of the tasks.
 */
export const continueRemoval = async (ctx: MutationCtx, given: Removal): Promise<void> => {
  const agent = await ctx.db.get("agents", given.agentId)
  if (agent === null) return
  const hasTasks = await unassignTasks(ctx, agent, given.actor)
  const hasSubscriptions = await endSubscriptions(ctx, { agentId: agent._id })
  if (!hasTasks && !hasSubscriptions) return
  await ctx.scheduler.runAfter(0, internal.scheduled.removals.agent, { agentId: agent._id, actor: given.actor })
}

/**
 * Removes an agent from the roster. From this transaction on, no work is created for it and none of its turns starts.
 * Stops its runs and unassigns its tasks; a task in progress without another assignee becomes blocked, with the reason.
 * The first batch is part of the transaction, the others are scheduled.
 */
export const removeAgent = async (ctx: MutationCtx, agent: Doc<"agents">, actor: Actor): Promise<void> => {
  if (agent.removedAt !== undefined) return
  await ctx.db.patch("agents", agent._id, { removedAt: Date.now(), isOrchestrator: false })
  const heartbeat = await heartbeatOf(ctx, agent._id)
  if (heartbeat !== null) await ctx.db.delete("heartbeats", heartbeat._id)
  const pause = await pauseOf(ctx, agent.accountId, agent._id)
  if (pause !== null) await ctx.db.delete("pauses", pause._id)
  await ctx.db.delete("agentTexts", (await textsOf(ctx, agent._id))._id)
  for (const budget of await budgetsOf(ctx, agent.accountId)) {
    if (budget.agentId === agent._id) await ctx.db.delete("budgets", budget._id)
  }
  const { toolPolicies } = await accountOf(ctx, agent.accountId)
  if (toolPolicies !== undefined) {
    const left = toolPolicies.filter(({ agentId }) => agentId !== agent._id)
    await ctx.db.patch("accounts", agent.accountId, { toolPolicies: left })
  }
  await bumpRoster(ctx, agent.accountId)
  await recordActivity(ctx, {
    accountId: agent.accountId,
    type: "agent_removed",
    actor,
    summary: `agent ${agent.slug} left`
  })
  await stopAll(ctx, agent.accountId, { agentId: agent._id }, { actor, reason: "the agent was removed" })
  await continueRemoval(ctx, { agentId: agent._id, actor })
}
