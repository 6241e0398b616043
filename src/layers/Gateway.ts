/**
 * The OpenClaw gateway over HTTP, as version 2026.9.6 speaks it. The only importer of undici beside the control plane's
 * client: its agent waits without limit, since a provider's 429 alone holds a request for 140 s; our deadlines end it.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Layer, Option, Redacted, Ref, Schema, Stream } from "effect"
import { SubscriptionRef } from "effect"
import { Agent, request } from "undici"
import {
  ConnectionLost,
  failureOf,
  GatewayMisconfigured,
  GatewayRestarted,
  GatewayUnreachable,
  TurnRefused,
  TurnTimeout,
  TurnUnreadable
} from "../domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../domain/delivery/TurnFailure.ts"
import { describeAddressFailure, judgeAddress, transportError } from "../domain/doctor/AddressFailure.ts"
import type { Address, AddressOutcome } from "../domain/doctor/AddressFailure.ts"
import { readHistoryTokens } from "../domain/gateway/GatewayHistory.ts"
import { readGatewayAnswer } from "../domain/gateway/GatewayResponse.ts"
import type { FunctionCall, GatewayAnswer } from "../domain/gateway/GatewayResponse.ts"
import { monotonicMillis } from "../domain/observability/Monotonic.ts"
import { parseSessionKey } from "../domain/shared/SessionKey.ts"
import { wellFormed } from "../domain/text/WellFormed.ts"
import { RuntimeConfig } from "./Config.ts"
import { GatewayToken } from "./gateway/GatewayToken.ts"
import { Redactor } from "./secrets/Redactor.ts"
import { Secrets } from "./secrets/Secrets.ts"
import { Telemetry } from "./telemetry/Telemetry.ts"

/** A function tool as the gateway takes it: flat, with an object schema. */
export interface FunctionTool {
  readonly type: "function"
  readonly name: string
  readonly description: string
  readonly parameters: object
}

/** An item of the request's input: words, or the result of a call. */
export type InputItem =
  | { readonly type: "message"; readonly role: "user"; readonly content: string }
  | { readonly type: "function_call_output"; readonly call_id: string; readonly output: string }

/** One round of a turn. Tools and instructions are per request: they are sent each time. */
export interface GatewayRequest {
  readonly agentSlug: string
  readonly sessionKey: string
  readonly instructions: string
  readonly input: string | ReadonlyArray<InputItem>
  readonly tools: ReadonlyArray<FunctionTool>
}

/** What a round ended with, if it did not fail. */
export type RoundAnswer = Extract<GatewayAnswer, { readonly _tag: "Calls" | "Text" }>
export type { FunctionCall }

/** How the gateway was last seen; times are epoch milliseconds. */
export interface GatewayState {
  readonly state: "unknown" | "ready" | "draining" | "unreachable" | "misconfigured"
  readonly version: string | null
  /** Why it takes no turns, with the fix; null while it is ready, and before the first look. */
  readonly problem: string | null
  /** Whether a tool call of an agent has reached this process. */
  readonly hasSentToolCalls: boolean
  readonly lastSendAt: number | null
  readonly lastSendError: string | null
}

/** A gateway that was not asked yet. */
export const unseenGateway: GatewayState = {
  state: "unknown",
  version: null,
  problem: null,
  hasSentToolCalls: false,
  lastSendAt: null,
  lastSendError: null
}

/** Replies beyond this are no replies: 32 MiB. */
const MAX_BODY_BYTES = 32 * 1024 * 1024
/** The last model call is among the last items: the results of its tool calls may follow it. */
const HISTORY_ITEMS = 10
const PROBE_TIMEOUT = Duration.seconds(5)
/** An open request is given up when no probe has been answered for so long: its gateway hangs, or is cut off. */
const UNANSWERED_LIMIT = Duration.minutes(2)
/** After so long without a byte the kernel asks whether the other side still holds the connection. */
const KEEP_ALIVE_MILLIS = 30_000
/** So soon after it came up the gateway may fail a turn, because it first continues interrupted sessions on its own. */
const RECOVERY_MILLIS = 60_000

const ReadyJson = Schema.Struct({
  ready: Schema.Boolean,
  failing: Schema.optionalKey(Schema.Array(Schema.String)),
  uptimeMs: Schema.optionalKey(Schema.Finite)
})
const StartupJson = Schema.Struct({ version: Schema.String })
const ModelsJson = Schema.Struct({
  object: Schema.Literal("list"),
  data: Schema.Array(Schema.Struct({ id: Schema.String }))
})
const decodeReady = Schema.decodeUnknownOption(Schema.fromJsonString(ReadyJson))
const decodeStartup = Schema.decodeUnknownOption(Schema.fromJsonString(StartupJson))
const decodeModels = Schema.decodeUnknownOption(Schema.fromJsonString(ModelsJson))

/** Where the gateway is: OPENCLAW_GATEWAY_URL, otherwise the port of the one that this process starts. */
export const gatewayAddress = ({
  gatewayPort,
  gatewayUrl
}: Pick<RuntimeConfig["Service"], "gatewayPort" | "gatewayUrl">): Address =>
  Option.match(gatewayUrl, {
    onNone: () => ({
      url: `http://127.0.0.1:${gatewayPort}`,
      variable: "OPENCLAW_GATEWAY_PORT",
      server: "the gateway"
    }),
    onSome: (url) => ({ url, variable: "OPENCLAW_GATEWAY_URL", server: "the gateway" })
  })

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

/** An answer of HTTP as an outcome for the judgement of the address. */
const answered = (status: number, headers: Record<string, string | Array<string> | undefined>): AddressOutcome => ({
  _tag: "Answered",
  status,
  location: headers["location"]?.toString(),
  contentType: headers["content-type"]?.toString()
})

/** What the gateway never answers: a redirect, or a page. */
const isOfAnotherServer = (outcome: AddressOutcome): boolean =>
  outcome._tag === "Answered" &&
  ((outcome.status >= 300 && outcome.status < 400) || /\bhtml\b/i.test(outcome.contentType ?? ""))

/** `Retry-After` in seconds, as milliseconds; an HTTP date is not used by the gateway. */
const retryAfterMillis = (header: string | ReadonlyArray<string> | undefined): number | undefined => {
  const seconds = Number(typeof header === "string" ? header : header?.[0])
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 3_600) * 1_000 : undefined
}

/** What a failed turn shows of the gateway: any answer from it proves that it is there. */
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

/** Talks to the gateway that OPENCLAW_GATEWAY_URL names, otherwise to the one that this process supervises. */
export class Gateway extends Context.Service<
  Gateway,
  {
    /** Runs one round and returns calls or text; every other end is a typed failure. Interruption aborts the run. */
    sendToOpenClaw(request: GatewayRequest): Effect.Effect<RoundAnswer, TurnFailure>
    /** Whether the gateway takes turns now, judged by the JSON field and not by the status. */
    readonly ready: Effect.Effect<boolean>
    /** The agents that the gateway serves, by slug. */
    readonly agents: Effect.Effect<ReadonlyArray<string>, GatewayUnreachable | GatewayMisconfigured>
    /** How many tokens the session's last model call read; null if the gateway does not say. */
    historyTokens(sessionKey: string): Effect.Effect<number | null>
    readonly state: Effect.Effect<GatewayState>
  }
>()("runtime-service/layers/Gateway") {
  static readonly layer = Layer.effect(
    Gateway,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const { error: redact } = yield* Redactor
      const ownToken = yield* GatewayToken
      const secrets = yield* Secrets
      const telemetry = yield* Telemetry
      const address = gatewayAddress(config)
      const baseUrl = address.url
      const authorization = (token: Option.Option<Redacted.Redacted>): Record<string, string> =>
        Option.match(
          Option.orElse(token, () => ownToken),
          {
            onNone: () => ({}),
            onSome: (held) => ({ authorization: `Bearer ${Redacted.value(held)}` })
          }
        )
      /** A bare 401 has begun no turn: with a token that was changed meanwhile the request is made again. */
      const authorized = <A extends { readonly status: number; readonly body: string }, E>(
        send: (headers: Record<string, string>) => Effect.Effect<A, E>
      ): Effect.Effect<A, E> =>
        Effect.suspend(() => {
          const used = secrets.now().gatewayToken
          return Effect.filterOrElse(
            send(authorization(used)),
            (answer) => answer.status !== 401 || readGatewayAnswer(answer.status, answer.body)._tag !== "Refused",
            (answer) =>
              Effect.flatMap(secrets.hasOtherGatewayToken(used), (isOther) =>
                isOther ? send(authorization(secrets.now().gatewayToken)) : Effect.succeed(answer)
              )
          )
        })
      const dispatcher = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new Agent({
              headersTimeout: 0,
              bodyTimeout: 0,
              connect: { timeout: 10_000, keepAliveInitialDelay: KEEP_ALIVE_MILLIS },
              keepAliveTimeout: 4_000,
              maxResponseSize: MAX_BODY_BYTES
            })
        ),
        (agent) => Effect.promise(() => agent.destroy())
      )
      const state = yield* Ref.make<GatewayState>({
        ...unseenGateway,
        version: Option.getOrNull(config.openclawVersion)
      })
      /** Whether the last probe was answered, whatever it said; true until one was, since some proxies pass none on. */
      const isAnswering = yield* SubscriptionRef.make(true)
      let hasAnswered = false
      const noteProbe = (isAnswered: boolean) =>
        Effect.suspend(() => {
          hasAnswered ||= isAnswered
          return SubscriptionRef.set(isAnswering, isAnswered || !hasAnswered)
        })
      /** When the gateway last started or was seen to become ready, monotonic milliseconds. */
      let cameUpAt = Number.NEGATIVE_INFINITY
      let wasReady = true
      const noteReadiness = (isReady: boolean, uptimeMs = Number.POSITIVE_INFINITY) =>
        Effect.map(monotonicMillis, (now) => {
          // A start can take longer than the recovery after it.
          cameUpAt = isReady && !wasReady ? now : Math.max(cameUpAt, now - uptimeMs)
          wasReady = isReady
        })
      const note = (change: Partial<GatewayState>) => Ref.update(state, (before) => ({ ...before, ...change }))

      const unreachable = (outcome: AddressOutcome) =>
        new GatewayUnreachable({ detail: describeAddressFailure(judgeAddress(address, outcome)) })
      const get = (path: string) => authorized((headers) => getWith(path, headers))
      const getWith = (path: string, headers: Record<string, string>) =>
        Effect.tryPromise({
          try: async (signal) => {
            const response = await request(`${baseUrl}${path}`, { dispatcher, signal, headers })
            const outcome = answered(response.statusCode, response.headers)
            return { status: response.statusCode, body: await response.body.text(), outcome }
          },
          catch: (cause) => unreachable({ _tag: "Failed", cause })
        }).pipe(
          Effect.timeoutOrElse({
            duration: PROBE_TIMEOUT,
            orElse: () => Effect.fail(unreachable({ _tag: "Silent", within: Duration.format(PROBE_TIMEOUT) }))
          })
        )

      const ready = Effect.gen(function* () {
        const { body, outcome } = yield* get("/readyz")
        yield* noteProbe(true)
        const json = decodeReady(body)
        if (Option.isNone(json)) {
          const failure = judgeAddress(address, outcome)
          yield* note({
            state: failure.kind === "wrong" ? "misconfigured" : "unreachable",
            problem: redact(describeAddressFailure(failure))
          })
          yield* noteReadiness(false)
          return false
        }
        const { failing = [], ready: isReady, uptimeMs } = json.value
        const isDraining = failing.includes("gateway-draining")
        yield* Ref.update(state, (before): GatewayState => ({
          ...before,
          state: isReady ? "ready" : isDraining ? "draining" : "unreachable",
          problem: isReady ? null : redact(`it reports ${failing.join(", ") || "no reason"}`),
          // An outage that is over is no error any more; what a turn met stays until a turn goes well.
          lastSendError: isReady && before.state === "unreachable" ? null : before.lastSendError
        }))
        yield* noteReadiness(isReady, uptimeMs)
        if (isReady && (yield* Ref.get(state)).version === null) {
          const startup = decodeStartup((yield* get("/startupz")).body)
          if (Option.isSome(startup)) yield* note({ version: startup.value.version })
        }
        return isReady
      }).pipe(
        Effect.catch(({ detail }) =>
          note({ state: "unreachable", problem: redact(detail), lastSendError: redact(detail) }).pipe(
            Effect.andThen(noteProbe(false)),
            Effect.andThen(noteReadiness(false)),
            Effect.as(false)
          )
        ),
        Effect.withSpan("Gateway.ready")
      )

      const agents = Effect.gen(function* () {
        const { body, outcome, status } = yield* get("/v1/models")
        const models = decodeModels(body)
        if (Option.isSome(models)) {
          return models.value.data.flatMap(({ id }) => {
            const slug = id.startsWith("openclaw/") ? id.slice("openclaw/".length) : ""
            return slug === "" || slug === "default" ? [] : [slug]
          })
        }
        if (isOfAnotherServer(outcome) && status < 400) {
          const { fix, problem } = judgeAddress(address, outcome)
          return yield* new GatewayMisconfigured({ detail: `GET /v1/models: ${problem}`, fix })
        }
        const failure = failureOf("", { _tag: "Refused", status, message: "GET /v1/models gave no list" })
        // A proxy that gives up on this question has told of no turn.
        return yield* failure._tag === "GatewayUnreachable" || failure._tag === "ConnectionLost"
          ? new GatewayUnreachable({ detail: `GET /v1/models: HTTP ${status}` })
          : new GatewayMisconfigured({
              detail: `GET /v1/models: HTTP ${status}, no list of models`,
              fix:
                failure._tag === "GatewayMisconfigured"
                  ? failure.fix
                  : "check OPENCLAW_GATEWAY_URL, and that the gateway is 2026.8.2 or newer with the responses endpoint enabled"
            })
      }).pipe(Effect.withSpan("Gateway.agents"))

      const historyTokens = Effect.fn("Gateway.historyTokens")(function* (sessionKey: string) {
        const answer = yield* Effect.option(
          get(`/sessions/${encodeURIComponent(sessionKey)}/history?limit=${HISTORY_ITEMS}`)
        )
        return Option.match(answer, {
          onNone: () => null,
          onSome: ({ body, status }) => (status === 200 ? readHistoryTokens(body) : null)
        })
      })

      const post = Effect.fnUntraced(function* (round: GatewayRequest, headers: Record<string, string>) {
        const question = JSON.stringify({
          model: `openclaw/${round.agentSlug}`,
          user: round.sessionKey,
          instructions: wellFormed(round.instructions),
          input: wellFormed(round.input),
          ...(round.tools.length === 0 ? {} : { tools: round.tools })
        })
        const traceparent = telemetry.isOn ? yield* telemetry.traceparent : undefined
        return yield* Effect.tryPromise({
          try: async (signal) => {
            const response = await request(`${baseUrl}/v1/responses`, {
              method: "POST",
              dispatcher,
              signal,
              body: question,
              headers: {
                ...headers,
                "content-type": "application/json",
                accept: "application/json",
                "x-openclaw-agent-id": round.agentSlug,
                "x-openclaw-session-key": round.sessionKey,
                ...(traceparent === undefined ? {} : { traceparent })
              }
            })
            const retryAfter = retryAfterMillis(response.headers["retry-after"])
            const outcome = answered(response.statusCode, response.headers)
            return { status: response.statusCode, body: await response.body.text(), outcome, retryAfter }
          },
          catch: (cause) => transportFailure(address, cause)
        })
      })

      /** Fails when the gateway answers no probe for too long. */
      const abandoned = SubscriptionRef.changes(isAnswering).pipe(
        Stream.changes,
        Stream.switchMap((isAnswered) =>
          isAnswered ? Stream.never : Stream.fromEffect(Effect.sleep(UNANSWERED_LIMIT))
        ),
        Stream.runHead,
        Effect.andThen(
          Effect.fail(
            new ConnectionLost({
              detail: `the gateway answered no readiness probe for ${Duration.format(UNANSWERED_LIMIT)} while the request was open: given up`
            })
          )
        )
      )

      /** Whether the gateway came up about that moment (monotonic milliseconds); asks, as it may have restarted unseen. */
      const cameUpAbout = (moment: number) => Effect.map(ready, () => Math.abs(moment - cameUpAt) < RECOVERY_MILLIS)

      const sendToOpenClaw = Effect.fn("Gateway.sendToOpenClaw")(
        function* (round: GatewayRequest) {
          // The gateway lets the key choose the agent whatever the header says: what disagrees is never sent.
          if (parseSessionKey(round.sessionKey)?.slug !== round.agentSlug) {
            return yield* new TurnRefused({
              detail: `the session key does not belong to agent ${round.agentSlug}: nothing was sent`,
              status: 0
            })
          }
          const sentAt = yield* monotonicMillis
          yield* note({ lastSendAt: yield* Clock.currentTimeMillis })
          const { body, outcome, retryAfter, status } = yield* Effect.raceFirst(
            authorized((headers) => post(round, headers)),
            abandoned
          )
          const answer = readGatewayAnswer(status, body)
          if (answer._tag === "Calls" || answer._tag === "Text") return answer
          if (answer._tag === "Unreadable" && isOfAnotherServer(outcome)) {
            const { fix, problem } = judgeAddress(address, outcome)
            return yield* new GatewayMisconfigured({ detail: `POST /v1/responses: ${problem}`, fix })
          }
          const failure = failureOf(round.agentSlug, answer, retryAfter)
          if (failure._tag === "TurnAmbiguous" && (yield* cameUpAbout(sentAt))) {
            return yield* new GatewayRestarted({ detail: `${failure.detail}, just after the gateway came up` })
          }
          return yield* failure
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
              note({
                state: "ready",
                problem: null,
                lastSendError: null,
                ...(_tag === "Calls" ? { hasSentToolCalls: true } : {})
              }),
            onFailure: (cause) =>
              Option.match(Cause.findErrorOption(cause), {
                onNone: () => Effect.void,
                onSome: (failure) =>
                  note({
                    lastSendError: redact(`${failure._tag}: ${failure.detail}`),
                    ...stateAfter(failure)
                  })
              })
          })
        )
      )

      return Gateway.of({ sendToOpenClaw, ready, agents, historyTokens, state: Ref.get(state) })
    })
  ).pipe(Layer.provide(Secrets.layer))
}
