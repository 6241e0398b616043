import { Schema } from "effect"
import type { RunCause } from "../gateway/GatewayEvent.ts"
import type { GatewayAnswer } from "../gateway/GatewayResponse.ts"
import { Usage } from "./Run.ts"

const Detail = { detail: Schema.String }
/** The usage of the failed run, if the gateway reports it. */
const Reported = { usage: Schema.optionalKey(Usage) }
const RetryAfter = { retryAfterMillis: Schema.optionalKey(Schema.Finite) }

/** The gateway could not be reached, or is draining: nothing was sent. Shared: feeds the breaker. */
export class GatewayUnreachable extends Schema.TaggedError<GatewayUnreachable>()("GatewayUnreachable", {
  ...Detail,
  ...RetryAfter
}) {}

/** The connection broke after the request was written, or a proxy gave up on it: the run may have begun. Own. */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>()("ConnectionLost", Detail) {}

/**
 * The gateway answers but is not configured for the runtime (token, endpoint, tools); `fix` says what to do. Shared.
 */
export class GatewayMisconfigured extends Schema.TaggedError<GatewayMisconfigured>()("GatewayMisconfigured", {
  ...Detail,
  fix: Schema.String
}) {}

/** The gateway does not know the agent. Shared, for that agent only. */
export class UnknownAgent extends Schema.TaggedError<UnknownAgent>()("UnknownAgent", {
  ...Detail,
  agentSlug: Schema.String
}) {}

/** The gateway or the provider refused this turn. Own; the same refusal twice is final. */
export class TurnRefused extends Schema.TaggedError<TurnRefused>()("TurnRefused", {
  ...Detail,
  ...Reported,
  status: Schema.Finite
}) {}

/** The model's provider failed. Shared. */
export class ProviderFailed extends Schema.TaggedError<ProviderFailed>()("ProviderFailed", {
  ...Detail,
  ...Reported,
  status: Schema.Finite,
  ...RetryAfter
}) {}

/** A completed turn without calls and without text. A silence, so the no-response policy decides. */
export class TurnSilent extends Schema.TaggedError<TurnSilent>()("TurnSilent", { ...Detail, ...Reported }) {}

/** The session's history no longer fits into the model's context. Own: the next attempt starts a new generation. */
export class ContextOverflow extends Schema.TaggedError<ContextOverflow>()("ContextOverflow", {
  ...Detail,
  ...Reported
}) {}

/** A person stopped the turn in OpenClaw. Its run ends as stopped. */
export class TurnStopped extends Schema.TaggedError<TurnStopped>()("TurnStopped", { ...Detail, ...Reported }) {}

/**
 * "internal error": a silence, a provider's cooldown, a context overflow, a stop or a bad key. The answer does not say
 * which; an event of the gateway may.
 */
export class TurnAmbiguous extends Schema.TaggedError<TurnAmbiguous>()("TurnAmbiguous", {
  ...Detail,
  ...Reported,
  /** The gateway's id of the response and of its run. */
  responseId: Schema.optionalKey(Schema.String)
}) {}

/**
 * "internal error" just after a start of the gateway, which may be continuing an interrupted turn of the session.
 * Shared.
 */
export class GatewayRestarted extends Schema.TaggedError<GatewayRestarted>()("GatewayRestarted", Detail) {}

/** The turn exceeded its deadline and was aborted. Own, unless its provider fails. */
export class TurnTimeout extends Schema.TaggedError<TurnTimeout>()("TurnTimeout", Detail) {}

/** A success in an unknown format. Own. */
export class TurnUnreadable extends Schema.TaggedError<TurnUnreadable>()("TurnUnreadable", Detail) {}

/** All failures of a turn. `blameOf` says whose failure each one is. */
export type TurnFailure =
  | GatewayUnreachable
  | ConnectionLost
  | GatewayMisconfigured
  | UnknownAgent
  | TurnRefused
  | ProviderFailed
  | TurnSilent
  | ContextOverflow
  | TurnStopped
  | TurnAmbiguous
  | GatewayRestarted
  | TurnTimeout
  | TurnUnreadable

const tags: ReadonlySet<string> = new Set([
  "GatewayUnreachable",
  "ConnectionLost",
  "GatewayMisconfigured",
  "UnknownAgent",
  "TurnRefused",
  "ProviderFailed",
  "TurnSilent",
  "ContextOverflow",
  "TurnStopped",
  "TurnAmbiguous",
  "GatewayRestarted",
  "TurnTimeout",
  "TurnUnreadable"
] satisfies ReadonlyArray<TurnFailure["_tag"]>)

/** Whether the failure is the turn's and not the control plane's. */
export const isTurnFailure = (failure: { readonly _tag: string }): failure is TurnFailure => tags.has(failure._tag)

/** Whose failure it is: the notification's own (costs an attempt), shared (gateway or provider), or a silence. */
export type Blame = "own" | "shared" | "silence"

/** What other turns of this process show about the provider. */
export interface ProviderSeen {
  /** It failed within the last 120 s, the gateway's cooldown. */
  readonly hasFailedRecently: boolean
  /** It failed during the turn or in the cooldown before it, and no round of any turn has completed since. */
  readonly isFailing: boolean
}

/** Whose failure it is, given what other turns show about the provider. */
export const blameOf = (failure: TurnFailure, { hasFailedRecently, isFailing }: ProviderSeen): Blame => {
  switch (failure._tag) {
    case "GatewayUnreachable":
    case "GatewayMisconfigured":
    case "UnknownAgent":
    case "ProviderFailed":
    case "GatewayRestarted":
      return "shared"
    case "TurnSilent":
      return "silence"
    case "TurnAmbiguous":
      return hasFailedRecently ? "shared" : "silence"
    case "TurnTimeout":
      return isFailing ? "shared" : "own"
    case "ConnectionLost":
    case "TurnRefused":
    case "TurnUnreadable":
    case "ContextOverflow":
    case "TurnStopped":
      return "own"
  }
}

/** "internal error" can be a provider's cooldown, which lasts a minute. */
const AMBIGUOUS_RETRY_MILLIS = 60_000
const MISCONFIGURED_RETRY_MILLIS = 30_000
/** The gateway may still be recovering a session. */
const RESTARTED_RETRY_MILLIS = 5_000

/** Minimum delay of a retry after the failure, in milliseconds. */
export const minimumRetryMillis = (failure: TurnFailure): number => {
  switch (failure._tag) {
    case "TurnAmbiguous":
      return AMBIGUOUS_RETRY_MILLIS
    case "GatewayMisconfigured":
      return MISCONFIGURED_RETRY_MILLIS
    case "GatewayRestarted":
      return RESTARTED_RETRY_MILLIS
    default:
      return "retryAfterMillis" in failure ? (failure.retryAfterMillis ?? 0) : 0
  }
}

const TOOL_FIX =
  "a tool has the name of an enabled built-in tool, or is listed twice: find the name in the gateway's log, then rename the tool or deny the built-in one in tools.deny"

const refused = (
  agentSlug: string,
  status: number,
  message: string,
  retryAfterMillis: number | undefined
): TurnFailure => {
  const detail = `HTTP ${status}: ${message}`
  switch (status) {
    case 401:
    case 403:
      return new GatewayMisconfigured({
        detail,
        fix: "the gateway refuses the token: set OPENCLAW_GATEWAY_TOKEN to its gateway.auth.token"
      })
    case 404:
    case 405:
      return new GatewayMisconfigured({
        detail,
        fix: "the gateway does not serve POST /v1/responses: set gateway.http.endpoints.responses.enabled to true, and check OPENCLAW_GATEWAY_URL"
      })
    case 400:
      if (/unknown agent/i.test(message)) return new UnknownAgent({ detail, agentSlug })
      return new TurnRefused({ detail, status })
    case 413:
    case 422:
      return new TurnRefused({ detail, status })
    // The answer of a draining gateway, or of a proxy for one that is down or restarting: nothing ran.
    case 429:
    case 502:
    case 503:
      return new GatewayUnreachable({ detail, ...(retryAfterMillis === undefined ? {} : { retryAfterMillis }) })
    case 408:
    case 504:
      return new ConnectionLost({
        detail: `a proxy before the gateway gave up waiting, and the turn may have run: raise its read timeout above OPENCLAW_REQUEST_TIMEOUT_MS (${detail})`
      })
    default:
      return status >= 500
        ? new ConnectionLost({
            detail: `a proxy before the gateway failed, and the turn may have run: see the proxy's log (${detail})`
          })
        : new TurnRefused({ detail, status })
  }
}

/** The failure in an answer; none for a text or calls. */
export const failureOf = (
  agentSlug: string,
  answer: Exclude<GatewayAnswer, { readonly _tag: "Calls" | "Text" }>,
  retryAfterMillis?: number
): TurnFailure => {
  if (answer._tag === "Unreadable") {
    return new TurnUnreadable({ detail: `HTTP ${answer.status}: ${answer.detail}` })
  }
  if (/invalid tool configuration/i.test(answer.message)) {
    return new GatewayMisconfigured({ detail: `HTTP ${answer.status}: ${answer.message}`, fix: TOOL_FIX })
  }
  if (answer._tag === "Refused") return refused(agentSlug, answer.status, answer.message, retryAfterMillis)
  const { code, message, responseId, status } = answer
  const usage = answer.usage.inputTokens + answer.usage.outputTokens > 0 ? { usage: answer.usage } : {}
  const detail = `${code}: ${message} (HTTP ${status})`
  if (status === 500 && /internal error/i.test(message)) {
    return new TurnAmbiguous({ detail, ...usage, ...(responseId === undefined ? {} : { responseId }) })
  }
  if (status === 400 || status === 404 || status === 413 || status === 422)
    return new TurnRefused({ detail, status, ...usage })
  return new ProviderFailed({
    detail,
    status,
    ...usage,
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
  })
}

/** What an ambiguous failure was, by the event that ended its run; unchanged if the event does not say. */
export const failureByCause = (failure: TurnAmbiguous, cause: RunCause): TurnFailure => {
  const usage = failure.usage === undefined ? {} : { usage: failure.usage }
  switch (cause._tag) {
    case "ContextOverflow":
      return new ContextOverflow({ detail: `the session is too long for its model: ${cause.detail}`, ...usage })
    case "Stopped":
      return new TurnStopped({ detail: "a person stopped the turn in OpenClaw", ...usage })
    case "Silent":
      return new TurnSilent({ detail: `the agent ended its turn without an answer (${cause.detail})`, ...usage })
    case "ProviderFailed":
      return new ProviderFailed({ detail: cause.detail, status: 500, ...usage })
    case "Recovering":
      return new GatewayRestarted({ detail: `the gateway was continuing an interrupted turn: ${cause.detail}` })
    case "Completed":
    case "Disconnected":
    case "Unexplained":
      return failure
  }
}
