import type { HeartbeatContext, HeartbeatTask } from "./Heartbeat.ts"

/** Maximum number of follow-ups in one heartbeat. */
const FOLLOW_UPS = 3
/** The part of these that is reserved for blocked tasks, so that they get neither all of them nor none. */
const BLOCKED_FOLLOW_UPS = 1
const SILENT_MILLIS = 15 * 60_000
const SILENT_WHEN_BLOCKED_MILLIS = 24 * 60 * 60_000

/**
 * Since when the task has been waiting, in epoch milliseconds. A review waits for anyone, other tasks for their
 * assignees.
 */
const waitsSince = ({ lastAssigneeAt, lastMessageAt, task }: HeartbeatTask): number =>
  task.status === "review" ? Math.max(task.updatedAt, lastMessageAt ?? 0) : (lastAssigneeAt ?? task.updatedAt)

const isOverdue = (row: HeartbeatTask, now: number): boolean => {
  const { assignees, status } = row.task
  const waits = now - waitsSince(row)
  switch (status) {
    case "review":
      return waits >= SILENT_MILLIS
    case "assigned":
    case "in_progress":
      return assignees.length > 0 && waits >= SILENT_MILLIS
    case "blocked":
      return assignees.length > 0 && waits >= SILENT_WHEN_BLOCKED_MILLIS
    default:
      return false
  }
}

/** The fractions of its multiples are spread evenly over 0 to 1, for any interval between heartbeats. */
const GOLDEN_RATIO = 0.618_033_988_749_895

/** The tasks starting at a different position in each heartbeat, so that each one comes first at some time. */
const rotated = (rows: ReadonlyArray<HeartbeatTask>, dueAt: number): ReadonlyArray<HeartbeatTask> => {
  const start = Math.floor((((dueAt / 60_000) * GOLDEN_RATIO) % 1) * rows.length)
  return [...rows.slice(start), ...rows.slice(0, start)]
}

/**
 * The tasks that the orchestrator should follow up on in this heartbeat, three at most: those whose assignees have been
 * silent for 15 minutes (a day if blocked), and reviews without activity for 15 minutes. At most one is blocked unless
 * fewer than two others are due. If more are due, they alternate. In the order of the context, which is by status. Only
 * the orchestrator follows up. `now` is the control plane's epoch milliseconds.
 */
export const followUpsOf = (context: HeartbeatContext, now: number): ReadonlyArray<HeartbeatTask> => {
  if (!context.agent.isOrchestrator) return []
  const due = context.tasks.filter((row) => isOverdue(row, now))
  const { dueAt } = context.heartbeat
  const isBlocked = ({ task }: HeartbeatTask): boolean => task.status === "blocked"
  const blocked = rotated(due.filter(isBlocked), dueAt)
  const others = rotated(
    due.filter((row) => !isBlocked(row)),
    dueAt
  ).slice(0, FOLLOW_UPS - Math.min(BLOCKED_FOLLOW_UPS, blocked.length))
  const chosen = new Set([...others, ...blocked.slice(0, FOLLOW_UPS - others.length)])
  return due.filter((row) => chosen.has(row))
}
