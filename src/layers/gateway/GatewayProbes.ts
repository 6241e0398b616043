/** Questions to the gateway that start no turn: readiness, agents and the length of a session's history. */
import { Duration, Effect, Option, Stream, SubscriptionRef } from "effect"
import {
  ConnectionLost,
  failureOf,
  GatewayMisconfigured,
  GatewayUnreachable
} from "../../domain/delivery/TurnFailure.ts"
import { describeAddressFailure, judgeAddress } from "../../domain/doctor/AddressFailure.ts"
import type { AddressOutcome } from "../../domain/doctor/AddressFailure.ts"
import { readHistoryTokens } from "../../domain/gateway/GatewayHistory.ts"
import { readAgentSlugs, readReadiness, readStartupVersion } from "../../domain/gateway/GatewayProbe.ts"
import { monotonicMillis } from "../../domain/observability/Monotonic.ts"
import { Redactor } from "../secrets/Redactor.ts"
import type { GatewayConnection } from "./GatewayConnection.ts"
import type { GatewayState, GatewayStateRef } from "./GatewayState.ts"

const PROBE_TIMEOUT = Duration.seconds(5)
/** The last model call is among these items: the results of its tool calls may follow it. */
const HISTORY_ITEMS = 10
/** If no probe is answered for this long, the gateway hangs or is cut off. */
const UNANSWERED_LIMIT = Duration.minutes(2)
/** After its start the gateway first continues interrupted sessions, and may fail turns during this time. */
const RECOVERY_MILLIS = 60_000

/** Whether another server sent the answer: the gateway sends no redirects and no pages. */
export const isOfAnotherServer = (outcome: AddressOutcome): boolean =>
  outcome._tag === "Answered" &&
  ((outcome.status >= 300 && outcome.status < 400) || /\bhtml\b/i.test(outcome.contentType ?? ""))

/** Probes over the connection; each updates the state. */
export const makeGatewayProbes = Effect.fnUntraced(function* (
  { address, send }: GatewayConnection,
  state: GatewayStateRef
) {
  const { error: redact } = yield* Redactor

  const unreachable = (outcome: AddressOutcome) =>
    new GatewayUnreachable({ detail: describeAddressFailure(judgeAddress(address, outcome)) })
  const get = (path: string) =>
    send({ method: "GET", path }, (cause) => unreachable({ _tag: "Failed", cause })).pipe(
      Effect.timeoutOrElse({
        duration: PROBE_TIMEOUT,
        orElse: () => Effect.fail(unreachable({ _tag: "Silent", within: Duration.format(PROBE_TIMEOUT) }))
      })
    )

  /** Whether the last probe was answered. True until the first answer, because some proxies forward no probes. */
  const isAnswering = yield* SubscriptionRef.make(true)
  let hasAnswered = false
  const noteProbe = (isAnswered: boolean) =>
    Effect.suspend(() => {
      hasAnswered ||= isAnswered
      return SubscriptionRef.set(isAnswering, isAnswered || !hasAnswered)
    })
  /** When the gateway last started or became ready, monotonic milliseconds. */
  let cameUpAt = Number.NEGATIVE_INFINITY
  let wasReady = true
  const noteReadiness = (isReady: boolean, uptimeMillis = Number.POSITIVE_INFINITY) =>
    Effect.map(monotonicMillis, (now) => {
      // A start can take longer than the recovery after it.
      cameUpAt = isReady && !wasReady ? now : Math.max(cameUpAt, now - uptimeMillis)
      wasReady = isReady
    })

  const ready = Effect.gen(function* () {
    const { body, outcome } = yield* get("/readyz")
    yield* noteProbe(true)
    const answer = readReadiness(body)
    if (Option.isNone(answer)) {
      const failure = judgeAddress(address, outcome)
      yield* state.note({
        state: failure.kind === "wrong" ? "misconfigured" : "unreachable",
        problem: redact(describeAddressFailure(failure))
      })
      yield* noteReadiness(false)
      return false
    }
    const { failing, isReady, uptimeMillis } = answer.value
    const isDraining = failing.includes("gateway-draining")
    yield* state.update((before): GatewayState => ({
      ...before,
      state: isReady ? "ready" : isDraining ? "draining" : "unreachable",
      problem: isReady ? null : redact(`it reports ${failing.join(", ") || "no reason"}`),
      // The end of an outage clears its error. A turn's error stays until a turn succeeds.
      lastSendError: isReady && before.state === "unreachable" ? null : before.lastSendError
    }))
    yield* noteReadiness(isReady, uptimeMillis)
    if (isReady && (yield* state.get).version === null) {
      const version = readStartupVersion((yield* get("/startupz")).body)
      if (version !== null) yield* state.note({ version })
    }
    return isReady
  }).pipe(
    Effect.catch(({ detail }) =>
      state
        .note({ state: "unreachable", problem: redact(detail), lastSendError: redact(detail) })
        .pipe(Effect.andThen(noteProbe(false)), Effect.andThen(noteReadiness(false)), Effect.as(false))
    ),
    Effect.withSpan("Gateway.ready")
  )

  const agents = Effect.gen(function* () {
    const { body, outcome, status } = yield* get("/v1/models")
    const slugs = readAgentSlugs(body)
    if (Option.isSome(slugs)) return slugs.value
    if (isOfAnotherServer(outcome) && status < 400) {
      const { fix, problem } = judgeAddress(address, outcome)
      return yield* new GatewayMisconfigured({ detail: `GET /v1/models: ${problem}`, fix })
    }
    const failure = failureOf("", { _tag: "Refused", status, message: "GET /v1/models returned no list" })
    // No turn has started, so a proxy's timeout is not a lost connection.
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

  return {
    ready,
    agents,
    historyTokens,
    /** Fails when the gateway has answered no probe for two minutes. */
    unanswered: SubscriptionRef.changes(isAnswering).pipe(
      Stream.changes,
      Stream.switchMap((isAnswered) => (isAnswered ? Stream.never : Stream.fromEffect(Effect.sleep(UNANSWERED_LIMIT)))),
      Stream.runHead,
      Effect.andThen(
        Effect.fail(
          new ConnectionLost({
            detail: `the gateway answered no readiness probe for ${Duration.format(UNANSWERED_LIMIT)} while the request was open: aborted`
          })
        )
      )
    ),
    /** Whether the gateway started at about this moment (monotonic milliseconds). Probes it first: a restart may be recent. */
    cameUpAbout: (moment: number) => Effect.map(ready, () => Math.abs(moment - cameUpAt) < RECOVERY_MILLIS)
  }
})
