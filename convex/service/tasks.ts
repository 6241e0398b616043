import { v } from "convex/values"
import { refusal } from "../model/access/refusal.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { agentsBySlugs } from "../model/agents/agents.ts"
import { callTool } from "../model/approvals/toolCall.ts"
import { bounded } from "../model/database/bounded.ts"
import { readWithin } from "../model/database/readWithin.ts"
import { runArgs } from "../model/runs/runs.ts"
import { taskOf, taskSize, taskView, toTaskView, toTaskViews } from "../model/tasks/taskView.ts"
import { messageView } from "../model/threads/messages.ts"
import { threadOf } from "../model/threads/thread.ts"
import { orNeedsApproval } from "../model/tools/agentTool.ts"
import * as tools from "../model/tools/taskTools.ts"
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
      thread: await threadOf(ctx, task._id, bounded(messageLimit, defaultThread, maxThread), threadBudget, since)
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
  args: { ...runArgs, ...tools.setStatus.args },
  returns: orNeedsApproval(tools.setStatus.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, tools.setStatus, args)
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
      thread: await threadOf(ctx, task._id, bounded(limit, defaultThread, maxThread), threadBudget, since)
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

/**
 * Creates a task once per run and arguments (task_create). Only the orchestrator chooses assignees; another agent is
 * assigned the tasks that it creates outside the inbox. At most 20 tasks per run and 100 per chain of agents' turns.
 * For runtimes. Reads about fifteen rows, two per assignee, and one per task that the run and its chain created.
 */
export const create = serviceMutation({
  args: { ...runArgs, ...tools.create.args },
  returns: orNeedsApproval(tools.create.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, tools.create, args)
})

/**
 * Changes the given fields of a task, its status and, for the orchestrator, its assignees, all or nothing
 * (task_update). If a person changed one of these fields since the turn began, changes nothing and returns the reason.
 * For runtimes. Reads the same as setStatus and assign together.
 */
export const update = serviceMutation({
  args: { ...runArgs, ...tools.update.args },
  returns: orNeedsApproval(tools.update.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, tools.update, args)
})

/**
 * Replaces the assignees of a task (task_assign; only the orchestrator). If a person changed them since the turn began,
 * changes nothing and returns the reason. For runtimes. Reads the same as update.
 */
export const assign = serviceMutation({
  args: { ...runArgs, ...tools.assign.args },
  returns: orNeedsApproval(tools.assign.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, tools.assign, args)
})

/**
 * Archives a task and stops its other runs (task_delete; only the orchestrator). The reason becomes an activity. If a
 * person changed the status since the turn began, changes nothing and returns the reason. For runtimes. Reads the same
 * as setStatus, and those runs.
 */
export const remove = serviceMutation({
  args: { ...runArgs, ...tools.remove.args },
  returns: orNeedsApproval(tools.remove.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, tools.remove, args)
})

/**
 * Stores a pull request's number on the task, and links it on GitHub if the deployment has GITHUB_TOKEN and GITHUB_REPO
 * (task_link_pr; only the orchestrator). For runtimes. Reads about ten rows.
 */
export const linkPullRequest = serviceMutation({
  args: { ...runArgs, ...tools.linkPullRequest.args },
  returns: orNeedsApproval(tools.linkPullRequest.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, tools.linkPullRequest, args)
})
