import { isAgentSlug } from "../../src/domain/SessionKey.ts"
import { needsAssignee } from "../../src/domain/TaskStatus.ts"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import { recordActivity } from "./activities.ts"
import type { Actor } from "./actor.ts"
import {
  accountOf,
  activeAgents,
  agentBySlug,
  type AgentTexts,
  maxAgents,
  nameKey,
  orchestratorOf,
  textsOf
} from "./agents.ts"
import { skipRowsOfSession } from "./delivery.ts"
import { personOrigin } from "./fanOut.ts"
import { refusal } from "./refusal.ts"
import { assignTask, moveTask } from "./tasks.ts"

const maxTextLength = 100_000

/** Tells subscribers and pulses that agents, skills or flags changed. */
export const bumpRoster = async (ctx: MutationCtx, accountId: Id<"accounts">): Promise<void> => {
  const account = await accountOf(ctx, accountId)
  await ctx.db.patch("accounts", accountId, { rosterRevision: account.rosterRevision + 1 })
}

/** What people say about an agent; what is absent stays, or is the default of a new one. */
export interface AgentFields {
  readonly name?: string
  readonly role?: string
  readonly isOrchestrator?: boolean
  readonly flags?: Doc<"agents">["flags"]
  readonly heartbeat?: number | string
  readonly model?: string | null
  readonly soul?: string
  readonly identity?: string
  readonly userText?: string
  readonly skillIds?: ReadonlyArray<string>
}

const cronForm = /^(?:[^\s]+\s+){4,5}[^\s]+$/

/** The texts that are given, checked. */
const checkTexts = ({ identity, soul, userText }: AgentFields): Partial<AgentTexts> => {
  for (const text of [soul, identity, userText]) {
    if (text !== undefined && text.length > maxTextLength) {
      throw refusal("limit", `A text of an agent has at most ${maxTextLength} characters: shorten it.`)
    }
  }
  return {
    ...(soul === undefined ? {} : { soul }),
    ...(identity === undefined ? {} : { identity }),
    ...(userText === undefined ? {} : { userText })
  }
}

/** The other fields checked, ready to be stored in the agent's row. */
const checkFields = async (ctx: MutationCtx, accountId: Id<"accounts">, fields: AgentFields) => {
  const { name, role, heartbeat } = fields
  if (name !== undefined && (name.trim() === "" || name.length > 100)) {
    throw refusal("invalid", "A name has 1 to 100 characters.")
  }
  if (role !== undefined && role.length > 200) throw refusal("limit", "A role has at most 200 characters.")
  if (typeof heartbeat === "number" && !(Number.isInteger(heartbeat) && heartbeat >= 1 && heartbeat <= 1_440)) {
    throw refusal("invalid", "A heartbeat is 1 to 1440 whole minutes, or a cron expression.")
  }
  if (typeof heartbeat === "string" && !(heartbeat.length <= 100 && cronForm.test(heartbeat.trim()))) {
    throw refusal("invalid", "A heartbeat is 1 to 1440 whole minutes, or a cron expression of five or six fields.")
  }
  const skillIds: Array<Id<"skills">> = []
  for (const each of fields.skillIds ?? []) {
    const id = ctx.db.normalizeId("skills", each)
    const skill = id === null ? null : await ctx.db.get("skills", id)
    if (skill === null || skill.accountId !== accountId) {
      throw refusal("not_found", "A skill is not of this account: list its skills.")
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
    throw refusal("conflict", "The account has an orchestrator: take that from it first.")
  }
}

/** Puts an agent on the roster. */
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
    throw refusal("conflict", "An agent on the roster has this slug: choose another.")
  }
  if ((await activeAgents(ctx, accountId)).length >= maxAgents) {
    throw refusal("limit", `An account has at most ${maxAgents} agents: remove one first.`)
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
    ...given
  })
  await ctx.db.insert("agentTexts", { accountId, agentId: id, soul: "", identity: "", userText: "", ...texts })
  await bumpRoster(ctx, accountId)
  await recordActivity(ctx, { accountId, type: "agent_created", actor, summary: `agent ${slug} joined` })
  return id
}

/** Changes what is given of an agent; its slug stays, because its sessions and workspace carry it. */
export const changeAgent = async (
  ctx: MutationCtx,
  agent: Doc<"agents">,
  fields: AgentFields,
  actor: Actor
): Promise<void> => {
  if (agent.removedAt !== undefined) throw refusal("not_found", "The agent was removed: create it anew.")
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
  await bumpRoster(ctx, agent.accountId)
  await recordActivity(ctx, {
    accountId: agent.accountId,
    type: "agent_updated",
    actor,
    summary: `agent ${agent.slug}: changed ${names.join(", ")}`
  })
}

/**
 * Takes an agent off the roster: what waits for it ends skipped, a live turn finishes, its tasks lose it as assignee
 * (those in progress without another are blocked and say why).
 */
export const removeAgent = async (ctx: MutationCtx, agent: Doc<"agents">, actor: Actor): Promise<void> => {
  if (agent.removedAt !== undefined) return
  await ctx.db.patch("agents", agent._id, { removedAt: Date.now(), isOrchestrator: false })
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_agent", (q) => q.eq("agentId", agent._id))
    .take(1_000)
  for (const session of sessions) await skipRowsOfSession(ctx, session._id, "the agent was removed")
  const beat = await ctx.db
    .query("heartbeats")
    .withIndex("by_agent", (q) => q.eq("agentId", agent._id))
    .unique()
  if (beat !== null) await ctx.db.delete("heartbeats", beat._id)
  const assignments = await ctx.db
    .query("assignments")
    .withIndex("by_agent", (q) => q.eq("agentId", agent._id))
    .take(1_000)
  for (const assignment of assignments) {
    const task = await ctx.db.get("tasks", assignment.taskId)
    if (task === null || task.status === "done" || task.status === "archived") continue
    const origin = personOrigin(actor)
    const others: Array<Doc<"agents">> = []
    for (const id of task.assigneeIds) {
      const other = id === agent._id ? null : await ctx.db.get("agents", id)
      if (other !== null) others.push(other)
    }
    const isStuck = others.length === 0 && needsAssignee(task.status) && task.status !== "assigned"
    const blockedReason = `Its only assignee ${agent.name} was removed.`
    const left = isStuck ? (await moveTask(ctx, task, { to: "blocked", blockedReason }, origin)).task : task
    await assignTask(ctx, left, others, origin)
  }
  await bumpRoster(ctx, agent.accountId)
  await recordActivity(ctx, {
    accountId: agent.accountId,
    type: "agent_removed",
    actor,
    summary: `agent ${agent.slug} left`
  })
}
