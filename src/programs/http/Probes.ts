import { Clock, Effect, Layer, Option, SubscriptionRef } from "effect"
import { Duration } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { monotonicMillis } from "../../domain/observability/Monotonic.ts"
import { shownGateway } from "../../domain/observability/StatusLights.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { ConvexClient } from "../../layers/ConvexClient.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { GatewayProcess } from "../../layers/gateway/GatewayProcess.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { GatewayGuard } from "../../services/GatewayGuard.ts"
import { Lifecycle, notReadyBecause } from "../../services/Lifecycle.ts"
import { Roster } from "../../services/Roster.ts"
import { RuntimeHealth } from "../../services/RuntimeHealth.ts"
import { allTools } from "../../services/tools/AllTools.ts"
import { AgentSync } from "../agents/AgentSync.ts"
import { Heartbeats } from "../agents/Heartbeats.ts"
import { DeliveryLoop } from "../delivery/DeliveryLoop.ts"

/**
 * The endpoints that show hosts and people the state of the process: /livez (the process alone), /readyz (503 with
 * reasons), /startupz, /health (always 200, everything), /version and /metrics. They answer to any address and contain
 * no secrets.
 */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const agentSync = yield* AgentSync
    const config = yield* RuntimeConfig
    const controlPlane = yield* ControlPlane
    const convex = yield* ConvexClient
    const gateway = yield* Gateway
    const guard = yield* GatewayGuard
    const gatewayProcess = yield* GatewayProcess
    const heartbeats = yield* Heartbeats
    const lifecycle = yield* Lifecycle
    const loop = yield* DeliveryLoop
    const metrics = yield* Metrics
    const redactor = yield* Redactor
    const roster = yield* Roster
    const runtimeHealth = yield* RuntimeHealth
    const startedAt = yield* Clock.currentTimeMillis
    yield* metrics.toolsKnown(["unknown", ...allTools.map(({ name }) => name)])

    const seenGateway = Effect.gen(function* () {
      const { reasons } = yield* lifecycle.state
      return shownGateway(yield* gateway.state, reasons["gateway-configuration"] !== undefined)
    })

    const version = Effect.gen(function* () {
      const { version: openclaw } = yield* gateway.state
      return {
        runtime: config.runtimeVersion,
        openclaw,
        dropletId: Option.getOrNull(config.dropletId),
        region: Option.getOrNull(config.dropletRegion)
      }
    })

    const health = Effect.gen(function* () {
      const state = yield* lifecycle.state
      const push = yield* SubscriptionRef.get(convex.push)
      const versions = yield* version
      const { failing, isReady, reasons, status } = yield* runtimeHealth.current
      return {
        status: status === "online" ? "healthy" : status,
        ready: isReady,
        reasons,
        failing,
        lifecycle: state.phase,
        isPaused: state.isPaused,
        gateway: { ...(yield* seenGateway), restarts: yield* gatewayProcess.restarts },
        delivery: {
          ...(yield* metrics.deliverySummary),
          stuck: (yield* metrics.activity).running.filter(({ isStuck }) => isStuck).length,
          oldestWaiting: (yield* loop.state).oldest,
          config: {
            intervalMillis: Duration.toMillis(config.deliveryInterval),
            leaseMillis: Duration.toMillis(config.deliveryLease),
            backoffBaseMillis: Duration.toMillis(config.deliveryBackoffBase),
            backoffMaxMillis: Duration.toMillis(config.deliveryBackoffMax),
            maxConcurrentSessions: config.deliveryMaxConcurrentSessions,
            maxAttempts: config.deliveryMaxAttempts,
            noResponseLimit: config.noResponseLimit,
            maxToolRounds: config.maxToolRounds,
            turnTimeoutMillis: Duration.toMillis(config.turnTimeout)
          }
        },
        heartbeats: {
          ...(yield* heartbeats.state),
          config: { skipIdle: config.heartbeatSkipIdle }
        },
        agentSync: {
          ...(yield* agentSync.state),
          config: { intervalMillis: Duration.toMillis(config.agentSyncInterval) }
        },
        controlPlane: { push: push.isConnected, lastMessageAt: push.lastMessageAt },
        versions: { runtime: versions.runtime, openclaw: versions.openclaw },
        infrastructure: {
          dropletId: versions.dropletId,
          ipAddress: Option.getOrNull(config.dropletIp),
          region: versions.region
        },
        uptime: Math.round(((yield* Clock.currentTimeMillis) - startedAt) / 1_000),
        metrics: yield* metrics.summary
      }
    })

    /** /readyz lists only reasons of the process, because failing agents do not prevent other work. */
    const ready = Effect.gen(function* () {
      const reasons = notReadyBecause(yield* lifecycle.state)
      return { ready: reasons.length === 0, reasons }
    })

    const scrape = Effect.gen(function* () {
      const { state, version: gatewayVersion } = yield* seenGateway
      const { failing, isReady, status } = yield* runtimeHealth.current
      const { heartbeatsWaitSince, oldest } = yield* loop.state
      yield* metrics.observe({
        isReady,
        status,
        failingAgents: failing.length,
        isPushConnected: (yield* SubscriptionRef.get(convex.push)).isConnected,
        oldestWaitingSeconds: oldest === null ? 0 : Math.max(0, ((yield* controlPlane.now) - oldest) / 1_000),
        heartbeatOverdueSeconds:
          heartbeatsWaitSince === null ? 0 : ((yield* monotonicMillis) - heartbeatsWaitSince) / 1_000,
        breaker: (yield* guard.breaker)._tag,
        isGatewayUp: state === "ready",
        gatewayRestarts: yield* gatewayProcess.restarts,
        build: {
          accountId: config.accountId,
          accountName: (yield* roster.current)?.accountName ?? null,
          runtimeId: config.runtimeId,
          runtimeVersion: config.runtimeVersion,
          gatewayVersion
        }
      })
      return yield* metrics.prometheus
    })

    /** The whole text passes the redactor, so that no field can be forgotten. */
    const json = (body: unknown, status = 200) =>
      HttpServerResponse.text(redactor.redact(JSON.stringify(body)), {
        status,
        contentType: "application/json",
        headers: { "cache-control": "no-store" }
      })

    yield* router.add("GET", "/livez", json({ live: true }))
    yield* router.add(
      "GET",
      "/readyz",
      Effect.map(ready, (body) => json(body, body.ready ? 200 : 503))
    )
    yield* router.add(
      "GET",
      "/startupz",
      Effect.map(lifecycle.state, ({ phase }) =>
        json({ started: phase !== "booting" }, phase === "booting" ? 503 : 200)
      )
    )
    yield* router.add(
      "GET",
      "/health",
      Effect.map(health, (body) => json(body))
    )
    yield* router.add(
      "GET",
      "/version",
      Effect.map(version, (body) => json(body))
    )
    yield* router.add(
      "GET",
      "/metrics",
      Effect.map(scrape, (text) =>
        HttpServerResponse.text(redactor.redact(text), { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    )
  })
)
