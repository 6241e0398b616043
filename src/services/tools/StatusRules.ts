import { Effect, Schema } from "effect"
import { TaskStatus } from "../../domain/delivery/DeliveryContext.ts"
import { agentTaskStatuses, canAgentMarkDone, nextStatusesFor } from "../../domain/shared/TaskStatus.ts"
import { ToolRejected } from "./AgentTool.ts"
import type { RunContext, ToolAgent } from "./AgentTool.ts"

const settable = <const Status extends string>(statuses: ReadonlyArray<Status>) =>
  Schema.Literals(statuses).annotate({ description: "The status to set." })

/** The statuses that an agent may set, and those without `done`. */
export const anyStatus = settable(agentTaskStatuses)
export const anyStatusButDone = settable(agentTaskStatuses.filter((status) => status !== "done"))

/** Why nothing was changed, if a person decided otherwise during the turn. */
export const keptReason = Schema.optionalKey(Schema.String)

/** The status of a task after and before a change. */
export const changedStatus = Schema.Struct({
  taskId: Schema.String,
  status: TaskStatus,
  previousStatus: TaskStatus,
  changed: Schema.Boolean,
  reason: keptReason
})

/** Whether the agent may set tasks to done, which is the right to end a review. */
export const maySetDone = (agent: ToolAgent): boolean => canAgentMarkDone(agent, "review")

/**
 * Checks a wanted status without reading the task: done needs the right to set it, blocked needs a reason. The control
 * plane checks the rest, because the task may have changed since the prompt was written.
 */
export const checkStatus = Effect.fnUntraced(function* (
  context: RunContext,
  status: string | undefined,
  blockedReason: string | undefined
) {
  if (status === "done" && context.heartbeat !== undefined) {
    return yield* new ToolRejected({
      code: "forbidden",
      detail: "status: a heartbeat never sets done; set review, and done in the turn about that review"
    })
  }
  if (status === "done" && !maySetDone(context.agent)) {
    const { agent, task } = context
    const next = task === null ? [] : nextStatusesFor(agent, task.status, task.assignees.length)
    const allowed = next.filter((one) => one !== "done").join(", ")
    return yield* new ToolRejected({
      code: "forbidden",
      detail: `status: you may not set done; you may set ${allowed || "nothing"}`
    })
  }
  if (status !== "blocked") return {}
  const reason = blockedReason?.trim() ?? ""
  return reason === ""
    ? yield* new ToolRejected({ code: "invalid", detail: "blockedReason: say why the task is blocked" })
    : { reason }
})

/** Only the orchestrator chooses assignees, with any tool. */
export const checkAssignees = (
  context: RunContext,
  assigneeSlugs: ReadonlyArray<string> | undefined
): Effect.Effect<void, ToolRejected> =>
  assigneeSlugs === undefined || context.agent.isOrchestrator
    ? Effect.void
    : Effect.fail(new ToolRejected({ code: "forbidden", detail: "assigneeSlugs: only the orchestrator may assign" }))
