/** Every status of a task, in the order of its life. */
export const taskStatuses = ["inbox", "assigned", "in_progress", "review", "done", "blocked", "archived"] as const

/** Where a task stands. */
export type TaskStatus = (typeof taskStatuses)[number]

/** The statuses an agent may ask for. */
export const agentTaskStatuses = ["in_progress", "review", "done", "blocked"] as const

/** The statuses one allowed move leads to. */
export const transitions: Readonly<Record<TaskStatus, ReadonlyArray<TaskStatus>>> = {
  inbox: ["assigned", "archived"],
  assigned: ["in_progress", "blocked", "inbox", "archived"],
  in_progress: ["review", "blocked", "archived"],
  review: ["done", "in_progress", "blocked", "archived"],
  done: ["archived"],
  blocked: ["assigned", "in_progress", "archived"],
  archived: []
}

/** What only a person may do beyond the transitions: a done task is reopened to review. */
export const personTransitions: Readonly<Partial<Record<TaskStatus, ReadonlyArray<TaskStatus>>>> = {
  done: ["review"]
}

/** A status a task may pass on its way: one that neither ends it, nor needs a reason, nor takes its assignees away. */
const isPassable = (status: TaskStatus): boolean =>
  status === "assigned" || status === "in_progress" || status === "review"

/** Whether a task in this status must have an assignee. */
export const needsAssignee = (status: TaskStatus): boolean => status === "assigned" || status === "in_progress"

/** Who asks for the move, and how many assignees the task has (one when nothing is said). */
export interface MoveOptions {
  readonly isPerson?: boolean
  readonly assigneeCount?: number
}

/**
 * The shortest allowed way from one status to another, without the first and with the last step; empty when they are
 * the same, null when there is none. It passes only through assigned, in_progress and review, and through the first
 * two only when the task has an assignee.
 */
export const pathTo = (
  from: TaskStatus,
  to: TaskStatus,
  options: MoveOptions = {}
): ReadonlyArray<TaskStatus> | null => {
  if (from === to) return []
  const hasAssignee = (options.assigneeCount ?? 1) > 0
  const seen = new Set<TaskStatus>([from])
  let paths: Array<ReadonlyArray<TaskStatus>> = [[]]
  while (paths.length > 0) {
    const longer: Array<ReadonlyArray<TaskStatus>> = []
    for (const path of paths) {
      const at = path.at(-1) ?? from
      const steps = options.isPerson === true ? [...transitions[at], ...(personTransitions[at] ?? [])] : transitions[at]
      for (const step of steps) {
        if (seen.has(step) || (needsAssignee(step) && !hasAssignee)) continue
        if (step === to) return [...path, step]
        seen.add(step)
        if (isPassable(step)) longer.push([...path, step])
      }
    }
    paths = longer
  }
  return null
}

/** What of an agent decides about the statuses it may set. */
export interface StatusSetter {
  readonly isOrchestrator: boolean
  readonly flags: {
    readonly canModifyTaskStatus: boolean
    readonly canReviewTasks: boolean
    readonly canMarkDone: boolean
  }
}

/** Whether the agent reviews tasks: the orchestrator does, and whoever has canReviewTasks. */
export const isReviewer = (agent: {
  readonly isOrchestrator: boolean
  readonly flags: { readonly canReviewTasks: boolean }
}): boolean => agent.isOrchestrator || agent.flags.canReviewTasks

/** Whether the agent may set a task of this status to done: only from review, as a reviewer or with canMarkDone. */
export const canAgentMarkDone = (agent: StatusSetter, status: TaskStatus): boolean =>
  status === "review" && agent.flags.canModifyTaskStatus && (isReviewer(agent) || agent.flags.canMarkDone)

/**
 * The statuses the agent may set on a task of this status now, in the order of the task's life; the one answer for
 * prompt, tool, endpoint and control plane. A task in the inbox has no assignee, so an agent cannot move it.
 */
export const nextStatusesFor = (
  agent: StatusSetter,
  status: TaskStatus,
  assigneeCount = status === "inbox" ? 0 : 1
): ReadonlyArray<TaskStatus> =>
  agent.flags.canModifyTaskStatus
    ? agentTaskStatuses.filter((to) => {
        if (to === status) return false
        if (to === "done") return canAgentMarkDone(agent, status)
        return pathTo(status, to, { assigneeCount }) !== null
      })
    : []
