import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { actor } from "../../tables/actor.ts"
import { taskStatus } from "../../tables/tasks.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { agentRef, toAgentRef } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { openQuestion, openQuestionsOf } from "../notifications/questions.ts"

/** The label of the task that is the people's chat with the orchestrator. */
export const orchestratorChatLabel = "system:orchestrator-chat"

export const limits = { title: 300, description: 20_000, label: 64, reason: 2_000 }

/** A task as agents and people see it; times are epoch milliseconds. */
export const taskView = v.object({
  id: v.string(),
  title: v.string(),
  description: v.string(),
  status: taskStatus,
  priority: v.number(),
  labels: v.array(v.string()),
  assignees: v.array(agentRef),
  blockedReason: v.union(v.string(), v.null()),
  /** Of a blocked task: the questions to people for whose answers it may wait. Absent without any. */
  openQuestions: v.optional(v.array(openQuestion)),
  dueDate: v.union(v.number(), v.null()),
  prNumber: v.union(v.number(), v.null()),
  isOrchestratorChat: v.boolean(),
  createdBy: actor,
  updatedAt: v.number()
})

export type TaskView = Infer<typeof taskView>

/**
 * The tasks as agents and people see them, with descriptions cut. Reads one row per distinct assignee that is not among
 * the known agents.
 */
export const toTaskViews = async (
  ctx: Pick<QueryCtx, "db">,
  tasks: ReadonlyArray<Doc<"tasks">>,
  descriptionLength = limits.description,
  known: ReadonlyArray<Doc<"agents">> = []
): Promise<Array<TaskView>> => {
  const agents = new Map<Id<"agents">, Infer<typeof agentRef>>()
  for (const agentId of new Set(tasks.flatMap((task) => task.assigneeIds))) {
    const agent = known.find(({ _id }) => _id === agentId) ?? (await ctx.db.get("agents", agentId))
    if (agent !== null) agents.set(agentId, toAgentRef(agent))
  }
  return tasks.map((task) => ({
    id: task._id,
    title: task.title,
    description: cut(task.description, descriptionLength),
    status: task.status,
    priority: task.priority,
    labels: task.labels,
    assignees: task.assigneeIds.flatMap((agentId) => agents.get(agentId) ?? []),
    blockedReason: task.blockedReason,
    dueDate: task.dueDate,
    prNumber: task.prNumber,
    isOrchestratorChat: task.isOrchestratorChat,
    createdBy: task.createdBy,
    updatedAt: task.updatedAt
  }))
}

/** The views, those of blocked tasks with their open questions. Reads two rows per question of a blocked task. */
export const withQuestions = async (
  ctx: Pick<QueryCtx, "db">,
  tasks: ReadonlyArray<Doc<"tasks">>,
  views: ReadonlyArray<TaskView>
): Promise<Array<TaskView>> => {
  const complete: Array<TaskView> = []
  for (const view of views) {
    const task = tasks.find(({ _id }) => _id === view.id)
    const openQuestions = task?.status === "blocked" ? await openQuestionsOf(ctx, task._id) : []
    complete.push(openQuestions.length === 0 ? view : { ...view, openQuestions })
  }
  return complete
}

/**
 * The task as agents and people see it. Reads one row per assignee that is not among the known agents, and two per open
 * question of a blocked task.
 */
export const toTaskView = async (
  ctx: Pick<QueryCtx, "db">,
  task: Doc<"tasks">,
  known: ReadonlyArray<Doc<"agents">> = []
): Promise<TaskView> => {
  const views = await toTaskViews(ctx, [task], limits.description, known)
  const [view] = await withQuestions(ctx, [task], views)
  if (view === undefined) throw new Error("A task has one view.")
  return view
}

/** The characters in a task's row, for counting reads. The search text repeats title and description. */
export const taskSize = (task: Doc<"tasks">): number => 2 * (task.title.length + task.description.length)

/** The account's task with this id. Fails with `not_found` otherwise. Reads one row. */
export const taskOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  taskId: string
): Promise<Doc<"tasks">> => {
  const task = await ownRow(ctx, "tasks", accountId, taskId)
  if (task === null) {
    throw refusal("not_found", "The account has no task with this id. Check the task id.")
  }
  return task
}
