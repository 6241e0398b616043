import type { NotificationEvent } from "./DeliveryContext.ts"

/** Whether an answer is owed to these events: to an assignment, a mention, a request, or a person's message. */
export const isAnswerOwed = (accepted: ReadonlyArray<NotificationEvent>): boolean =>
  accepted.some(({ actor, type }) => (type === "thread_update" ? actor.type === "person" : type !== "status_change"))
