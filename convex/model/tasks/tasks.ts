import { type TaskStatus, needsAssignee, pathTo } from "../../../src/domain/shared/TaskStatus.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { orchestratorOf } from "../agents/agents.ts"
import { resetTaskLoop } from "../limits/taskLoops.ts"
import { fanOutAssignment, fanOutStatus } from "../notifications/fanOut.ts"
import type { Origin } from "../notifications/origin.ts"
import { endQuestions } from "../notifications/questions.ts"
import { decisionsAfter } from "./decisions.ts"
import { recordParticipation } from "./participants.ts"
import { subscribe, unsubscribeAssignee } from "./subscriptions.ts"
import { limits, orchestratorChatLabel } from "./taskView.ts"

const maxAssignees = 20

const assignmentsRead = 100

const maxLabels = 20

const reload = async (ctx: Pick<QueryCtx, "db">, taskId: Id<"tasks">): Promise<Doc<"tasks">> => {
  const task = await ctx.db.get("tasks", taskId)
  if (task === null) throw refusal("not_found", "The task was deleted. Nothing was changed.")
  return task
}

/** Saves the task, and its status and time in the rows of its assignees. A person's change lets agents start again. */
const saveTask = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  change: Partial<Omit<Doc<"tasks">, "_id" | "_creationTime" | "accountId" | "decided" | "updatedAt">>,
  origin: Origin
): Promise<Doc<"tasks">> => {
  const updatedAt = Date.now()
  const isByPerson = origin.actor.type === "person"
  if (isByPerson) await resetTaskLoop(ctx, task._id)
  await ctx.db.patch("tasks", task._id, {
    ...change,
    ...(isByPerson ? { isAtTurnLimit: false } : {}),
    decided: decisionsAfter(task, change, origin),
    updatedAt
  })
  const saved = await reload(ctx, task._id)
  const rows = await ctx.db
    .query("assignments")
    .withIndex("by_task", (q) => q.eq("taskId", task._id))
    .take(assignmentsRead)
  for (const each of rows) {
    if (saved.assigneeIds.includes(each.agentId)) {
      await ctx.db.patch("assignments", each._id, { status: saved.status, updatedAt })
    } else {
      await ctx.db.delete("assignments", each._id)
    }
  }
  for (const agentId of saved.assigneeIds) {
    if (rows.some((each) => each.agentId === agentId)) continue
    const { accountId, _id: taskId, status } = saved
    await ctx.db.insert("assignments", { accountId, taskId, agentId, status, updatedAt })
  }
  return saved
}

/** The fields of a task that people and agents set. An absent field stays unchanged. */
export interface TaskFields {
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly priority?: number | undefined
  readonly labels?: ReadonlyArray<string> | undefined
  readonly dueDate?: number | null | undefined
}

const mustFit = (text: string, length: number, what: string): string => {
  if (text.length > length) throw refusal("limit", `The ${what} is longer than ${length} characters. Shorten it.`)
  return text
}

/** Checks the fields and returns them as they are stored. Fails with `invalid` or `limit`. */
const checkFields = (fields: TaskFields) => {
  const { title, description, priority, labels, dueDate } = fields
  if (title !== undefined && title.trim() === "") throw refusal("invalid", "The title is empty. Write a title.")
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 1 && priority <= 5)) {
    throw refusal("invalid", "The priority is not a whole number from 1 to 5.")
  }
  if (typeof dueDate === "number" && !Number.isFinite(dueDate)) {
    throw refusal("invalid", "The due date is not a time in epoch milliseconds.")
  }
  if (labels !== undefined && labels.length > maxLabels) {
    throw refusal("limit", `There are more than ${maxLabels} labels. Remove some.`)
  }
  return {
    ...(title === undefined ? {} : { title: mustFit(title.trim(), limits.title, "title") }),
    ...(description === undefined ? {} : { description: mustFit(description, limits.description, "description") }),
    ...(priority === undefined ? {} : { priority }),
    ...(labels === undefined
      ? {}
      : { labels: [...new Set(labels.map((label) => mustFit(label.trim(), limits.label, "label")))].filter(Boolean) }),
    ...(dueDate === undefined ? {} : { dueDate })
  }
}

const searchTextOf = (title: string, description: string): string => `${title}\n${description}`

/** Creates a task in the inbox, assigns it if it has assignees, and then moves it to the requested status. */
export const createTask = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  made: TaskFields & {
    readonly title: string
    readonly status?: TaskStatus | undefined
    readonly blockedReason?: string | undefined
    readonly assignees?: ReadonlyArray<Doc<"agents">>
    readonly runId?: string
  },
  origin: Origin
): Promise<Doc<"tasks">> => {
  const { title = "", description = "", priority = 3, labels = [], dueDate = null } = checkFields(made)
  const id = await ctx.db.insert("tasks", {
    accountId,
    title,
    description,
    searchText: searchTextOf(title, description),
    status: "inbox",
    priority,
    labels,
    isOrchestratorChat: labels.includes(orchestratorChatLabel),
    assigneeIds: [],
    blockedReason: null,
    dueDate,
    prNumber: null,
    isAtTurnLimit: false,
    createdBy: origin.actor,
    ...(made.runId === undefined ? {} : { createdInRun: made.runId }),
    updatedAt: Date.now()
  })
  const task = await reload(ctx, id)
  await recordActivity(ctx, { accountId, type: "task_created", actor: origin.actor, taskId: id, summary: title })
  const orchestrator = await orchestratorOf(ctx, accountId)
  if (orchestrator !== null) await subscribe(ctx, task, { agentId: orchestrator._id }, "participant")
  const assigned = await assignTask(ctx, task, made.assignees ?? [], origin)
  if (made.status === undefined || made.status === assigned.status) return assigned
  const moved = await moveTask(ctx, assigned, { to: made.status, blockedReason: made.blockedReason }, origin)
  return moved.task
}

/** Changes the descriptive fields of a task. Assignees and status have their own functions. */
export const updateTask = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  fields: TaskFields,
  origin: Origin
): Promise<Doc<"tasks">> => {
  const change = checkFields(fields)
  if (change.labels !== undefined && change.labels.includes(orchestratorChatLabel) !== task.isOrchestratorChat) {
    throw refusal(
      "invalid",
      `The label ${orchestratorChatLabel} is set when the task is created and cannot be changed.`
    )
  }
  // A call that arrives twice changes nothing the second time, so it adds one activity.
  const isOther = (name: keyof typeof change): boolean => JSON.stringify(change[name]) !== JSON.stringify(task[name])
  const names = (Object.keys(change) as Array<keyof typeof change>).filter(isOther)
  if (names.length === 0) return task
  const saved = await saveTask(
    ctx,
    task,
    {
      ...change,
      searchText: searchTextOf(change.title ?? task.title, change.description ?? task.description)
    },
    origin
  )
  await recordActivity(ctx, {
    accountId: task.accountId,
    type: "task_updated",
    actor: origin.actor,
    taskId: task._id,
    summary: `changed ${names.join(", ")}`
  })
  return saved
}

/**
 * Replaces the assignees. A task in the inbox becomes assigned, and an assigned task without assignees returns to the
 * inbox. Notifies the new assignees, including the agent that assigned itself.
 */
export const assignTask = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  assignees: ReadonlyArray<Doc<"agents">>,
  origin: Origin
): Promise<Doc<"tasks">> => {
  const wanted = [...new Map(assignees.map((agent) => [agent._id, agent])).values()]
  if (wanted.length > maxAssignees) {
    throw refusal("limit", `A task has at most ${maxAssignees} assignees. Name fewer.`)
  }
  const added = wanted.filter((agent) => !task.assigneeIds.includes(agent._id))
  const removed = task.assigneeIds.filter((id) => !wanted.some((agent) => agent._id === id))
  if (added.length === 0 && removed.length === 0) return task
  if (task.status === "archived") throw refusal("invalid", "An archived task cannot be assigned. Create a new one.")
  if (wanted.length === 0 && needsAssignee(task.status) && task.status !== "assigned") {
    throw refusal("invalid", `A task in ${task.status} needs an assignee. Name another one, or block the task first.`)
  }
  let status = task.status
  if (status === "inbox") status = "assigned"
  else if (status === "assigned" && wanted.length === 0) status = "inbox"
  const saved = await saveTask(ctx, task, { assigneeIds: wanted.map((agent) => agent._id), status }, origin)
  for (const agentId of removed) await unsubscribeAssignee(ctx, task._id, agentId)
  await recordActivity(ctx, {
    accountId: task.accountId,
    type: "task_assigned",
    actor: origin.actor,
    taskId: task._id,
    summary: wanted.length === 0 ? "no one is assigned" : `assigned to ${wanted.map((agent) => agent.name).join(", ")}`
  })
  await fanOutAssignment(ctx, saved, added, origin)
  return saved
}

/** The result of a move. The path is empty if the task had the status already. */
interface Move {
  readonly task: Doc<"tasks">
  readonly previousStatus: TaskStatus
  readonly path: ReadonlyArray<TaskStatus>
}

/**
 * Moves the task by the shortest allowed path in this transaction. Only the last step notifies. Fails with `invalid` if
 * there is no path, or if a block has no reason.
 */
export const moveTask = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  move: { readonly to: TaskStatus; readonly blockedReason?: string | undefined },
  origin: Origin
): Promise<Move> => {
  const previousStatus = task.status
  const reason = move.blockedReason?.trim() ?? ""
  if (move.to === previousStatus) return { task, previousStatus, path: [] }
  const path = pathTo(previousStatus, move.to, {
    isPerson: origin.actor.type === "person",
    assigneeCount: task.assigneeIds.length
  })
  if (path === null) {
    const why =
      task.assigneeIds.length === 0 && pathTo(previousStatus, move.to) !== null
        ? "The task has no assignee. Assign it first"
        : previousStatus === "archived"
          ? "An archived task stays archived. Create a new one"
          : "There is no such step. Read the task's status again"
    throw refusal("invalid", `A task cannot go from ${previousStatus} to ${move.to}. ${why}.`)
  }
  if (move.to === "blocked" && reason === "") {
    throw refusal("invalid", "A blocked task needs a reason. Say what it waits for.")
  }
  if (move.to === "inbox") for (const agentId of task.assigneeIds) await unsubscribeAssignee(ctx, task._id, agentId)
  const saved = await saveTask(
    ctx,
    task,
    {
      status: move.to,
      blockedReason: move.to === "blocked" ? mustFit(reason, limits.reason, "reason") : null,
      ...(move.to === "inbox" ? { assigneeIds: [] } : {})
    },
    origin
  )
  if (task.assigneeIds.some((each) => each === origin.actor.id))
    await recordParticipation(ctx, task, origin.actor, "act")
  await recordActivity(ctx, {
    accountId: task.accountId,
    type: "task_status",
    actor: origin.actor,
    taskId: task._id,
    summary: [previousStatus, ...path].join(" -> ") + (move.to === "blocked" ? `: ${reason}` : "")
  })
  if (move.to === "done" || move.to === "archived") {
    await endQuestions(ctx, { taskId: task._id }, `the task was set to ${move.to}`)
  }
  await fanOutStatus(ctx, saved, previousStatus, move.to, origin)
  return { task: saved, previousStatus, path }
}
