import { Effect, Schema } from "effect"
import { TaskStatus } from "../../domain/delivery/DeliveryContext.ts"
import { defineTool, isOrchestrator } from "./AgentTool.ts"
import { checkAssignees, checkStatus } from "./StatusRules.ts"
import { blockedReason, description, dueDate, labels, momentOf, priority, slugs, title } from "./ToolParameters.ts"

/** No task starts as done or archived. */
const firstStatuses = ["inbox", "assigned", "in_progress", "review", "blocked"] as const

const firstStatus = (words: string) =>
  Schema.optionalKey(Schema.Literals(firstStatuses).annotate({ description: words }))

const fields = { title, description, priority, labels, blockedReason, dueDate }
const withoutAssignees = Schema.Struct({
  ...fields,
  status: firstStatus("The first status; default inbox. With another status you become the assignee.")
})
const parameters = Schema.Struct({
  ...fields,
  status: firstStatus(
    "The first status; default inbox, or assigned if there are assignees. A status other than inbox needs assignees."
  ),
  assigneeSlugs: Schema.optionalKey(slugs("The slugs of the assignees. Only the orchestrator assigns."))
})

/** Creates a task once per run and arguments. */
export const taskCreateTool = defineTool({
  name: "task_create",
  description: "Create a task. An identical call in the same run returns the first task with repeated: true.",
  capability: "create a task",
  path: "/agent/task-create",
  parameters,
  parametersFor: (agent) => (isOrchestrator(agent) ? parameters : withoutAssignees),
  answer: Schema.Struct({ taskId: Schema.String, status: TaskStatus, repeated: Schema.Boolean }),
  isEffect: true,
  isOffered: ({ flags }) => flags.canCreateTasks,
  run: Effect.fn("AgentTools.task_create")(function* (run, { blockedReason: given, dueDate: due, ...made }) {
    yield* checkAssignees(run.context, made.assigneeSlugs)
    const { reason } = yield* checkStatus(run.context, made.status, given)
    const task = yield* run.controlPlane.createTask(run.fence, {
      ...made,
      ...(reason === undefined ? {} : { blockedReason: reason }),
      ...(due === undefined ? {} : { dueDate: yield* momentOf("dueDate", due) })
    })
    run.createdTaskIds?.add(task.taskId)
    return task
  })
})
