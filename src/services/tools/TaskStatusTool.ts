import { Effect, Schema, Struct } from "effect"
import { actsOnTask, defineTool, otherTask } from "./AgentTool.ts"
import { anyStatus, anyStatusButDone, changedStatus, checkStatus, maySetDone } from "./StatusRules.ts"
import { blockedReason, taskId } from "./ToolParameters.ts"

const withoutDone = Schema.Struct({ taskId, status: anyStatusButDone, blockedReason })
const parameters = Schema.Struct({ taskId, status: anyStatus, blockedReason })

/** Moves a task; the shortest allowed path is taken in one transaction of the control plane. */
export const taskStatusTool = defineTool({
  name: "task_status",
  description:
    "Set the status of a task, before you write about the change. Blocked needs blockedReason: what is missing and who can provide it.",
  capability: "set a task's status",
  path: "/agent/task-status",
  parameters,
  parametersFor: (agent) => (maySetDone(agent) ? parameters : withoutDone),
  answer: changedStatus,
  isEffect: true,
  isOffered: ({ flags }) => flags.canModifyTaskStatus,
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
