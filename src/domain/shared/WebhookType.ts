/** The events that a webhook can send. */
export const webhookTypes = [
  "question.asked",
  "approval.requested",
  "budget.warned",
  "budget.stopped",
  "limit.hops",
  "limit.turns",
  "dead_letter.created",
  "runtime.offline"
] as const
export type WebhookType = (typeof webhookTypes)[number]
