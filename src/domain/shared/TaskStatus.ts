/** Every status of a task, in order of a task's life. */
export const taskStatuses = ["inbox", "assigned", "in_progress", "review", "done", "blocked", "archived"] as const

/** The status of a task. */
export type TaskStatus = (typeof taskStatuses)[number]

/** The statuses that an agent may set. */
export const agentTaskStatuses = ["in_progress", "review", "done", "blocked"] as const

/** The statuses that one allowed step leads to. */
export const transitions: Readonly<Record<TaskStatus, ReadonlyArray<TaskStatus>>> = {
  inbox: ["assigned", "archived"],
  assigned: ["in_progress", "blocked", "inbox", "archived"],
  in_progress: ["review", "blocked", "archived"],
  review: ["done", "in_progress", "blocked", "archived"],
  done: ["archived"],
  blocked: ["assigned", "in_progress", "archived"],
  archived: []
}

/** A step that only a person may take: reopening a done task for review. */
export const personTransitions: Readonly<Partial<Record<TaskStatus, ReadonlyArray<TaskStatus>>>> = {
  done: ["review"]
}

/** Statuses that a path may pass through: they do not end the task, need no reason and keep its assignees. */
const isPassable = (status: TaskStatus): boolean =>
  status === "assigned" || status === "in_progress" || status === "review"

/** Whether a task in this status must have an assignee. */
export const needsAssignee = (status: TaskStatus): boolean => status === "assigned" || status === "in_progress"

/** Who wants the change, and how many assignees the task has (default one). */
export interface MoveOptions {
  readonly isPerson?: boolean
  readonly assigneeCount?: number
}

/**
 * The shortest allowed path from one status to another, without the first and with the last status; empty if they are
 * the same, null if there is none. It passes only through assigned, in_progress and review, and through the first
 * two only if the task has an assignee.
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

/** The properties of an agent that decide which statuses it may set. */
export interface StatusSetter {
  readonly isOrchestrator: boolean
  readonly flags: {
    readonly canModifyTaskStatus: boolean
    readonly canReviewTasks: boolean
    readonly canMarkDone: boolean
  }
}

/** Whether the agent reviews tasks: the orchestrator and agents with canReviewTasks do. */
export const isReviewer = (agent: {
  readonly isOrchestrator: boolean
  readonly flags: { readonly canReviewTasks: boolean }
}): boolean => agent.isOrchestrator || agent.flags.canReviewTasks

/** Whether the agent may set a task with this status to done: only from review, as a reviewer or with canMarkDone. */
export const canAgentMarkDone = (agent: StatusSetter, status: TaskStatus): boolean =>
  status === "review" && agent.flags.canModifyTaskStatus && (isReviewer(agent) || agent.flags.canMarkDone)

/**
 * The statuses that the agent may set on a task with this status, in order of a task's life. Prompt, tools, endpoints
 * and control plane all use this. A task in the inbox has no assignee, so an agent cannot move it.
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
