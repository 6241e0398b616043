import { v } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { QueryCtx } from "../_generated/server.js"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { agentOf, agentRef, toAgentRef } from "../model/agents/agents.ts"
import { bounded } from "../model/database/bounded.ts"
import { readWithin } from "../model/database/readWithin.ts"
import { fanOutDescription } from "../model/notifications/fanOut.ts"
import { personOrigin } from "../model/notifications/origin.ts"
import { stopAll } from "../model/runs/stops.ts"
import { runtimeRow } from "../model/runtimes/runtimes.ts"
import { assignTask, createTask, moveTask, updateTask } from "../model/tasks/tasks.ts"
import { taskOf, taskSize, taskView, toTaskView, toTaskViews, withQuestions } from "../model/tasks/taskView.ts"
import { taskStatus } from "../tables/tasks.ts"

const agentsOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  agentIds: ReadonlyArray<string>
): Promise<Array<Doc<"agents">>> => {
  const agents: Array<Doc<"agents">> = []
  for (const agentId of agentIds) {
    const agent = await agentOf(ctx, accountId, agentId)
    if (agent.removedAt !== undefined)
      throw refusal("not_found", "An assignee was removed from the roster. Use an id from the roster.")
    agents.push(agent)
  }
  return agents
}

/**
 * Creates a task, and assigns it if it has assignees. Mentions in the title or the description notify as in a message.
 * For members. Reads the orchestrator, the assignees, and the mentioned agents and members.
 */
export const create = memberMutation({
  args: {
    title: v.string(),
    description: v.optional(v.string()),
    priority: v.optional(v.number()),
    labels: v.optional(v.array(v.string())),
    dueDate: v.optional(v.union(v.number(), v.null())),
    status: v.optional(taskStatus),
    blockedReason: v.optional(v.string()),
    assigneeIds: v.optional(v.array(v.string()))
  },
  returns: v.object({ taskId: v.string() }),
  handler: async (ctx, { assigneeIds, ...rest }) => {
    const assignees = await agentsOf(ctx, ctx.accountId, assigneeIds ?? [])
    const origin = personOrigin(ctx.actor)
    const task = await createTask(ctx, ctx.accountId, { ...rest, assignees }, origin)
    await fanOutDescription(ctx, task, origin)
    return { taskId: task._id }
  }
})

/** Changes the given fields of a task. For members. Reads the task and its assignments. */
export const update = memberMutation({
  args: {
    taskId: v.string(),
    title: v.optional(v.string()),
    description: v.optional(v.string()),
    priority: v.optional(v.number()),
    labels: v.optional(v.array(v.string())),
    dueDate: v.optional(v.union(v.number(), v.null()))
  },
  returns: v.null(),
  handler: async (ctx, { taskId, ...fields }) => {
    await updateTask(ctx, await taskOf(ctx, ctx.accountId, taskId), fields, personOrigin(ctx.actor))
    return null
  }
})

/** Replaces the assignees of a task. For members. Reads the task, its assignments and the agents. */
export const assign = memberMutation({
  args: { taskId: v.string(), assigneeIds: v.array(v.string()) },
  returns: v.object({ status: taskStatus }),
  handler: async (ctx, args) => {
    const task = await taskOf(ctx, ctx.accountId, args.taskId)
    const assignees = await agentsOf(ctx, ctx.accountId, args.assigneeIds)
    const saved = await assignTask(ctx, task, assignees, personOrigin(ctx.actor))
    return { status: saved.status }
  }
})

/**
 * Moves a task by the shortest allowed path. done and archived stop its runs. For members. Reads the task, its
 * assignments and assignees; for a review also its subscriptions and the subscribed agents.
 */
export const setStatus = memberMutation({
  args: { taskId: v.string(), status: taskStatus, blockedReason: v.optional(v.string()) },
  returns: v.object({ status: taskStatus, previousStatus: taskStatus, path: v.array(taskStatus) }),
  handler: async (ctx, { taskId, status, blockedReason }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    if ((status === "done" || status === "archived") && status !== task.status) {
      const reason = status === "done" ? "the task was marked as done" : "the task was archived"
      await stopAll(ctx, ctx.accountId, { taskId: task._id }, { actor: ctx.actor, reason })
    }
    const moved = await moveTask(ctx, task, { to: status, blockedReason }, personOrigin(ctx.actor))
    return { status: moved.task.status, previousStatus: moved.previousStatus, path: [...moved.path] }
  }
})

/**
 * The tasks, most recently changed first. For members. Reads each with its assignees, at most 200, and the open questions
 * of blocked ones.
 */
export const list = memberQuery({
  args: { status: v.optional(taskStatus), limit: v.optional(v.number()) },
  returns: v.array(taskView),
  handler: async (ctx, { status, limit }) => {
    const count = bounded(limit, 100, 200)
    const tasks =
      status === undefined
        ? ctx.db.query("tasks").withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
        : ctx.db.query("tasks").withIndex("by_status", (q) => q.eq("accountId", ctx.accountId).eq("status", status))
    const rows = await readWithin(tasks.order("desc"), count, 2_000_000, taskSize)
    return await withQuestions(ctx, rows, await toTaskViews(ctx, rows))
  }
})

/**
 * A task, and the agents that work on it now (shown to people as typing). For members. Reads the task, its assignees,
 * the account's leased sessions, and the runtimes that run its turns.
 */
export const get = memberQuery({
  args: { taskId: v.string() },
  returns: v.object({ task: taskView, typing: v.array(agentRef) }),
  handler: async (ctx, { taskId }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    const leased = await ctx.db
      .query("sessions")
      .withIndex("by_runtime", (q) => q.eq("accountId", ctx.accountId).gt("leaseRuntimeId", ""))
      .take(500)
    const typing = []
    for (const { agentId, lease, recalled } of leased) {
      if (lease?.taskId !== task._id || recalled !== undefined) continue
      const runtime = await runtimeRow(ctx, ctx.accountId, lease.runtimeId)
      if (runtime === null || runtime.status === "offline") continue
      const agent = await ctx.db.get("agents", agentId)
      if (agent !== null) typing.push(toAgentRef(agent))
    }
    return { task: await toTaskView(ctx, task), typing }
  }
})
