import type { NotificationEvent } from "./DeliveryContext.ts"

/** Whether an answer is owed: to an assignment, a mention, a response request, or a person's message. */
export const isAnswerOwed = (accepted: ReadonlyArray<NotificationEvent>): boolean =>
  accepted.some(({ actor, type }) => (type === "thread_update" ? actor.type === "person" : type !== "status_change"))

/**
 * Whether the agent may decline an owed answer with NO_ACTION. A message can be a thank-you, but assignments and
 * response requests need an answer.
 */
export const mayDecline = (accepted: ReadonlyArray<NotificationEvent>): boolean =>
  accepted.every(({ type }) => type !== "assignment" && type !== "response_request")
