import type { NotificationType } from "../schema.ts"

const owed: Record<NotificationType, string> = {
  mention: "the mention above",
  thread_update: "the message above",
  assignment: "this assignment",
  status_change: "the change of status",
  response_request: "the request for a response"
}

/** What stands in the thread when an agent owed an answer and gave none; the same words for the same case. */
export const fallbackMessage = (agentName: string, type: NotificationType): string =>
  `${agentName} did not answer ${owed[type]}. The message was delivered, but no reply came back: ` +
  "please ask again, or assign someone else."
