import { isReviewer } from "../shared/TaskStatus.ts"
import type { DeliveryContext, NotificationEvent } from "./DeliveryContext.ts"
import type { RefusedEvent } from "./Run.ts"

/** Whether an agent gets an event, and the reason, which is stored and shown. */
export interface Verdict {
  readonly shouldDeliver: boolean
  readonly reason: string
}

const yes = (reason: string): Verdict => ({ shouldDeliver: true, reason })
const no = (reason: string): Verdict => ({ shouldDeliver: false, reason })

const updateWrittenByAgent = (context: DeliveryContext, event: NotificationEvent): Verdict => {
  const { agent, task } = context
  const wroteItself = event.actor.id === agent.id
  const writtenByOrchestrator = context.orchestrator !== null && event.actor.id === context.orchestrator.id
  const reviewsThis = task !== null && task.status === "review" && isReviewer(agent)
  if (wroteItself) return no("the recipient wrote it")
  // Answering updates would let two agents chat endlessly, so only the orchestrator's answers are delivered.
  if (event.message?.answersType === "thread_update") {
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
 * Whether the agent should get this event of the notification, with the reason. An assignment or a change of status is
 * judged by the present state of the task, because other changes may have followed.
 * Order matters: the first rule that applies decides (contract of the notifications table).
 */
export const shouldDeliverToAgent = (context: DeliveryContext, event: NotificationEvent): Verdict => {
  const { agent, task } = context
  const byPerson = event.actor.type === "person"
  const byOrchestrator = context.orchestrator !== null && event.actor.id === context.orchestrator.id
  // If the control plane finds that the task was removed, it returns a broken context, which is skipped too.
  if (task === null) return no("the task is gone")
  if (task.isOrchestratorChat) {
    return agent.isOrchestrator ? yes("orchestrator chat") : no("orchestrator chat is the orchestrator's")
  }
  if (task.status === "archived") {
    return event.type === "mention" && byPerson ? yes("a person mentioned the agent") : no("task archived")
  }
  if (event.type === "thread_update" && task.status === "done") return no("update on a done task")
  if (event.type === "thread_update" && task.status === "blocked" && !byPerson && !byOrchestrator) {
    return no("update on a blocked task by an agent")
  }
  if (event.type === "assignment") {
    // Work starts when the task is unblocked, of which its assignees are notified.
    if (task.status === "done" || task.status === "blocked") return no(`assignment on a ${task.status} task`)
    if (!context.recipientIsAssignee) return no("no longer assigned")
  }
  if (event.type === "status_change") {
    if (event.newStatus !== task.status) return no(`no longer true: the task is ${task.status}`)
    if (task.status === "done" || task.status === "blocked") return no(`status became ${task.status}`)
    if (task.status === "review" && !isReviewer(agent)) return no("review concerns reviewers")
  }
  if (event.type === "thread_update" && event.actor.type === "agent") return updateWrittenByAgent(context, event)
  return yes(event.type)
}

/** The notification's events by verdict: those that the turn answers, and those that are refused with a reason. */
export interface DividedEvents {
  readonly accepted: ReadonlyArray<NotificationEvent>
  readonly refused: ReadonlyArray<RefusedEvent>
}

/** Applies the policy to every event. */
export const divideEvents = (context: DeliveryContext): DividedEvents => {
  const judged = context.events.map((event) => ({ event, ...shouldDeliverToAgent(context, event) }))
  return {
    accepted: judged.filter(({ shouldDeliver }) => shouldDeliver).map(({ event }) => event),
    refused: judged
      .filter(({ shouldDeliver }) => !shouldDeliver)
      .map(({ event, reason }) => ({ event: event.index, reason }))
  }
}
