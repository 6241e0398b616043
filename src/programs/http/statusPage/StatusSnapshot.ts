import { Clock, Effect, Option, SubscriptionRef } from "effect"
import { chartSpans, SPAN_MILLIS } from "../../../domain/observability/Activity.ts"
import { levelOf, shownGateway, statusLights } from "../../../domain/observability/StatusLights.ts"
import { RuntimeConfig } from "../../../layers/Config.ts"
import { ConvexClient } from "../../../layers/ConvexClient.ts"
import { Gateway } from "../../../layers/Gateway.ts"
import { Metrics } from "../../../layers/Metrics.ts"
import { ControlPlane } from "../../../services/ControlPlane.ts"
import { GatewayGuard } from "../../../services/GatewayGuard.ts"
import { canClaim, Lifecycle } from "../../../services/Lifecycle.ts"
import { Permits } from "../../../services/Permits.ts"
import { RuntimeHealth } from "../../../services/RuntimeHealth.ts"
import { DeliveryLoop } from "../../delivery/DeliveryLoop.ts"

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
  attempts: "See the recent errors. The first completed turn ends it.",
  agents: "See the recent errors."
}

const helpFor = (reason: string): string => help[/^[\w-]+/.exec(reason)?.[0] ?? ""] ?? ""

/** What the page shows of this process, read at each change without a call of the control plane. */
export const makeSnapshot = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const controlPlane = yield* ControlPlane
  const convex = yield* ConvexClient
  const gateway = yield* Gateway
  const guard = yield* GatewayGuard
  const lifecycle = yield* Lifecycle
  const loop = yield* DeliveryLoop
  const metrics = yield* Metrics
  const permits = yield* Permits
  const runtimeHealth = yield* RuntimeHealth
  const startedAt = yield* Clock.currentTimeMillis

  const current = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const state = yield* lifecycle.state
    const health = yield* runtimeHealth.current
    const { oldest } = yield* loop.state
    const breaker = yield* guard.breaker
    const isMisconfigured = state.reasons["gateway-configuration"] !== undefined
    const seen = shownGateway(yield* gateway.state, isMisconfigured)
    const activity = yield* metrics.activity
    const { ended, errors, running, agents, failures } = activity
    return {
      now,
      account: config.accountId,
      traceLink: Option.getOrNull(config.traceLink),
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
      activity: { ended, errors, running, agents, failures },
      spans: chartSpans(activity, now),
      latencies: yield* metrics.latencies,
      spanMillis: SPAN_MILLIS
    }
  })
  return { current }
})
