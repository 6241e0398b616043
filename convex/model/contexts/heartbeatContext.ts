import { type Infer, v } from "convex/values"
import { sessionKey } from "../../../src/domain/shared/SessionKey.ts"
import type { Doc } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { agentRef, agentView, colleague, colleaguesOf, toAgentRef, toAgentView } from "../agents/agents.ts"
import { readWithin } from "../database/readWithin.ts"
import { sha256 } from "../database/sha256.ts"
import { heartbeatRun } from "../heartbeats/heartbeatSchedule.ts"
import { fenceMarkOf, stoppedBefore } from "../queue/sessions.ts"
import { effectsOf } from "../runs/effects.ts"
import { earlierTrace, earlierTraceOf } from "../runs/traces.ts"
import { type LastActivity, lastActivityOf } from "../tasks/participants.ts"
import { taskSize, taskView, toTaskViews } from "../tasks/taskView.ts"
import type { AccountContext } from "./accountContext.ts"
import type { Attempt } from "./deliveryContext.ts"
import type { BrokenCode } from "./deliveryContextView.ts"
import { isLimitError, type RunBudget } from "./readBudget.ts"

/** Everything that the turn of a heartbeat needs. */
export const heartbeatContext = v.object({
  heartbeat: v.object({
    id: v.string(),
    dueAt: v.number(),
    schedule: v.union(v.number(), v.string()),
    lastHeartbeatAt: v.union(v.number(), v.null())
  }),
  account: v.object({ id: v.string(), name: v.string() }),
  agent: agentView,
  sessionKey: v.string(),
  generation: v.number(),
  fenceMark: v.string(),
  stoppedRuns: v.array(v.string()),
  /**
   * The agent's own tasks, newest first. For the orchestrator all open tasks, by status, and within a status the oldest change
   * first.
   */
  tasks: v.array(
    v.object({
      task: taskView,
      lastMessageAt: v.union(v.number(), v.null()),
      lastAssigneeAt: v.union(v.number(), v.null())
    })
  ),
  orchestrator: v.union(agentRef, v.null()),
  primaryPerson: v.union(v.object({ name: v.string() }), v.null()),
  mentionableAgents: v.array(colleague),
  /** The account's briefing, for the orchestrator only. */
  briefing: v.union(v.string(), v.null()),
  earlier: v.object({
    attempts: v.number(),
    effects: v.array(v.object({ tool: v.string(), summary: v.string(), at: v.number() })),
    trace: earlierTrace
  }),
  /** What the agent would see has not changed since its last finished heartbeat. */
  isUnchanged: v.boolean()
})
export type HeartbeatContext = Infer<typeof heartbeatContext>

const ownTasks = 12
/** The maximum number of tasks read per status, including those at the turn limit, which are left out. */
const ownTasksRead = 50
const orchestratorTasks = 200
/** The length of a description, for an agent and for the orchestrator. */
const descriptionLength = { own: 4_000, orchestrator: 500 }

/**
 * By status, and within a status the oldest change first, so that many old tasks of one status do not hide
 * those of another.
 */
const openStatuses = ["in_progress", "review", "assigned", "blocked"] as const

/**
 * The tasks of a heartbeat: an agent's own tasks (12), or all open tasks for the orchestrator (200, at least 50 per
 * status). Leaves out tasks at the turn limit.
 */
const tasksOf = async (
  ctx: Pick<QueryCtx, "db">,
  agent: Doc<"agents">,
  budget: RunBudget
): Promise<Array<Doc<"tasks">>> => {
  const tasks: Array<Doc<"tasks">> = []
  if (agent.isOrchestrator) {
    const share = Math.floor(budget.characters / openStatuses.length)
    const perStatus = orchestratorTasks / openStatuses.length
    const more: Array<Doc<"tasks">> = []
    for (const status of openStatuses) {
      const stalestFirst = ctx.db
        .query("tasks")
        .withIndex("by_status", (q) => q.eq("accountId", agent.accountId).eq("status", status))
      const found = await readWithin(stalestFirst, orchestratorTasks, share, taskSize)
      const shown = found.filter((task) => !task.isOrchestratorChat && !task.isAtTurnLimit)
      tasks.push(...shown.slice(0, perStatus))
      more.push(...shown.slice(perStatus))
    }
    const rank = ({ status }: Doc<"tasks">): number => openStatuses.findIndex((each) => each === status)
    return [...tasks, ...more].slice(0, orchestratorTasks).toSorted((left, right) => rank(left) - rank(right))
  }
  for (const status of ["in_progress", "assigned"] as const) {
    if (tasks.length === ownTasks) break
    const assignments = ctx.db
      .query("assignments")
      .withIndex("by_agent", (q) => q.eq("agentId", agent._id).eq("status", status))
      .order("desc")
    let looked = 0
    // Iterates, because usually the first twelve are shown and no more need to be read.
    for await (const { taskId } of assignments) {
      const task = await ctx.db.get("tasks", taskId)
      if (task !== null && !task.isAtTurnLimit) tasks.push(task)
      looked += 1
      if (tasks.length === ownTasks || looked === ownTasksRead) break
    }
  }
  return tasks
}

type Built = { readonly context: HeartbeatContext; readonly fingerprint: string }

const buildContext = async (
  ctx: Pick<QueryCtx, "db">,
  heartbeat: Doc<"heartbeats">,
  { earlierAttempts, generation, session }: Attempt,
  { account, agents, primaryPerson }: AccountContext,
  budget: RunBudget
): Promise<Built | BrokenCode> => {
  if (account === null) return "account_missing"
  const agent = agents.find(({ _id }) => _id === heartbeat.agentId)
  if (agent === undefined) return "agent_missing"
  const tasks = await tasksOf(ctx, agent, budget)
  for (const task of tasks) budget.read(taskSize(task))
  const length = agent.isOrchestrator ? descriptionLength.orchestrator : descriptionLength.own
  const views = await toTaskViews(ctx, tasks, length, agents)
  const activity: Array<LastActivity> = []
  budget.noteIntervals(tasks.length)
  for (const task of tasks) activity.push(await lastActivityOf(ctx, task))
  const seen = tasks.map((task, index) => [
    task._id,
    task.updatedAt,
    activity[index]?.lastMessageAt,
    activity[index]?.lastAssigneeAt
  ])
  const briefing = agent.isOrchestrator ? account.briefing : null
  const fingerprint = await sha256(JSON.stringify([account.rosterRevision, agent._id, briefing, seen]))
  const orchestrator = agents.find((each) => each.isOrchestrator)
  const { dueAt, lastHeartbeatAt = null, schedule } = heartbeat
  const id = heartbeatRun(heartbeat)
  return {
    fingerprint,
    context: {
      heartbeat: { id, dueAt, schedule, lastHeartbeatAt },
      account: { id: account._id, name: account.name },
      agent: toAgentView(account, agent),
      sessionKey: sessionKey({
        slug: agent.slug,
        accountId: account._id,
        isHeartbeat: true,
        generation
      }),
      generation,
      fenceMark: await fenceMarkOf(session, generation),
      stoppedRuns: stoppedBefore(session, generation, heartbeatRun(heartbeat)),
      tasks: views.map((task, index) => ({
        task,
        lastMessageAt: activity[index]?.lastMessageAt ?? null,
        lastAssigneeAt: activity[index]?.lastAssigneeAt ?? null
      })),
      orchestrator: orchestrator === undefined ? null : toAgentRef(orchestrator),
      primaryPerson,
      mentionableAgents: colleaguesOf(agents, agent),
      briefing,
      earlier: {
        attempts: earlierAttempts,
        effects: earlierAttempts > 0 ? await effectsOf(ctx, id) : [],
        ...earlierTraceOf(heartbeat)
      },
      isUnchanged: heartbeat.fingerprint === fingerprint
    }
  }
}

/**
 * Builds the context of a heartbeat and the fingerprint of what the agent sees in it. Returns the reason if that is
 * impossible.
 */
export const heartbeatContextOf = async (...args: Parameters<typeof buildContext>): Promise<Built | BrokenCode> => {
  try {
    return await buildContext(...args)
  } catch (error) {
    if (isLimitError(error)) throw error
    return "damaged"
  }
}
