import type { NotificationType } from "../../tables/notifications.ts"

/** How the last attempt failed: the class and the message that the notification stores. */
export interface Cause {
  readonly class: string
  readonly message: string
}

const owed: Record<NotificationType, string> = {
  mention: "the mention above",
  thread_update: "the message above",
  assignment: "this assignment",
  status_change: "the change of status",
  response_request: "the request for a response"
}

const SILENT =
  "It was asked, but did not respond. Ask again in other words, or assign another agent. An operator may have to check its model."
const TOO_LONG =
  "The request is too long for its model. Ask an operator to start a new session for the agent, or shorten the task and its documents."
const INSIDE =
  "The runtime could not finish the delivery. Ask an operator to check the dead letter and the runtime's log, and to retry it."

/** What happened and what a person can do, by the class of the last failure. */
const causes: Readonly<Record<string, string>> = {
  TurnSilent: SILENT,
  ContextOverflow: TOO_LONG,
  TurnAmbiguous:
    "The gateway reported an internal error without a cause. The usual causes are a model that returns nothing and a session that is too long for the model. Ask again, or ask an operator to start a new session for the agent.",
  TurnRefused:
    "The model's provider refused the request. Ask an operator to check the agent's model and the gateway's log.",
  ProviderFailed:
    "The model's provider has failed for a day. Ask an operator to check the provider's account, key and limits, and to retry the dead letter.",
  TurnTimeout:
    "Its turn took longer than allowed and was aborted. Changes that its tools made until then stay. Ask for a smaller step, or ask an operator to raise TURN_TIMEOUT_MS.",
  ConnectionLost:
    "The connection to the gateway broke while the agent worked. Ask again, or ask an operator to check the gateway's log for crashes.",
  TurnUnreadable:
    "The gateway's answer could not be read. Ask an operator to check the gateway's version, and any proxy between it and the runtime.",
  UnknownAgent:
    "The gateway has not known the agent for a day. Ask an operator to add it to the gateway's configuration, and to retry the dead letter.",
  GatewayRestarted:
    "The gateway has kept restarting for a day. Ask an operator to check its log, and to retry the dead letter.",
  AttemptsSpent:
    "The runtime itself stopped during its attempts. Ask an operator to check the runtime's log, and to retry the dead letter."
}

/** How providers refuse a request that exceeds the model's context, and the gateway one that is too large. */
const tooLong =
  /context[ _-]?(?:length|window|size|limit)|too (?:long|large)|HTTP 413|token limit|maximum.{0,40}tokens/i

/** Says which agent did not answer what, why, and what a person can do. The text depends only on the arguments. */
export const fallbackMessage = (agentName: string, type: NotificationType, cause: Cause): string => {
  const isTooLong = cause.class === "TurnRefused" && tooLong.test(cause.message)
  const why = isTooLong ? TOO_LONG : (causes[cause.class] ?? INSIDE)
  return `${agentName} did not answer ${owed[type]}. ${why}`
}
