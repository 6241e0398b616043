import { Duration, Effect, Layer, Option, Ref, Semaphore, Stream, SubscriptionRef } from "effect"
import { Sse } from "effect/encoding"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { describeFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { hostsOf, peerProblem } from "../../domain/http/PeerPolicy.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { ConvexClient } from "../../layers/ConvexClient.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import type { AgentTools } from "../../services/AgentTools.ts"
import type { ControlPlane } from "../../services/ControlPlane.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { liveTurns } from "./statusPage/LiveTurns.ts"
import { pageHtml, pagePolicy } from "./statusPage/PageHtml.ts"
import { readPrompt, readRun } from "./statusPage/RunPage.ts"
import { makeStatusReads } from "./statusPage/StatusReads.ts"
import { makeSnapshot } from "./statusPage/StatusSnapshot.ts"

/** Changes within this time are one event. */
const GATHER = Duration.millis(100)
/** How often state without change events (breaker, gateway) is read. It also keeps the connection alive. */
const TICK = Duration.seconds(5)
/** Maximum number of open pages. Each one costs a snapshot per change. */
const WATCHERS = 20
/** How many runs are read at the same time for all pages. */
const RUNS_AT_ONCE = 2
const ID = /^[\w:.-]{1,200}$/

const headers = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin"
}

/**
 * The status page at / with its events, and a run's details and prompt. It is served to the addresses from which agents
 * may call. Texts of messages and of models are sent only on request. Everything passes the redactor.
 */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const config = yield* RuntimeConfig
    const convex = yield* ConvexClient
    const lifecycle = yield* Lifecycle
    const metrics = yield* Metrics
    const redactor = yield* Redactor
    const services = yield* Effect.context<AgentTools | ControlPlane | RuntimeConfig>()
    const live = { silent: yield* liveTurns(false), speaking: yield* liveTurns(true) }
    const { current: snapshot } = yield* makeSnapshot
    const reads = yield* makeStatusReads
    const watchers = yield* Ref.make(0)
    const runReads = yield* Semaphore.make(RUNS_AT_ONCE)
    const rules = { allow: config.agentHttpAllow, hosts: hostsOf(config.healthHost, config.taskStatusBaseUrl) }

    /** The whole text passes the redactor, so that no field can be forgotten. */
    const jsonOf = (body: unknown): string => redactor.redact(JSON.stringify(body))
    const event = (name: string, body: unknown): string =>
      Sse.encoder.write({ _tag: "Event", event: name, id: undefined, data: jsonOf(body) })

    const changes = Stream.mergeAll(
      [
        Stream.map(metrics.activityChanges, () => undefined),
        Stream.map(lifecycle.changes, () => undefined),
        Stream.map(SubscriptionRef.changes(convex.push), () => undefined),
        Stream.tick(TICK)
      ],
      { concurrency: "unbounded" }
    )
    const states = changes.pipe(
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.mapEffect(() => Effect.andThen(Effect.sleep(GATHER), snapshot)),
      Stream.map((body) => event("state", body))
    )
    const first = Stream.fromEffect(Effect.map(snapshot, (body) => event("state", body)))
    const later = (hasTexts: boolean) => [
      states,
      Stream.map(hasTexts ? live.speaking : live.silent, (body) => event("live", body)),
      Stream.map(reads.queue, (body) => event("queue", body)),
      Stream.map(reads.letters, (body) => event("letters", body)),
      Stream.map(reads.usage, (body) => event("usage", body))
    ]
    const events = (hasTexts: boolean) =>
      Stream.concat(first, Stream.mergeAll(later(hasTexts), { concurrency: "unbounded" })).pipe(
        // The stream ends with the process, before the server would close the connection.
        Stream.interruptWhen(
          lifecycle.changes.pipe(
            Stream.filter(({ phase }) => phase === "stopped"),
            Stream.take(1),
            Stream.runDrain
          )
        )
      )

    const guarded = <E, R>(serve: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers: sent, remoteAddress }) => {
        const problem = peerProblem(rules, {
          remoteAddress: Option.getOrUndefined(remoteAddress),
          host: sent["host"],
          origin: sent["origin"]
        })
        return problem === null
          ? serve
          : Effect.succeed(HttpServerResponse.text(`${problem}\n`, { status: 403, headers }))
      })

    const queryOf = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => new URLSearchParams(url.split("?")[1]))

    yield* router.add(
      "GET",
      "/",
      guarded(
        Effect.succeed(
          HttpServerResponse.text(pageHtml, {
            contentType: "text/html; charset=utf-8",
            headers: { ...headers, "content-security-policy": pagePolicy }
          })
        )
      )
    )
    yield* router.add(
      "GET",
      "/status/events",
      guarded(
        Effect.gen(function* () {
          // Counted until the end of the request and not of the stream, which never runs for HEAD or a closed
          // connection.
          const isFull = yield* Effect.acquireRelease(
            Ref.modify(watchers, (count) => [count >= WATCHERS, Math.min(WATCHERS, count + 1)] as const),
            (isFull) => (isFull ? Effect.void : Ref.update(watchers, (count) => count - 1))
          )
          if (isFull) {
            const text = `${WATCHERS} pages already show this runtime, which is the maximum: close one of them\n`
            return HttpServerResponse.text(text, { status: 503, headers })
          }
          const hasTexts = (yield* queryOf).get("texts") === "true"
          return HttpServerResponse.stream(Stream.encodeText(events(hasTexts)), {
            contentType: "text/event-stream",
            headers: { ...headers, "x-accel-buffering": "no" }
          })
        })
      )
    )

    const ofRun = <A>(
      read: (id: string) => Effect.Effect<A, ControlPlaneFailure, AgentTools | ControlPlane | RuntimeConfig>
    ) =>
      guarded(
        Effect.gen(function* () {
          const id = (yield* queryOf).get("id") ?? ""
          if (!ID.test(id)) return HttpServerResponse.text("Name a run: ?id=...\n", { status: 400, headers })
          const body = yield* runReads.withPermit(read(id)).pipe(
            Effect.provideContext(services),
            Effect.catch((failure) => Effect.succeed({ error: redactor.error(describeFailure(failure)) }))
          )
          return HttpServerResponse.text(jsonOf(body), { contentType: "application/json", headers })
        })
      )
    yield* router.add("GET", "/status/run", ofRun(readRun))
    yield* router.add("GET", "/status/prompt", ofRun(readPrompt))
  })
)
