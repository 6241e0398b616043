import { v } from "convex/values"
import type { TaskStatus } from "../../src/domain/shared/TaskStatus.ts"
import { byPolicy, refusal } from "../model/access/refusal.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { agentsBySlugs } from "../model/agents/agents.ts"
import { bounded } from "../model/database/bounded.ts"
import { cut } from "../model/database/cut.ts"
import { readWithin } from "../model/database/readWithin.ts"
import { createOnce, mustHaveTasksLeft, recordEffect } from "../model/runs/effects.ts"
import { liveRun, mustActOn, mustHaveFlag, mustOrchestrate, runArgs } from "../model/runs/runs.ts"
import { stopAll } from "../model/runs/stops.ts"
import { decidedOtherwise } from "../model/tasks/decisions.ts"
import { linkPullRequest as link } from "../model/tasks/pullRequests.ts"
import { setStatusInRun } from "../model/tasks/statusChange.ts"
import { assignTask, createTask, moveTask, updateTask } from "../model/tasks/tasks.ts"
import { taskOf, taskSize, taskView, toTaskView, toTaskViews } from "../model/tasks/taskView.ts"
import { messageView } from "../model/threads/messages.ts"
import { threadOf } from "../model/threads/thread.ts"
import { actor } from "../tables/actor.ts"
import { taskStatus } from "../tables/tasks.ts"

const maxThread = 200
/** The default number of messages, for a reader who has seen the task before. */
const defaultThread = 10
/** The length of a description in a list. */
const listedDescription = 500
/** The maximum number of characters of tasks read for one list. */
const listBudget = 3_000_000
/** The maximum number of characters of a thread read for one answer. */
const threadBudget = 3_000_000

/**
 * A task with the last messages of its thread (default 10; only those after `since` if given), oldest first, each cut
 * at 4,000 characters (task_load). For runtimes. Reads the task, its assignees and the messages.
 */
export const load = serviceQuery({
  args: { taskId: v.string(), messageLimit: v.optional(v.number()), since: v.optional(v.number()) },
  returns: v.object({ task: taskView, thread: v.array(messageView) }),
  handler: async (ctx, { messageLimit, since = 0, taskId }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    return {
      task: await toTaskView(ctx, task),
      thread: await threadOf(ctx, task._id, bounded(messageLimit, defaultThread, maxThread), threadBudget, { since })
    }
  }
})

/**
 * Moves a task for an agent by the shortest allowed path (task_status). Fails with `invalid` if there is no path, and
 * with `forbidden` if the agent may not. If a person changed the status since the turn began, changes nothing and
 * returns the reason. For runtimes. Reads the assignees, about twelve more rows, and for a review the task's
 * subscriptions and the subscribed agents.
 */
export const setStatus = serviceMutation({
  args: {
    ...runArgs,
    taskId: v.string(),
    status: taskStatus,
    blockedReason: v.optional(v.string())
  },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    previousStatus: taskStatus,
    changed: v.boolean(),
    path: v.array(taskStatus),
    reason: v.optional(v.string())
  }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    const found = await taskOf(ctx, ctx.accountId, args.taskId)
    const move = { to: args.status, blockedReason: args.blockedReason }
    const { task, path, ...moved } = await setStatusInRun(ctx, run, found, move)
    if (path.length > 0) await recordEffect(ctx, run, "task_status", `moved "${task.title}" to ${task.status}`)
    return { taskId: task._id, status: task.status, changed: path.length > 0, path: [...path], ...moved }
  }
})

/** A task (task_get). For runtimes. Reads the task and its assignees. */
export const get = serviceQuery({
  args: { taskId: v.string() },
  returns: v.object({ task: taskView }),
  handler: async (ctx, { taskId }) => ({ task: await toTaskView(ctx, await taskOf(ctx, ctx.accountId, taskId)) })
})

/**
 * The tasks of a status, of an assignee, or all, most recently changed first, with descriptions cut at 500 characters
 * (task_list). For runtimes. Reads each with its assignees, at most 200.
 */
export const list = serviceQuery({
  args: { status: v.optional(taskStatus), assigneeSlug: v.optional(v.string()), limit: v.optional(v.number()) },
  returns: v.object({ tasks: v.array(taskView) }),
  handler: async (ctx, { status, assigneeSlug, limit }) => {
    const count = bounded(limit, 50, 200)
    if (assigneeSlug !== undefined) {
      const [agent] = await agentsBySlugs(ctx, ctx.accountId, [assigneeSlug])
      if (agent === undefined) return { tasks: [] }
      const assignments = await ctx.db
        .query("assignments")
        .withIndex("by_agent", (q) =>
          status === undefined ? q.eq("agentId", agent._id) : q.eq("agentId", agent._id).eq("status", status)
        )
        .order("desc")
        .take(status === undefined ? 1_000 : count)
      const latest = assignments.toSorted((left, right) => right.updatedAt - left.updatedAt).slice(0, count)
      const tasks = []
      for (const { taskId } of latest) tasks.push(await taskOf(ctx, ctx.accountId, taskId))
      return { tasks: await toTaskViews(ctx, tasks, listedDescription) }
    }
    const tasks =
      status === undefined
        ? ctx.db.query("tasks").withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
        : ctx.db.query("tasks").withIndex("by_status", (q) => q.eq("accountId", ctx.accountId).eq("status", status))
    const found = await readWithin(tasks.order("desc"), count, listBudget, taskSize)
    return { tasks: await toTaskViews(ctx, found, listedDescription) }
  }
})

/**
 * The tasks whose title or description matches, best match first, with descriptions cut at 500 characters
 * (task_search). For runtimes. Reads each with its assignees, at most 50.
 */
export const search = serviceQuery({
  args: { query: v.string(), limit: v.optional(v.number()) },
  returns: v.object({ tasks: v.array(taskView) }),
  handler: async (ctx, args) => {
    const words = args.query.trim().slice(0, 200)
    if (words === "") throw refusal("invalid", "The query is empty. Give words from the title or description.")
    const hits = ctx.db
      .query("tasks")
      .withSearchIndex("search_text", (q) => q.search("searchText", words).eq("accountId", ctx.accountId))
    const found = await readWithin(hits, bounded(args.limit, 20, 50), listBudget, taskSize)
    return { tasks: await toTaskViews(ctx, found, listedDescription) }
  }
})

/**
 * The last messages of a task's thread (default 10; only those after `since` if given), oldest first, each cut at 4,000
 * characters (task_thread). For runtimes. Reads the task and the messages.
 */
export const thread = serviceQuery({
  args: { taskId: v.string(), limit: v.optional(v.number()), since: v.optional(v.number()) },
  returns: v.object({ taskId: v.string(), thread: v.array(messageView) }),
  handler: async (ctx, { limit, since = 0, taskId }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    return {
      taskId: task._id,
      thread: await threadOf(ctx, task._id, bounded(limit, defaultThread, maxThread), threadBudget, { since })
    }
  }
})

/**
 * A task with its last messages and activities, oldest first (task_history). For runtimes. Reads the task, its
 * assignees, the messages and the activities.
 */
export const history = serviceQuery({
  args: { taskId: v.string(), messageLimit: v.optional(v.number()), activityLimit: v.optional(v.number()) },
  returns: v.object({
    task: taskView,
    thread: v.array(messageView),
    activities: v.array(v.object({ type: v.string(), actor, summary: v.string(), createdAt: v.number() }))
  }),
  handler: async (ctx, { taskId, messageLimit, activityLimit }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    const lines = await ctx.db
      .query("activities")
      .withIndex("by_task", (q) => q.eq("taskId", task._id))
      .order("desc")
      .take(bounded(activityLimit, 50, 200))
    return {
      task: await toTaskView(ctx, task),
      thread: await threadOf(ctx, task._id, bounded(messageLimit, 50, maxThread), threadBudget),
      activities: lines
        .toReversed()
        .map((line) => ({ type: line.type, actor: line.actor, summary: line.summary, createdAt: line._creationTime }))
    }
  }
})

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

/**
 * Creates a task once per run and arguments (task_create). Only the orchestrator chooses assignees; another agent is
 * assigned the tasks that it creates outside the inbox. At most 20 tasks per run and 100 per chain of agents' turns.
 * For runtimes. Reads about fifteen rows, two per assignee, and one per task that the run and its chain created.
 */
export const create = serviceMutation({
  args: { ...runArgs, title: v.string(), status: v.optional(taskStatus), ...fields },
  returns: v.object({ taskId: v.string(), status: taskStatus, repeated: v.boolean() }),
  handler: async (ctx, { run: runId, session, epoch, settings, ...made }) => {
    const run = await liveRun(ctx, ctx.accountId, { run: runId, session, epoch, settings })
    mustHaveFlag(run, "canCreateTasks")
    const { assigneeSlugs = [], ...rest } = made
    if (made.assigneeSlugs !== undefined) mustOrchestrate(run)
    mustBePlainLabels(made.labels, [])
    if (made.status === "done" || made.status === "archived") {
      throw refusal("invalid", "A task cannot be created as done or archived. Leave out the status.")
    }
    return await createOnce(ctx, run, "task_create", made, async () => {
      await mustHaveTasksLeft(ctx, run)
      const takesIt = !run.agent.isOrchestrator && (made.status ?? "inbox") !== "inbox"
      const assignees = takesIt ? [run.agent] : await agentsBySlugs(ctx, ctx.accountId, assigneeSlugs)
      const task = await createTask(ctx, ctx.accountId, { ...rest, assignees, runId: run.id }, run.origin)
      const result: { taskId: string; status: TaskStatus } = { taskId: task._id, status: task.status }
      return { result, summary: `created the task "${task.title}"` }
    })
  }
})

/**
 * Changes the given fields of a task, its status and, for the orchestrator, its assignees, all or nothing
 * (task_update). If a person changed one of these fields since the turn began, changes nothing and returns the reason.
 * For runtimes. Reads the same as setStatus and assign together.
 */
export const update = serviceMutation({
  args: {
    ...runArgs,
    taskId: v.string(),
    title: v.optional(v.string()),
    status: v.optional(taskStatus),
    ...fields
  },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    previousStatus: taskStatus,
    changed: v.boolean(),
    reason: v.optional(v.string())
  }),
  handler: async (ctx, { run: runId, session, epoch, settings, taskId, ...change }) => {
    const run = await liveRun(ctx, ctx.accountId, { run: runId, session, epoch, settings })
    mustHaveFlag(run, "canModifyTaskStatus")
    if (change.assigneeSlugs !== undefined) mustOrchestrate(run)
    const before = await taskOf(ctx, ctx.accountId, taskId)
    mustActOn(run, before)
    mustBePlainLabels(change.labels, before.labels)
    const { title, description, priority, labels, dueDate, status } = change
    const assignees =
      change.assigneeSlugs === undefined ? undefined : await agentsBySlugs(ctx, ctx.accountId, change.assigneeSlugs)
    const assigneeIds = assignees?.map(({ _id }) => _id)
    const wanted = { title, description, priority, labels, dueDate, status, assigneeIds }
    const reason = decidedOtherwise(before, run, wanted)
    if (reason !== null) {
      return { taskId: before._id, status: before.status, previousStatus: before.status, changed: false, reason }
    }
    let task = await updateTask(ctx, before, { title, description, priority, labels, dueDate }, run.origin)
    if (assignees !== undefined) task = await assignTask(ctx, task, assignees, run.origin)
    if (status !== undefined) {
      const move = { to: status, blockedReason: change.blockedReason }
      task = (await setStatusInRun(ctx, run, task, move)).task
    }
    const changed = task.updatedAt !== before.updatedAt || task !== before
    if (changed) await recordEffect(ctx, run, "task_update", `changed the task "${task.title}"`)
    return { taskId: task._id, status: task.status, previousStatus: before.status, changed }
  }
})

/**
 * Replaces the assignees of a task (task_assign; only the orchestrator). If a person changed them since the turn began,
 * changes nothing and returns the reason. For runtimes. Reads the same as update.
 */
export const assign = serviceMutation({
  args: { ...runArgs, taskId: v.string(), assigneeSlugs: v.array(v.string()) },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    assigneeSlugs: v.array(v.string()),
    changed: v.boolean(),
    reason: v.optional(v.string())
  }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    mustOrchestrate(run)
    const task = await taskOf(ctx, ctx.accountId, args.taskId)
    const assignees = await agentsBySlugs(ctx, ctx.accountId, args.assigneeSlugs)
    const reason = decidedOtherwise(task, run, { assigneeIds: assignees.map(({ _id }) => _id) })
    if (reason !== null) {
      const assigneeSlugs = (await toTaskView(ctx, task)).assignees.map(({ slug }) => slug)
      return { taskId: task._id, status: task.status, assigneeSlugs, changed: false, reason }
    }
    const saved = await assignTask(ctx, task, assignees, run.origin)
    const slugs = assignees.map((agent) => agent.slug)
    if (saved !== task) await recordEffect(ctx, run, "task_assign", `assigned "${task.title}" to ${slugs.join(", ")}`)
    return { taskId: saved._id, status: saved.status, assigneeSlugs: slugs, changed: saved !== task }
  }
})

/**
 * Archives a task and stops its other runs (task_delete; only the orchestrator). The reason becomes an activity. If a
 * person changed the status since the turn began, changes nothing and returns the reason. For runtimes. Reads the same
 * as setStatus, and those runs.
 */
export const remove = serviceMutation({
  args: { ...runArgs, taskId: v.string(), reason: v.string() },
  returns: v.object({
    taskId: v.string(),
    status: taskStatus,
    changed: v.boolean(),
    /** The number of the task's runs that were stopped. */
    stopped: v.number(),
    reason: v.optional(v.string())
  }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    mustOrchestrate(run)
    const found = await taskOf(ctx, ctx.accountId, args.taskId)
    const reason = cut(args.reason.trim(), 500)
    if (reason === "") throw refusal("invalid", "The reason is empty. Say why the task is removed.")
    if (found.isOrchestratorChat) throw refusal("forbidden", "The orchestrator's chat cannot be deleted.", byPolicy)
    const kept = decidedOtherwise(found, run, { status: "archived" })
    if (kept !== null) return { taskId: found._id, status: found.status, changed: false, stopped: 0, reason: kept }
    const { task, path } = await moveTask(ctx, found, { to: "archived" }, run.origin)
    const stop = { actor: run.origin.actor, reason: `the task was removed: ${reason}` }
    const stopped = await stopAll(ctx, ctx.accountId, { taskId: task._id }, stop, run.id, run.origin)
    if (path.length > 0) {
      await recordActivity(ctx, {
        accountId: ctx.accountId,
        type: "task_removed",
        actor: run.origin.actor,
        taskId: task._id,
        summary: `removed: ${reason}`
      })
      await recordEffect(ctx, run, "task_delete", `removed the task "${task.title}"`)
    }
    return { taskId: task._id, status: task.status, changed: path.length > 0, stopped }
  }
})

/**
 * Stores a pull request's number on the task, and links it on GitHub if the deployment has GITHUB_TOKEN and GITHUB_REPO
 * (task_link_pr; only the orchestrator). For runtimes. Reads about ten rows.
 */
export const linkPullRequest = serviceMutation({
  args: { ...runArgs, taskId: v.string(), prNumber: v.number() },
  returns: v.object({
    taskId: v.string(),
    prNumber: v.number(),
    changed: v.boolean(),
    github: v.union(v.literal("queued"), v.literal("off"))
  }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    mustOrchestrate(run)
    const task = await taskOf(ctx, ctx.accountId, args.taskId)
    const linked = await link(ctx, task, args.prNumber, run.origin.actor)
    if (linked.changed) {
      await recordEffect(ctx, run, "task_link_pr", `linked pull request #${args.prNumber} to "${task.title}"`)
    }
    return { taskId: task._id, prNumber: args.prNumber, ...linked }
  }
})
