import type { BeatContext, BeatTask } from "./Heartbeat.ts"

/** At most so many in one beat, so that a bad day does not become a flood. */
const FOLLOW_UPS = 3
const SILENT_MILLIS = 15 * 60_000
const SILENT_WHEN_BLOCKED_MILLIS = 24 * 60 * 60_000

/** Since when nobody to whom the task is assigned gave a sign; epoch milliseconds. */
const silentSince = ({ lastAssigneeAt, task }: BeatTask): number => lastAssigneeAt ?? task.updatedAt

const isOverdue = (row: BeatTask, now: number): boolean => {
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
 * The tasks whose assignees the orchestrator should ask in this beat: silent for 15 minutes, for a day when blocked,
 * the longest silent first, three at most. Nobody else follows up. `now` is the control plane's epoch milliseconds.
 */
export const followUpsOf = (context: BeatContext, now: number): ReadonlyArray<BeatTask> =>
  context.agent.isOrchestrator
    ? context.tasks
        .filter((row) => isOverdue(row, now))
        .toSorted((left, right) => silentSince(left) - silentSince(right))
        .slice(0, FOLLOW_UPS)
    : []
