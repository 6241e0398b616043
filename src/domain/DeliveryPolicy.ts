import type { DeliveryContext, FoldedNotification } from "./DeliveryContext.ts"
import { isReviewer } from "./TaskStatus.ts"

/** Whether an agent gets a notification, and why; the reason is counted and shown. */
export interface Verdict {
  readonly shouldDeliver: boolean
  readonly reason: string
}

const yes = (reason: string): Verdict => ({ shouldDeliver: true, reason })
const no = (reason: string): Verdict => ({ shouldDeliver: false, reason })

const updateWrittenByAgent = (context: DeliveryContext, row: FoldedNotification): Verdict => {
  const { agent, task } = context
  const wroteItself = row.actor.id === agent.id
  const writtenByOrchestrator = context.orchestrator !== null && row.actor.id === context.orchestrator.id
  const reviewsThis = task !== null && task.status === "review" && isReviewer(agent)
  if (wroteItself) return no("the recipient wrote it")
  // An answer to an update is where two agents start to chat for ever: only the orchestrator may carry that on.
  if (row.message?.answersType === "thread_update") {
    if (!writtenByOrchestrator)
      return agent.isOrchestrator ? yes("orchestrator follows agents") : no("answer to an update")
    return context.recipientIsAssignee || reviewsThis
      ? yes("the orchestrator answered an update")
      : no("answer to an update, recipient neither assigned nor reviewing")
  }
  if (agent.isOrchestrator) return yes("orchestrator follows agents")
  if (reviewsThis) return yes("reviewer of a task in review")
  return context.recipientIsAssignee ? yes("assignee") : no("an agent wrote it and the recipient is not assigned")
}

/**
 * Whether the agent should get this notification of the fold, and if not, why.
 * Order matters: the first rule that applies decides (contract of the notifications table).
 */
export const shouldDeliverToAgent = (context: DeliveryContext, row: FoldedNotification): Verdict => {
  const { agent, task } = context
  const byPerson = row.actor.type === "person"
  const byOrchestrator = context.orchestrator !== null && row.actor.id === context.orchestrator.id
  // Where the control plane finds that agent or task have vanished, it answers a broken context, which ends skipped too.
  if (task === null) return no("the task is gone")
  if (task.isOrchestratorChat) {
    return agent.isOrchestrator ? yes("orchestrator chat") : no("orchestrator chat is the orchestrator's")
  }
  if (task.status === "archived") {
    return row.type === "mention" && byPerson ? yes("a person mentioned the agent") : no("task archived")
  }
  if (row.type === "thread_update" && task.status === "done") return no("update on a done task")
  if (row.type === "thread_update" && task.status === "blocked" && !byPerson && !byOrchestrator) {
    return no("update on a blocked task by an agent")
  }
  if (row.type === "status_change") {
    if (row.newStatus === "done" || row.newStatus === "blocked") return no(`status became ${row.newStatus}`)
    if (row.newStatus === "review" && !isReviewer(agent)) return no("review concerns reviewers")
  }
  if (row.type === "thread_update" && row.actor.type === "agent") return updateWrittenByAgent(context, row)
  return yes(row.type)
}

/** The fold divided by the policy: rows the turn answers, and rows that end skipped with their reason. */
export const divideFold = (
  context: DeliveryContext
): {
  readonly accepted: ReadonlyArray<FoldedNotification>
  readonly refused: ReadonlyArray<{ readonly id: string; readonly reason: string }>
} => {
  const verdicts = context.fold.map((row) => ({ row, verdict: shouldDeliverToAgent(context, row) }))
  return {
    accepted: verdicts.filter(({ verdict }) => verdict.shouldDeliver).map(({ row }) => row),
    refused: verdicts
      .filter(({ verdict }) => !verdict.shouldDeliver)
      .map(({ row, verdict }) => ({ id: row.id, reason: verdict.reason }))
  }
}
