import { v } from "convex/values"
import { managerMutation, memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { accountOf, activeAgents, agentOf, flagsOf, flagSet, toAgentRef } from "../model/agents/agents.ts"
import { addAgent, agentSettings, changeAgent, removeAgent } from "../model/agents/roster.ts"
import { pausesOf } from "../model/queue/pauses.ts"
import { pause as pauseIt, resume as resumeIt } from "../model/queue/pausing.ts"
import { watch as watchRuns } from "../model/runs/progress.ts"
import { isOnline } from "../model/runtimes/runtimes.ts"

const fields = { ...agentSettings.fields, skillIds: v.optional(v.array(v.string())) }

/**
 * The roster with presence: an agent is online while a runtime of the account is. For members. Reads two rows per agent
 * and two of the runtimes.
 */
export const list = memberQuery({
  args: {},
  returns: v.array(
    v.object({
      id: v.string(),
      slug: v.string(),
      name: v.string(),
      role: v.string(),
      isOrchestrator: v.boolean(),
      isPaused: v.boolean(),
      flags: flagSet,
      heartbeat: v.union(v.number(), v.string()),
      model: v.union(v.string(), v.null()),
      status: v.string(),
      currentTaskId: v.union(v.string(), v.null()),
      lastHeartbeatAt: v.union(v.number(), v.null())
    })
  ),
  handler: async (ctx) => {
    const account = await accountOf(ctx, ctx.accountId)
    const online = await isOnline(ctx, ctx.accountId)
    const heartbeats = await ctx.db
      .query("heartbeats")
      .withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
      .take(1_000)
    const agents = await activeAgents(ctx, ctx.accountId)
    const { agentIds } = await pausesOf(ctx, ctx.accountId)
    return agents.map((agent) => {
      const heartbeat = heartbeats.find((each) => each.agentId === agent._id)
      return {
        ...toAgentRef(agent),
        role: agent.role,
        isOrchestrator: agent.isOrchestrator,
        isPaused: agentIds.has(agent._id),
        flags: flagsOf(account, agent),
        heartbeat: agent.heartbeat,
        model: agent.model,
        status: online ? (heartbeat?.status ?? "online") : "offline",
        currentTaskId: online ? (heartbeat?.currentTaskId ?? null) : null,
        lastHeartbeatAt: heartbeat?.lastHeartbeatAt ?? null
      }
    })
  }
})

/**
 * Makes the account's runtimes report how far their turns are, for 60 s (app/runs:running shows it). Returns the
 * control plane's time. Call it every 30 s while someone looks; other members' calls may be shared. For members. Reads
 * two rows, and writes one at most every 20 s.
 */
export const watch = memberMutation({
  args: {},
  returns: v.object({ now: v.number() }),
  handler: async (ctx) => ({ now: await watchRuns(ctx, ctx.accountId) })
})

/** Adds an agent to the roster. For owners and admins. Reads the roster. */
export const create = managerMutation({
  args: { slug: v.string(), name: v.string(), ...fields },
  returns: v.object({ agentId: v.string() }),
  handler: async (ctx, { slug, ...rest }) => ({ agentId: await addAgent(ctx, ctx.accountId, slug, rest, ctx.actor) })
})

/** Changes the given fields of an agent. For owners and admins. Reads six rows and one per skill. */
export const update = managerMutation({
  args: { agentId: v.string(), name: v.optional(v.string()), ...fields },
  returns: v.null(),
  handler: async (ctx, { agentId, ...rest }) => {
    await changeAgent(ctx, await agentOf(ctx, ctx.accountId, agentId), rest, ctx.actor)
    return null
  }
})

/**
 * Pauses an agent: none of its turns or heartbeats starts. With `release` its running turns are aborted and their work
 * waits. For owners and admins. Reads its due sessions, 200 in this transaction, and the leases to release.
 */
export const pause = managerMutation({
  args: { agentId: v.string(), release: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { agentId, release = false }): Promise<null> => {
    await pauseIt(ctx, ctx.accountId, await agentOf(ctx, ctx.accountId, agentId), { actor: ctx.actor, release })
    return null
  }
})

/** Ends the pause of an agent. For owners and admins. Reads 200 of its ready notifications and their sessions. */
export const resume = managerMutation({
  args: { agentId: v.string() },
  returns: v.null(),
  handler: async (ctx, { agentId }): Promise<null> => {
    await resumeIt(ctx, ctx.accountId, await agentOf(ctx, ctx.accountId, agentId), ctx.actor)
    return null
  }
})

/**
 * Removes an agent from the roster at once. Its pending notifications, open tasks and subscriptions follow in batches,
 * the first in this transaction. For owners and admins. Reads its leases, thirty notifications with their effects, ten
 * open tasks with their assignees, and 200 subscriptions.
 */
export const remove = managerMutation({
  args: { agentId: v.string() },
  returns: v.null(),
  handler: async (ctx, { agentId }): Promise<null> => {
    await removeAgent(ctx, await agentOf(ctx, ctx.accountId, agentId), ctx.actor)
    return null
  }
})
