import { canAgentMarkDone, nextStatusesFor, type TaskStatus } from "../../../src/domain/shared/TaskStatus.ts"
import type { Doc } from "../../_generated/dataModel.js"
import { byPolicy, refusal } from "../access/refusal.ts"
import { mustActOn, mustHaveFlag, type Run } from "../runs/runs.ts"

/** Fails with `forbidden` or `invalid` unless the run's agent may set the task to this status now. */
export const mustMayMove = (run: Run, task: Doc<"tasks">, to: TaskStatus): void => {
  mustHaveFlag(run, "canModifyTaskStatus")
  mustActOn(run, task)
  if (to === task.status) return
  const agent = { isOrchestrator: run.agent.isOrchestrator, flags: run.flags }
  if (to === "done" && run.kind === "heartbeat") {
    throw refusal("forbidden", "A heartbeat cannot set done. Leave that to the review.", byPolicy)
  }
  if (to === "done" && task.status === "review" && !canAgentMarkDone(agent, task.status)) {
    throw refusal("forbidden", "Only a reviewer or an agent with canMarkDone may set done. Ask for a review.", byPolicy)
  }
  const next = nextStatusesFor(agent, task.status, task.assigneeIds.length)
  if (!next.includes(to)) {
    const allowed = next.length === 0 ? "no other status" : next.join(", ")
    throw refusal("invalid", `A task in ${task.status} cannot be set to ${to} by this agent. Allowed: ${allowed}.`)
  }
}
