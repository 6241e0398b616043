import { Clock, Duration, Effect, Layer, Option, Ref, Result, Stream, SubscriptionRef } from "effect"
import { Sse } from "effect/encoding"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { hostsOf, peerProblem } from "../../domain/http/PeerPolicy.ts"
import { SPAN_MILLIS, sparkline } from "../../domain/observability/Activity.ts"
import { levelOf, shownGateway, statusLights } from "../../domain/observability/StatusLights.ts"
import { budgetText, costText, untilText } from "../../domain/usage/UsageReport.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { ConvexClient } from "../../layers/ConvexClient.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { GatewayGuard } from "../../services/GatewayGuard.ts"
import { canClaim, Lifecycle } from "../../services/Lifecycle.ts"
import { Permits } from "../../services/Permits.ts"
import { RuntimeHealth } from "../../services/RuntimeHealth.ts"
import { DeliveryLoop } from "../delivery/DeliveryLoop.ts"
import { pageHtml, pagePolicy } from "./statusPage/PageHtml.ts"

/** Changes within this time are one event. */
const GATHER = Duration.millis(100)
/** How often state without change events (breaker, gateway) is read. It also keeps the connection alive. */
const TICK = Duration.seconds(5)
/** How often the dead letters are requested: only while a page is open, and once for all pages. */
const LETTERS_TTL = Duration.seconds(15)
const LETTERS = 50
/** How often the usage is requested: only while a page is open, and once for all pages. */
const USAGE_TTL = Duration.minutes(1)
const USAGE_DAYS = 7
/** Maximum number of open pages. Each one costs a snapshot per change. */
const WATCHERS = 20

/** The dead letters for the page; `error` says why they are not up to date. */
interface LetterList {
  readonly error: string | null
  readonly list: ReadonlyArray<{
    readonly id: string
    readonly type: string
    /** Its events, oldest first. */
    readonly events: ReadonlyArray<{ readonly type: string; readonly by: string }>
    readonly agent: string | null
    readonly task: string | null
    readonly attempts: number
    readonly diedAt: number
    readonly error: string | null
  }>
}

/** The usage of the last days, the budgets, and the work that they hold, for the page. */
interface UsageList {
  readonly error: string | null
  readonly budgets: ReadonlyArray<ReturnType<typeof budgetText>>
  readonly held: ReadonlyArray<{
    readonly agent: string
    readonly task: string
    readonly reason: string
    readonly until: string
  }>
  readonly list: ReadonlyArray<{
    readonly agent: string
    readonly attempts: number
    readonly weightedTokens: number
    readonly cost: string
  }>
}

/** What each reason means for the account's work, and how to fix it, by the reason's first word. */
const help: Readonly<Record<string, string>> = {
  booting: "Turns start once the control plane and the gateway have answered.",
  draining: "No new work starts. Running turns may finish, then the process ends.",
  stopped: "The process is about to end.",
  paused: "No new work starts until a person of the account resumes it. Running turns continue.",
  "control-plane":
    "No work can be claimed. Running turns continue, and their outcomes are stored when the control plane answers again. Check CONVEX_URL and the network.",
  token:
    "No work is claimed until the deployment accepts SERVICE_TOKEN. Provision a new token and set it. The runtime retries every 30 s.",
  gateway:
    "The runtime still tries turns. They cost no attempt while the gateway cannot be reached. Do what the reason says.",
  "gateway-process":
    "The gateway is not running. The runtime restarts it with backoff. The gateway's log shows why it ended.",
  "profile-sync":
    "Workspaces or the gateway's configuration are not up to date. Turns continue with the existing files.",
  protocol:
    "No work is claimed until runtime and deployment support the same protocol. Upgrade the side that the reason names.",
  "gateway-configuration": "Delivery is paused until the gateway accepts the runtime, which checks every 30 s.",
  breaker: "Turns of every agent fail. See the gateway's log and the status of the model provider.",
  push: "The runtime polls every DELIVERY_INTERVAL until push is connected again. A proxy may be closing WebSockets.",
  agent: "This ends with the agent's next completed turn. Recent errors and dead letters have the details.",
  agents: "See the recent errors."
}

const helpFor = (reason: string): string => help[/^[\w-]+/.exec(reason)?.[0] ?? ""] ?? ""

const headers = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin"
}

/**
 * The status page at / and its events: running and ended work, and problems. It is served to the addresses from which
 * agents may call. It contains no texts of messages, and everything passes the redactor.
 */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const config = yield* RuntimeConfig
    const controlPlane = yield* ControlPlane
    const convex = yield* ConvexClient
    const gateway = yield* Gateway
    const guard = yield* GatewayGuard
    const lifecycle = yield* Lifecycle
    const loop = yield* DeliveryLoop
    const metrics = yield* Metrics
    const permits = yield* Permits
    const redactor = yield* Redactor
    const runtimeHealth = yield* RuntimeHealth
    const startedAt = yield* Clock.currentTimeMillis
    const watchers = yield* Ref.make(0)
    const rules = { allow: config.agentHttpAllow, hosts: hostsOf(config.healthHost, config.taskStatusBaseUrl) }

    const snapshot = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const state = yield* lifecycle.state
      const health = yield* runtimeHealth.current
      const { oldest } = yield* loop.state
      const breaker = yield* guard.breaker
      const isMisconfigured = state.reasons["gateway-configuration"] !== undefined
      const seen = shownGateway(yield* gateway.state, isMisconfigured)
      const activity = yield* metrics.activity
      const { ended, errors, running, agents } = activity
      return {
        now,
        account: config.accountId,
        runtime: config.runtimeId,
        versions: { runtime: config.runtimeVersion, openclaw: seen.version },
        uptimeMillis: now - startedAt,
        status: health.status,
        level: levelOf(health.status),
        phase: state.phase,
        isPaused: state.isPaused,
        isClaiming: canClaim(state) && breaker._tag !== "Open",
        failing: health.failing.map(({ agent }) => agent),
        reasons: health.reasons.map((text) => ({ text, help: helpFor(text) })),
        lights: statusLights({
          health,
          canClaim: canClaim(state),
          push: yield* SubscriptionRef.get(convex.push),
          gateway: seen,
          breaker,
          opensIn: yield* guard.opensIn,
          permits: { total: permits.total, free: yield* permits.free },
          now
        }),
        permits: permits.total,
        delivery: yield* metrics.deliverySummary,
        // Times are converted to this process's clock, which the browser knows.
        oldestWaitingSince: oldest === null ? null : oldest - (yield* controlPlane.now) + now,
        activity: { ended, errors, running, agents },
        spans: sparkline(activity, now),
        spanMillis: SPAN_MILLIS
      }
    })

    const lastLetters = yield* Ref.make<LetterList>({ error: null, list: [] })
    /** If the data cannot be read, the page shows the last data with the reason. */
    const readLetters = Effect.gen(function* () {
      const skew = (yield* controlPlane.now) - (yield* Clock.currentTimeMillis)
      const found = yield* Effect.result(controlPlane.deadLetters({ limit: LETTERS }))
      if (Result.isFailure(found)) {
        const { failure } = found
        const error = redactor.error("detail" in failure ? failure.detail : failure._tag)
        return yield* Ref.updateAndGet(lastLetters, (before) => ({ ...before, error }))
      }
      const list = found.success.map(({ agentSlug, attempts, diedAt, error, events, id, taskTitle, type }) => ({
        id,
        type,
        events: events.map(({ actorName, type }) => ({ type, by: actorName })),
        agent: agentSlug,
        task: taskTitle,
        attempts,
        // Times are converted to this process's clock, which the browser knows.
        diedAt: diedAt - skew,
        error: error === null ? null : `${error.class}: ${error.message}`
      }))
      return yield* Ref.updateAndGet(lastLetters, () => ({ error: null, list }))
    })
    const [letters, forgetLetters] = yield* Effect.cachedInvalidateWithTTL(readLetters, LETTERS_TTL)

    const lastUsage = yield* Ref.make<UsageList>({ error: null, budgets: [], held: [], list: [] })
    const readUsage = Effect.gen(function* () {
      const found = yield* Effect.result(controlPlane.usage({ days: USAGE_DAYS }))
      if (Result.isFailure(found)) {
        const { failure } = found
        const error = redactor.error("detail" in failure ? failure.detail : failure._tag)
        return yield* Ref.updateAndGet(lastUsage, (before) => ({ ...before, error }))
      }
      const { budgets, held, lines, total } = found.success
      const entries = lines.length > 1 ? [...lines, { name: "All agents", sum: total }] : lines
      const list = entries.map(({ name, sum }) => ({
        agent: name,
        attempts: sum.attempts,
        weightedTokens: sum.weightedTokens,
        cost: costText(sum)
      }))
      const waiting = held.map((each) => ({ ...each, until: untilText(each.until, "the budget is raised") }))
      const latest = { error: null, budgets: budgets.map(budgetText), held: waiting, list }
      return yield* Ref.updateAndGet(lastUsage, () => latest)
    })
    const usage = yield* Effect.cachedWithTTL(readUsage, USAGE_TTL)

    /** The whole text passes the redactor, so that no field can be forgotten. */
    const event = (name: string, body: unknown): string =>
      Sse.encoder.write({ _tag: "Event", event: name, id: undefined, data: redactor.redact(JSON.stringify(body)) })

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
    const deaths = metrics.activityChanges.pipe(
      Stream.mapEffect(() => Effect.map(metrics.deliverySummary, ({ deadLetters }) => deadLetters)),
      Stream.changes,
      Stream.drop(1),
      Stream.mapEffect(() => forgetLetters)
    )
    const letterEvents = Stream.merge(Stream.tick(LETTERS_TTL), deaths).pipe(
      Stream.mapEffect(() => letters),
      Stream.map((body) => event("letters", body))
    )
    const usageEvents = Stream.tick(USAGE_TTL).pipe(
      Stream.mapEffect(() => usage),
      Stream.map((body) => event("usage", body))
    )
    const first = Stream.fromEffect(Effect.map(snapshot, (body) => event("state", body)))
    const events = Stream.concat(
      first,
      Stream.mergeAll([states, letterEvents, usageEvents], { concurrency: "unbounded" })
    ).pipe(
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
          return HttpServerResponse.stream(Stream.encodeText(events), {
            contentType: "text/event-stream",
            headers: { ...headers, "x-accel-buffering": "no" }
          })
        })
      )
    )
  })
)
