/** Requests of turns: one POST /v1/responses for each round. */
import { Cause, Clock, Duration, Effect, Exit, Option } from "effect"
import {
  ConnectionLost,
  failureByCause,
  failureOf,
  GatewayMisconfigured,
  GatewayRestarted,
  GatewayUnreachable,
  TurnRefused,
  TurnTimeout,
  TurnUnreadable
} from "../../domain/delivery/TurnFailure.ts"
import type { TurnAmbiguous, TurnFailure } from "../../domain/delivery/TurnFailure.ts"
import { describeAddressFailure, judgeAddress, transportError } from "../../domain/doctor/AddressFailure.ts"
import type { Address } from "../../domain/doctor/AddressFailure.ts"
import { readGatewayAnswer } from "../../domain/gateway/GatewayResponse.ts"
import type { GatewayAnswer } from "../../domain/gateway/GatewayResponse.ts"
import { monotonicMillis } from "../../domain/observability/Monotonic.ts"
import { parseSessionKey } from "../../domain/shared/SessionKey.ts"
import { wellFormed } from "../../domain/text/WellFormed.ts"
import { RuntimeConfig } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { Telemetry } from "../telemetry/Telemetry.ts"
import { MAX_BODY_BYTES } from "./GatewayConnection.ts"
import type { GatewayConnection } from "./GatewayConnection.ts"
import { GatewayEvents } from "./GatewayEvents.ts"
import { isOfAnotherServer } from "./GatewayProbes.ts"
import type { makeGatewayProbes } from "./GatewayProbes.ts"
import type { GatewayState, GatewayStateRef } from "./GatewayState.ts"

/** A function tool in the gateway's form: flat, with an object schema. */
export interface FunctionTool {
  readonly type: "function"
  readonly name: string
  readonly description: string
  readonly parameters: object
}

/** An item of the request's input: a message, or the result of a call. */
export type InputItem =
  | { readonly type: "message"; readonly role: "user"; readonly content: string }
  | { readonly type: "function_call_output"; readonly call_id: string; readonly output: string }

/** One round of a turn. The gateway keeps neither tools nor instructions, so each request has them. */
export interface GatewayRequest {
  readonly agentSlug: string
  readonly sessionKey: string
  readonly instructions: string
  readonly input: string | ReadonlyArray<InputItem>
  readonly tools: ReadonlyArray<FunctionTool>
}

/** The answer to a round that did not fail. */
export type RoundAnswer = Extract<GatewayAnswer, { readonly _tag: "Calls" | "Text" }>

const transportFailure = (address: Address, cause: unknown): GatewayUnreachable | ConnectionLost | TurnUnreadable => {
  const { code, isBeforeSending } = transportError(cause)
  const failure = judgeAddress(address, { _tag: "Failed", cause })
  if (isBeforeSending || failure.kind === "wrong") {
    return new GatewayUnreachable({ detail: `the gateway cannot be reached: ${describeAddressFailure(failure)}` })
  }
  return code === "UND_ERR_RES_EXCEEDED_MAX_SIZE"
    ? new TurnUnreadable({ detail: `the answer is larger than ${MAX_BODY_BYTES} bytes` })
    : new ConnectionLost({ detail: `the connection to the gateway broke after the request was sent (${code})` })
}

/** `Retry-After` in seconds, as milliseconds; the gateway does not use HTTP dates. */
const retryAfterMillis = (header: string | ReadonlyArray<string> | undefined): number | undefined => {
  const seconds = Number(typeof header === "string" ? header : header?.[0])
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 3_600) * 1_000 : undefined
}

/** The gateway's state after a failed turn; any answer of the gateway proves that it is up. */
const stateAfter = ({ _tag }: TurnFailure): Partial<GatewayState> => {
  switch (_tag) {
    case "GatewayUnreachable":
      return { state: "unreachable" }
    case "GatewayMisconfigured":
      return { state: "misconfigured" }
    case "ConnectionLost":
    case "TurnTimeout":
      return {}
    default:
      return { state: "ready", problem: null }
  }
}

/** Sends rounds over the connection; each updates the state. */
export const makeTurnRequests = Effect.fnUntraced(function* (
  { address, send }: GatewayConnection,
  state: GatewayStateRef,
  { cameUpAbout, unanswered }: Effect.Success<ReturnType<typeof makeGatewayProbes>>
) {
  const config = yield* RuntimeConfig
  const { error: redact } = yield* Redactor
  const telemetry = yield* Telemetry
  const events = yield* GatewayEvents

  const post = Effect.fnUntraced(function* (round: GatewayRequest) {
    const body = JSON.stringify({
      model: `openclaw/${round.agentSlug}`,
      user: round.sessionKey,
      instructions: wellFormed(round.instructions),
      input: wellFormed(round.input),
      ...(round.tools.length === 0 ? {} : { tools: round.tools })
    })
    const traceparent = telemetry.isOn ? yield* telemetry.traceparent : undefined
    const headers = {
      "content-type": "application/json",
      accept: "application/json",
      "x-openclaw-agent-id": round.agentSlug,
      "x-openclaw-session-key": round.sessionKey,
      ...(traceparent === undefined ? {} : { traceparent })
    }
    return yield* send({ method: "POST", path: "/v1/responses", headers, body }, (cause) =>
      transportFailure(address, cause)
    )
  })

  /** What an ambiguous failure was: by the event that ended its run, otherwise by the time of the gateway's start. */
  const exactly = Effect.fnUntraced(function* (round: GatewayRequest, failure: TurnAmbiguous, sentAt: number) {
    const { responseId } = failure
    const end = responseId === undefined ? null : yield* events.endOf(round.sessionKey, responseId)
    const exact = end === null ? failure : failureByCause(failure, end.cause)
    if (exact._tag !== "TurnAmbiguous" || !(yield* cameUpAbout(sentAt))) return exact
    return new GatewayRestarted({ detail: `${failure.detail}, just after the gateway came up` })
  })

  return Effect.fn("Gateway.sendToOpenClaw")(
    function* (round: GatewayRequest) {
      // The gateway selects the agent by the session key and ignores the header, so a request with another agent is not sent.
      if (parseSessionKey(round.sessionKey)?.slug !== round.agentSlug) {
        return yield* new TurnRefused({
          detail: `the session key does not belong to agent ${round.agentSlug}: nothing was sent`,
          status: 0
        })
      }
      const sentAt = yield* monotonicMillis
      yield* state.note({ lastSendAt: yield* Clock.currentTimeMillis })
      const { body, outcome, retryAfter, status } = yield* Effect.raceFirst(post(round), unanswered)
      const answer = readGatewayAnswer(status, body)
      if (answer._tag === "Calls" || answer._tag === "Text") return answer
      if (answer._tag === "Unreadable" && isOfAnotherServer(outcome)) {
        const { fix, problem } = judgeAddress(address, outcome)
        return yield* new GatewayMisconfigured({ detail: `POST /v1/responses: ${problem}`, fix })
      }
      const failure = failureOf(round.agentSlug, answer, retryAfterMillis(retryAfter))
      return yield* failure._tag === "TurnAmbiguous" ? yield* exactly(round, failure, sentAt) : failure
    },
    Effect.timeoutOrElse({
      duration: config.gatewayRequestTimeout,
      orElse: () =>
        Effect.fail(
          new TurnTimeout({
            detail: `no answer within OPENCLAW_REQUEST_TIMEOUT_MS (${Duration.format(config.gatewayRequestTimeout)}): aborted`
          })
        )
    }),
    Effect.onExit((exit) =>
      Exit.match(exit, {
        onSuccess: ({ _tag }) =>
          state.note({
            state: "ready",
            problem: null,
            lastSendError: null,
            ...(_tag === "Calls" ? { hasSentToolCalls: true } : {})
          }),
        onFailure: (cause) =>
          Option.match(Cause.findErrorOption(cause), {
            onNone: () => Effect.void,
            onSome: (failure) =>
              state.note({ lastSendError: redact(`${failure._tag}: ${failure.detail}`), ...stateAfter(failure) })
          })
      })
    )
  )
})
