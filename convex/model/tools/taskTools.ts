import { v } from "convex/values"
import type { TaskStatus } from "../../../src/domain/shared/TaskStatus.ts"
import type { Doc } from "../../_generated/dataModel.js"
import { taskStatus } from "../../tables/tasks.ts"
import { byPolicy, refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { agentsBySlugs } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { createOnce, mustHaveTasksLeft, recordEffect } from "../runs/effects.ts"
import { mustActOn, mustHaveFlag, mustOrchestrate } from "../runs/runs.ts"
import { stopAll } from "../runs/stops.ts"
import { decidedOtherwise } from "../tasks/decisions.ts"
import { linkPullRequest as link } from "../tasks/pullRequests.ts"
import { mustMayMove } from "../tasks/statusChange.ts"
import { assignTask, createTask, moveTask, updateTask } from "../tasks/tasks.ts"
import { taskOf, toTaskView } from "../tasks/taskView.ts"
import { defineTool } from "./agentTool.ts"

const fields = {
  description: v.optional(v.string()),
  priority: v.optional(v.number()),
  labels: v.optional(v.array(v.string())),
  dueDate: v.optional(v.union(v.number(), v.null())),
  blockedReason: v.optional(v.string()),
  assigneeSlugs: v.optional(v.array(v.string()))
}

/** Fails with `forbidden` if an agent sets or adds a label that is reserved for the control plane. */
const mustBePlainLabels = (labels: ReadonlyArray<string> | undefined, kept: ReadonlyArray<string>): void => {
  if (labels?.some((label) => label.trim().startsWith("system:") && !kept.includes(label.trim())) === true) {
    throw refusal(
      "forbidden",
      "Labels that begin with system: are reserved for the control plane. Choose another label.",
      byPolicy
    )
  }
}

/** Whether one of the agents is not assigned to the task. */
const hasOutsider = (task: Doc<"tasks"> | null, agents: ReadonlyArray<Doc<"agents">>): boolean =>
  agents.some(({ _id }) => task?.assigneeIds.includes(_id) !== true)

/** task_status: moves a task by the shortest allowed path. */
export const setStatus = defineTool({
  name: "task_status",
  args: { taskId: v.string(), status: taskStatus, blockedReason: v.optional(v.string()) },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    previousStatus: taskStatus,
    changed: v.boolean(),
    path: v.array(taskStatus),
    reason: v.optional(v.string())
  }),
  prepare: async (ctx, run, { blockedReason, status, taskId }) => {
    const task = await taskOf(ctx, run.accountId, taskId)
    mustHaveFlag(run, "canModifyTaskStatus")
    mustActOn(run, task)
    const reason = decidedOtherwise(task, run, { status })
    const unchanged = { taskId: task._id, status: task.status, previousStatus: task.status, changed: false, path: [] }
    if (reason !== null) return { settled: { ...unchanged, reason } }
    mustMayMove(run, task, status)
    if (status === task.status) return { settled: unchanged }
    return {
      task,
      judged: { status },
      act: async () => {
        const moved = await moveTask(ctx, task, { to: status, blockedReason }, run.origin)
        await recordEffect(ctx, run, "task_status", `moved "${task.title}" to ${status}`)
        return { ...unchanged, status: moved.task.status, changed: true, path: [...moved.path] }
      }
    }
  }
})

/** task_create: creates a task once per run and arguments. */
export const create = defineTool({
  name: "task_create",
  args: { title: v.string(), status: v.optional(taskStatus), ...fields },
  returns: v.object({ taskId: v.string(), status: taskStatus, repeated: v.boolean() }),
  prepare: async (ctx, run, made) => {
    mustHaveFlag(run, "canCreateTasks")
    const { assigneeSlugs = [], ...rest } = made
    if (made.assigneeSlugs !== undefined) mustOrchestrate(run)
    mustBePlainLabels(made.labels, [])
    if (made.status === "done" || made.status === "archived") {
      throw refusal("invalid", "A task cannot be created as done or archived. Leave out the status.")
    }
    return {
      task: null,
      judged: { status: made.status, priority: made.priority, hasOutsideAssignee: assigneeSlugs.length > 0 },
      once: made,
      act: () =>
        createOnce(ctx, run, "task_create", made, async () => {
          await mustHaveTasksLeft(ctx, run)
          const takesIt = !run.agent.isOrchestrator && (made.status ?? "inbox") !== "inbox"
          const assignees = takesIt ? [run.agent] : await agentsBySlugs(ctx, run.accountId, assigneeSlugs)
          const task = await createTask(ctx, run.accountId, { ...rest, assignees, runId: run.id }, run.origin)
          const result: { taskId: string; status: TaskStatus } = { taskId: task._id, status: task.status }
          return { result, summary: `created the task "${task.title}"` }
        })
    }
  }
})

/** task_update: changes fields, status and, for the orchestrator, assignees of a task, all or nothing. */
export const update = defineTool({
  name: "task_update",
  args: { taskId: v.string(), title: v.optional(v.string()), status: v.optional(taskStatus), ...fields },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    previousStatus: taskStatus,
    changed: v.boolean(),
    reason: v.optional(v.string())
  }),
  prepare: async (ctx, run, { taskId, ...change }) => {
    mustHaveFlag(run, "canModifyTaskStatus")
    if (change.assigneeSlugs !== undefined) mustOrchestrate(run)
    const before = await taskOf(ctx, run.accountId, taskId)
    mustActOn(run, before)
    mustBePlainLabels(change.labels, before.labels)
    const { title, description, priority, labels, dueDate, status } = change
    const assignees =
      change.assigneeSlugs === undefined ? undefined : await agentsBySlugs(ctx, run.accountId, change.assigneeSlugs)
    const assigneeIds = assignees?.map(({ _id }) => _id)
    const wanted = { title, description, priority, labels, dueDate, status, assigneeIds }
    const reason = decidedOtherwise(before, run, wanted)
    const unchanged = { taskId: before._id, status: before.status, previousStatus: before.status, changed: false }
    if (reason !== null) return { settled: { ...unchanged, reason } }
    // New assignees can make a status possible, so that the check follows the assignment.
    if (status !== undefined && assignees === undefined) mustMayMove(run, before, status)
    return {
      task: before,
      judged: { status, priority, hasOutsideAssignee: hasOutsider(before, assignees ?? []) },
      act: async () => {
        let task = await updateTask(ctx, before, { title, description, priority, labels, dueDate }, run.origin)
        if (assignees !== undefined) task = await assignTask(ctx, task, assignees, run.origin)
        if (status !== undefined) {
          mustMayMove(run, task, status)
          const move = { to: status, blockedReason: change.blockedReason }
          task = (await moveTask(ctx, task, move, run.origin)).task
        }
        const changed = task.updatedAt !== before.updatedAt || task !== before
        if (changed) await recordEffect(ctx, run, "task_update", `changed the task "${task.title}"`)
        return { ...unchanged, status: task.status, changed }
      }
    }
  }
})

/** task_assign: replaces the assignees of a task. Only the orchestrator has it. */
export const assign = defineTool({
  name: "task_assign",
  args: { taskId: v.string(), assigneeSlugs: v.array(v.string()) },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    assigneeSlugs: v.array(v.string()),
    changed: v.boolean(),
    reason: v.optional(v.string())
  }),
  prepare: async (ctx, run, args) => {
    mustOrchestrate(run)
    const task = await taskOf(ctx, run.accountId, args.taskId)
    const assignees = await agentsBySlugs(ctx, run.accountId, args.assigneeSlugs)
    const reason = decidedOtherwise(task, run, { assigneeIds: assignees.map(({ _id }) => _id) })
    const unchanged = { taskId: task._id, status: task.status, changed: false }
    const slugs = assignees.map((agent) => agent.slug)
    if (reason !== null) {
      const assigneeSlugs = (await toTaskView(ctx, task)).assignees.map(({ slug }) => slug)
      return { settled: { ...unchanged, assigneeSlugs, reason } }
    }
    if (assignees.length === task.assigneeIds.length && !hasOutsider(task, assignees)) {
      return { settled: { ...unchanged, assigneeSlugs: slugs } }
    }
    return {
      task,
      judged: { hasOutsideAssignee: hasOutsider(task, assignees) },
      act: async () => {
        const saved = await assignTask(ctx, task, assignees, run.origin)
        await recordEffect(ctx, run, "task_assign", `assigned "${task.title}" to ${slugs.join(", ")}`)
        return { taskId: saved._id, status: saved.status, assigneeSlugs: slugs, changed: true }
      }
    }
  }
})

/** task_delete: archives a task and stops its other runs. Only the orchestrator has it. */
export const remove = defineTool({
  name: "task_delete",
  args: { taskId: v.string(), reason: v.string() },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    changed: v.boolean(),
    /** The number of the task's runs that were stopped. */
    stopped: v.number(),
    reason: v.optional(v.string())
  }),
  prepare: async (ctx, run, args) => {
    mustOrchestrate(run)
    const found = await taskOf(ctx, run.accountId, args.taskId)
    const why = cut(args.reason.trim(), 500)
    if (why === "") throw refusal("invalid", "The reason is empty. Say why the task is removed.")
    if (found.isOrchestratorChat) throw refusal("forbidden", "The orchestrator's chat cannot be deleted.", byPolicy)
    const reason = decidedOtherwise(found, run, { status: "archived" })
    const unchanged = { taskId: found._id, status: found.status, changed: false, stopped: 0 }
    if (reason !== null) return { settled: { ...unchanged, reason } }
    return {
      task: found,
      act: async () => {
        const { task, path } = await moveTask(ctx, found, { to: "archived" }, run.origin)
        const stop = { actor: run.origin.actor, reason: `the task was removed: ${why}` }
        const stopped = await stopAll(ctx, run.accountId, { taskId: task._id }, stop, run.id, run.origin)
        if (path.length > 0) {
          await recordActivity(ctx, {
            accountId: run.accountId,
            type: "task_removed",
            actor: run.origin.actor,
            taskId: task._id,
            summary: `removed: ${why}`
          })
          await recordEffect(ctx, run, "task_delete", `removed the task "${task.title}"`)
        }
        return { taskId: task._id, status: task.status, changed: path.length > 0, stopped }
      }
    }
  }
})

/** task_link_pr: stores a pull request's number on a task. Only the orchestrator has it. */
export const linkPullRequest = defineTool({
  name: "task_link_pr",
  args: { taskId: v.string(), prNumber: v.number() },
  returns: v.object({
    taskId: v.string(),
    prNumber: v.number(),
    changed: v.boolean(),
    github: v.union(v.literal("queued"), v.literal("off"))
  }),
  prepare: async (ctx, run, { prNumber, taskId }) => {
    mustOrchestrate(run)
    const task = await taskOf(ctx, run.accountId, taskId)
    return {
      task,
      act: async () => {
        const linked = await link(ctx, task, prNumber, run.origin.actor)
        if (linked.changed) {
          await recordEffect(ctx, run, "task_link_pr", `linked pull request #${prNumber} to "${task.title}"`)
        }
        return { taskId: task._id, prNumber, ...linked }
      }
    }
  }
})
