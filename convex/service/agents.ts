import { v } from "convex/values"
import type { Id } from "../_generated/dataModel.js"
import { refusal } from "../model/access/refusal.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import {
  accountOf,
  activeAgents,
  agentsBySlugs,
  flagsOf,
  flagSet,
  textsOf,
  toAgentRef
} from "../model/agents/agents.ts"
import { skillsOf, skillView, slugsOf } from "../model/agents/skills.ts"
import { cut } from "../model/database/cut.ts"
import { finishHeartbeat } from "../model/heartbeats/heartbeats.ts"
import { fenced } from "../model/queue/fences.ts"
import { pausesOf } from "../model/queue/pauses.ts"
import { liveRun, mustActOn, runArgs } from "../model/runs/runs.ts"
import { traceArgs, traceOf } from "../model/runs/traces.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { postMessage } from "../model/threads/messages.ts"
import { endAttempt } from "../model/usage/attempts.ts"
import { modelOf } from "../model/usage/usage.ts"
import { spending } from "../tables/attempts.ts"

const rosterEntry = {
  id: v.string(),
  slug: v.string(),
  name: v.string(),
  role: v.string(),
  isOrchestrator: v.boolean(),
  isPaused: v.boolean(),
  flags: flagSet,
  heartbeat: v.union(v.number(), v.string()),
  model: v.union(v.string(), v.null())
}

/**
 * The roster with effective flags, its revision, and the account's name. For runtimes, which subscribe to it. Reads the
 * account, one row per agent and the pauses, but no presence or heartbeats.
 */
export const list = serviceQuery({
  args: {},
  returns: v.object({ revision: v.number(), accountName: v.string(), agents: v.array(v.object(rosterEntry)) }),
  handler: async (ctx) => {
    const account = await accountOf(ctx, ctx.accountId)
    const agents = await activeAgents(ctx, ctx.accountId)
    const { agentIds } = await pausesOf(ctx, ctx.accountId)
    return {
      revision: account.rosterRevision,
      accountName: account.name,
      agents: agents.map((agent) => ({
        ...toAgentRef(agent),
        role: agent.role,
        isOrchestrator: agent.isOrchestrator,
        isPaused: agentIds.has(agent._id),
        flags: flagsOf(account, agent),
        heartbeat: agent.heartbeat,
        model: agent.model
      }))
    }
  }
})

/**
 * The contents of the agents' workspaces: texts, model and enabled skills. Each skill's text is included once. For
 * runtimes. Reads the account, two rows per agent and one per skill.
 */
export const profiles = serviceQuery({
  args: {},
  returns: v.object({
    revision: v.number(),
    agents: v.array(
      v.object({
        id: v.string(),
        slug: v.string(),
        name: v.string(),
        role: v.string(),
        model: v.union(v.string(), v.null()),
        soul: v.string(),
        identity: v.string(),
        userText: v.string(),
        skillSlugs: v.array(v.string())
      })
    ),
    skills: v.array(skillView)
  }),
  handler: async (ctx) => {
    const account = await accountOf(ctx, ctx.accountId)
    const agents = await activeAgents(ctx, ctx.accountId)
    const skills = await skillsOf(
      ctx,
      agents.flatMap((agent) => agent.skillIds)
    )
    const profiles = []
    for (const agent of agents) {
      const { identity, soul, userText } = await textsOf(ctx, agent._id)
      profiles.push({
        ...toAgentRef(agent),
        role: agent.role,
        model: agent.model,
        soul,
        identity,
        userText,
        skillSlugs: slugsOf(skills, agent.skillIds)
      })
    }
    return { revision: account.rosterRevision, agents: profiles, skills }
  }
})

/** The maximum number of characters of skills read for one answer. */
const skillBudget = 3_000_000

/**
 * The enabled skills of one agent or of all (get_agent_skills): the slugs of each agent's skills, and each skill once.
 * For runtimes. Reads the agents and one row per skill, up to 3,000,000 characters.
 */
export const skills = serviceQuery({
  args: { agentSlug: v.optional(v.string()) },
  returns: v.object({
    agents: v.array(v.object({ slug: v.string(), name: v.string(), skillSlugs: v.array(v.string()) })),
    skills: v.array(skillView)
  }),
  handler: async (ctx, { agentSlug }) => {
    const agents =
      agentSlug === undefined
        ? await activeAgents(ctx, ctx.accountId)
        : await agentsBySlugs(ctx, ctx.accountId, [agentSlug])
    const found = await skillsOf(
      ctx,
      agents.flatMap(({ skillIds }) => skillIds),
      skillBudget
    )
    return {
      agents: agents.map(({ name, skillIds, slug }) => ({ slug, name, skillSlugs: slugsOf(found, skillIds) })),
      skills: found
    }
  }
})

/**
 * Ends a heartbeat: stores the agent's status and current task, and posts its message. Returns when the next one is
 * due. A repeated call gets the same answer. For runtimes. Reads about ten rows; with a message also what posting it
 * reads.
 */
export const updateAgentHeartbeat = serviceMutation({
  args: {
    ...runArgs,
    status: v.string(),
    currentTaskId: v.optional(v.union(v.string(), v.null())),
    /** Epoch milliseconds of Convex's clock. Default: now. */
    lastHeartbeatAt: v.optional(v.number()),
    /** `truncated` if the model's output limit cut it. */
    message: v.optional(v.object({ taskId: v.string(), content: v.string(), truncated: v.optional(v.boolean()) })),
    usage: v.optional(spending),
    ...traceArgs
  },
  returns: v.object({ dueAt: v.number(), messageId: v.union(v.string(), v.null()), now: v.number() }),
  handler: async (ctx, args): Promise<{ dueAt: number; messageId: string | null; now: number }> => {
    const now = Date.now()
    const fence = await fenced<{ dueAt: number; messageId: string | null }>(ctx, ctx.accountId, args, "heartbeat")
    if (fence.isRepeated) return { ...fence.answer, now }
    const run = await liveRun(ctx, ctx.accountId, args)
    if (run.kind !== "heartbeat") {
      throw refusal("invalid", "This run is a notification. End it with service/notifications:complete.")
    }
    const { currentTaskId, message } = args
    const current =
      currentTaskId === undefined || currentTaskId === null ? null : await taskOf(ctx, ctx.accountId, currentTaskId)
    let messageId: Id<"messages"> | null = null
    if (message !== undefined && message.content.trim() !== "") {
      const task = await taskOf(ctx, ctx.accountId, message.taskId)
      mustActOn(run, task)
      const { truncated } = message
      const written = {
        runId: run.id,
        epoch: run.epoch,
        ...(truncated === true ? { isTruncated: true } : {}),
        ...modelOf(args.usage)
      }
      messageId = await postMessage(ctx, task, { content: message.content, kind: "message", run: written }, run.origin)
    }
    const answer = await finishHeartbeat(ctx, fence.session, args, messageId, {
      status: cut(args.status, 50),
      currentTaskId: current?._id,
      lastHeartbeatAt: args.lastHeartbeatAt ?? now,
      ...traceOf(args)
    })
    const { generation } = fence.session.lease
    const attemptEnd = { end: "finished" as const, ...traceOf(args) }
    await endAttempt(ctx, fence.session, args.usage, attemptEnd, { turn: "none", generation })
    return { ...answer, now }
  }
})
