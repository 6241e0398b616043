import { Effect, Schema, Struct } from "effect"
import { TaskStatus } from "../../domain/DeliveryContext.ts"
import { agentTaskStatuses } from "../../domain/TaskStatus.ts"
import { actsOnTask, defineTool, hasTask, otherTask } from "./AgentTool.ts"
import { checkStatus, maySetDone } from "./StatusRules.ts"
import { blockedReason, taskId } from "./ToolParameters.ts"

const parametersWith = <const Status extends string>(statuses: ReadonlyArray<Status>) =>
  Schema.Struct({
    taskId,
    status: Schema.Literals(statuses).annotate({ description: "The status to set." }),
    blockedReason
  })

const withoutDone = parametersWith(agentTaskStatuses.filter((status) => status !== "done"))
const parameters = parametersWith(agentTaskStatuses)

/** Moves a task; the shortest allowed path is taken in one transaction of the control plane. */
export const taskStatusTool = defineTool({
  name: "task_status",
  description:
    "Set the status of a task. Use it before you write about the change. Blocked needs blockedReason: what is missing, and who can provide it.",
  capability: "set a task's status",
  path: "/agent/task-status",
  parameters,
  parametersFor: (context) => (maySetDone(context) ? parameters : withoutDone),
  answer: Schema.Struct({
    taskId: Schema.String,
    status: TaskStatus,
    previousStatus: TaskStatus,
    changed: Schema.Boolean
  }),
  isEffect: true,
  isOffered: (context) => hasTask(context) && context.agent.flags.canModifyTaskStatus,
  run: Effect.fn("AgentTools.task_status")(function* (run, { blockedReason: given, status, taskId: id }) {
    if (!actsOnTask(run, id)) return yield* otherTask(run)
    const { reason } = yield* checkStatus(run.context, status, given)
    const change = yield* run.controlPlane.setTaskStatus(run.fence, {
      taskId: id,
      status,
      ...(reason === undefined ? {} : { blockedReason: reason })
    })
    return Struct.omit(change, ["path"])
  })
})
