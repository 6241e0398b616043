import type { NotificationEvent } from "./DeliveryContext.ts"

/** Whether an answer is owed to these events: to an assignment, a mention, a request, or a person's message. */
export const isAnswerOwed = (accepted: ReadonlyArray<NotificationEvent>): boolean =>
  accepted.some(({ actor, type }) => (type === "thread_update" ? actor.type === "person" : type !== "status_change"))

/**
 * Whether the agent may decline an answer that is owed, by NO_ACTION: messages can be a word of thanks, but an assignment
 * and a request want an answer.
 */
export const mayDecline = (accepted: ReadonlyArray<NotificationEvent>): boolean =>
  accepted.every(({ type }) => type !== "assignment" && type !== "response_request")
