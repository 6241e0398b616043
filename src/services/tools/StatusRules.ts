import { Effect } from "effect"
import { canAgentMarkDone, nextStatusesFor } from "../../domain/TaskStatus.ts"
import type { RunContext } from "./AgentTool.ts"
import { ToolRejected } from "./AgentTool.ts"

/** Whether the run could set any task to done: a heartbeat never, others if their agent may end a review. */
export const maySetDone = (context: RunContext): boolean =>
  context.heartbeat === undefined && canAgentMarkDone(context.agent, "review")

/**
 * What can be said of a wanted status before the task is read: no agent without the right asks for done, no block goes
 * without a reason. The task may have moved since the prompt was written, so the rest is the control plane's to decide.
 */
export const checkStatus = Effect.fnUntraced(function* (
  context: RunContext,
  status: string | undefined,
  blockedReason: string | undefined
) {
  if (status === "done" && !maySetDone(context)) {
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
