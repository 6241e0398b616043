import { v } from "convex/values"
import { threadOf } from "../model/context.ts"
import { recordEffect } from "../model/ledger.ts"
import { messageView } from "../model/messages.ts"
import { liveRun, runArgs } from "../model/runs.ts"
import { serviceMutation, serviceQuery } from "../model/serviceFunctions.ts"
import { setStatusInRun } from "../model/statusChange.ts"
import { taskOf, taskView, toTaskView } from "../model/tasks.ts"
import { taskStatus } from "../schema.ts"

const maxThread = 200
/** Characters of a thread read for one answer. */
const threadBudget = 3_000_000

const bounded = (given: number | undefined, usual: number, most: number): number =>
  given === undefined || !Number.isFinite(given) ? usual : Math.max(1, Math.min(most, Math.floor(given)))

/**
 * A task with the last messages of its thread, oldest first, each cut at 4,000 characters. For runtimes (task_load);
 * the task, its assignees and the messages are read.
 */
export const load = serviceQuery({
  args: { taskId: v.string(), messageLimit: v.optional(v.number()) },
  returns: v.object({ task: taskView, thread: v.array(messageView) }),
  handler: async (ctx, { taskId, messageLimit }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    return {
      task: await toTaskView(ctx, task),
      thread: await threadOf(ctx, task._id, bounded(messageLimit, 50, maxThread), threadBudget)
    }
  }
})

/**
 * Moves a task for an agent by the shortest allowed path (task_status); fails with `invalid` when there is none, with
 * `forbidden` when the agent may not. For runtimes; the roster, the assignees and about twelve single rows are read.
 */
export const setStatus = serviceMutation({
  args: {
    ...runArgs,
    taskId: v.string(),
    status: taskStatus,
    blockedReason: v.optional(v.string()),
    expectedStatus: v.optional(taskStatus)
  },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    previousStatus: taskStatus,
    changed: v.boolean(),
    path: v.array(taskStatus)
  }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    const found = await taskOf(ctx, ctx.accountId, args.taskId)
    const { task, previousStatus, path } = await setStatusInRun(ctx, run, found, {
      to: args.status,
      blockedReason: args.blockedReason,
      expectedStatus: args.expectedStatus
    })
    if (path.length > 0) await recordEffect(ctx, run, "task_status", `moved "${task.title}" to ${task.status}`)
    return { taskId: task._id, status: task.status, previousStatus, changed: path.length > 0, path: [...path] }
  }
})
