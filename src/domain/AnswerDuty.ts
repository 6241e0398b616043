import type { FoldedNotification } from "./DeliveryContext.ts"

/** Whether somebody waits for an answer: an assignment, a mention, a request, or a person's message. */
export const isAnswerOwed = (accepted: ReadonlyArray<FoldedNotification>): boolean =>
  accepted.some((row) => (row.type === "thread_update" ? row.actor.type === "person" : row.type !== "status_change"))
