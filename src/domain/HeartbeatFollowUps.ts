import type { HeartbeatContext, HeartbeatTask } from "./Heartbeat.ts"

/** At most this many in one heartbeat, so that a bad day does not become a flood. */
const FOLLOW_UPS = 3
const SILENT_MILLIS = 15 * 60_000
const SILENT_WHEN_BLOCKED_MILLIS = 24 * 60 * 60_000

/** Since when the assignees have been silent; epoch milliseconds. */
const silentSince = ({ lastAssigneeAt, task }: HeartbeatTask): number => lastAssigneeAt ?? task.updatedAt

const isOverdue = (row: HeartbeatTask, now: number): boolean => {
  const { assignees, status } = row.task
  if (assignees.length === 0) return false
  const silent = now - silentSince(row)
  switch (status) {
    case "assigned":
    case "in_progress":
      return silent >= SILENT_MILLIS
    case "blocked":
      return silent >= SILENT_WHEN_BLOCKED_MILLIS
    default:
      return false
  }
}

/**
 * The tasks whose assignees the orchestrator should ask in this heartbeat: silent for 15 minutes, for a day when blocked,
 * the longest silent first, three at most. No other agent follows up. `now` is the control plane's epoch milliseconds.
 */
export const followUpsOf = (context: HeartbeatContext, now: number): ReadonlyArray<HeartbeatTask> =>
  context.agent.isOrchestrator
    ? context.tasks
        .filter((row) => isOverdue(row, now))
        .toSorted((left, right) => silentSince(left) - silentSince(right))
        .slice(0, FOLLOW_UPS)
    : []
