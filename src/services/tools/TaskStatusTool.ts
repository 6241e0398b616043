import { Effect, Schema } from "effect"
import { agentTaskStatuses, canAgentMarkDone, nextStatusesFor } from "../../domain/TaskStatus.ts"
import { actsOnTask, defineTool, ToolRejected } from "./AgentTool.ts"

/** Moves a task; the shortest allowed path is taken in one transaction of the control plane. */
export const taskStatusTool = defineTool({
  name: "task_status",
  description:
    "Set the status of a task. Use it before you write about the change. Blocked needs blockedReason: what is missing, and who can provide it.",
  capability: "set a task's status (in_progress, review, done, blocked)",
  parameters: Schema.Struct({
    taskId: Schema.NonEmptyString.annotate({ description: "The task's id, as the request shows it." }),
    status: Schema.Literals(agentTaskStatuses).annotate({ description: "The status to set." }),
    blockedReason: Schema.optionalKey(
      Schema.String.annotate({ description: "Required for blocked: why the task cannot go on." })
    )
  }),
  isEffect: true,
  isOffered: ({ agent, task }) => task !== null && agent.flags.canModifyTaskStatus,
  run: Effect.fn("AgentTools.task_status")(function* ({ context, controlPlane, fence }, parameters) {
    const { blockedReason, status, taskId } = parameters
    const reason = blockedReason?.trim() ?? ""
    if (!actsOnTask(context, taskId)) {
      return yield* new ToolRejected({
        code: "forbidden",
        detail: `taskId: you may set the status of ${context.task?.id ?? "no task"} here, of no other`
      })
    }
    if (status === "blocked" && reason === "") {
      return yield* new ToolRejected({ code: "invalid", detail: "blockedReason: say why the task is blocked" })
    }
    const task =
      context.task?.id === taskId ? context.task : (yield* controlPlane.loadTask({ taskId, messageLimit: 1 })).task
    // The task may have moved since the prompt was written; only what no status allows is refused here.
    if (status === "done" && !canAgentMarkDone(context.agent, "review")) {
      return yield* new ToolRejected({
        code: "forbidden",
        detail: `status: you may not set done; you may set ${nextStatusesFor(context.agent, task.status, task.assignees.length).join(", ") || "nothing"}`
      })
    }
    const change = yield* controlPlane.setTaskStatus(fence, {
      taskId,
      status,
      ...(status === "blocked" ? { blockedReason: reason } : {})
    })
    return {
      taskId: change.taskId,
      status: change.status,
      previousStatus: change.previousStatus,
      changed: change.changed
    }
  })
})
