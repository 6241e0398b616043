/** The runtime with the programs and services that main builds, over a network, a gateway and a clock of the world. */
import { NodeCrypto } from "@effect/platform-node"
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Layer,
  Logger,
  Random,
  Redacted,
  References,
  SubscriptionRef
} from "effect"
import { Option } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type { ModelCall } from "../../src/domain/gateway/GatewayEvent.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import type { PushState } from "../../src/layers/ConvexClient.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../src/layers/gateway/GatewayProcess.ts"
import { ModelPrices } from "../../src/layers/gateway/ModelPrices.ts"
import { Upgrader } from "../../src/layers/host/Upgrader.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { Telemetry } from "../../src/layers/telemetry/Telemetry.ts"
import { AgentSync } from "../../src/programs/agents/AgentSync.ts"
import { Heartbeats } from "../../src/programs/agents/Heartbeats.ts"
import { ProfileSync } from "../../src/programs/agents/ProfileSync.ts"
import { DeliveryLoop } from "../../src/programs/delivery/DeliveryLoop.ts"
import { RunExecution } from "../../src/programs/delivery/RunExecution.ts"
import { exitCodeOf, run } from "../../src/programs/Runtime.ts"
import { Commands } from "../../src/programs/supervision/Commands.ts"
import { GatewayWatch } from "../../src/programs/supervision/GatewayWatch.ts"
import { Presence } from "../../src/programs/supervision/Presence.ts"
import { ProgressReports } from "../../src/programs/supervision/ProgressReports.ts"
import { SystemdNotices } from "../../src/programs/supervision/SystemdNotices.ts"
import { AgentTools } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Leases } from "../../src/services/Leases.ts"
import { canClaim, Lifecycle, StopSignal } from "../../src/services/Lifecycle.ts"
import { LiveRuns } from "../../src/services/LiveRuns.ts"
import { Permits } from "../../src/services/Permits.ts"
import { Roster } from "../../src/services/Roster.ts"
import { RuntimeHealth } from "../../src/services/RuntimeHealth.ts"
import { Supervisor } from "../../src/services/Supervisor.ts"
import { Turns } from "../../src/services/Turns.ts"
import { Dice } from "./dice.ts"
import { memoryConvex } from "./memoryConvex.ts"
import { GATEWAY_SECRET } from "./memoryGateway.ts"
import type { MemoryGateway } from "./memoryGateway.ts"
import { RuntimeProcess } from "./world.ts"
import type { World } from "./world.ts"

/** Mistakes planted between the programs and the world. */
export interface Wrappers {
  readonly gateway?: (inner: Gateway["Service"], world: World) => Gateway["Service"]
  readonly convex?: (inner: ConvexClient["Service"]) => ConvexClient["Service"]
  readonly events?: (call: ModelCall) => ModelCall
  readonly permits?: (inner: Permits["Service"]) => Permits["Service"]
}

const wrapped = <I, S, R>(
  key: Effect.Effect<S, never, I>,
  layer: (effect: Effect.Effect<S, never, I>) => Layer.Layer<I, never, I>,
  inner: Layer.Layer<I, never, R>,
  wrap: ((service: S) => S) | undefined
): Layer.Layer<I, never, R> => (wrap === undefined ? inner : layer(Effect.map(key, wrap)).pipe(Layer.provide(inner)))

/** The process's own clock: the world's, with the jumps and freezes of its machine. */
const clockOf = (base: Clock.Clock, process: RuntimeProcess): Clock.Clock => {
  const millis = () => base.currentTimeMillisUnsafe() + process.clockOffset
  const nanos = () => BigInt(Math.round(millis())) * 1_000_000n
  return {
    ...base,
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    // Whole milliseconds, as timers have them: fractions would leave a wait of nearly nothing that never passes.
    sleep: (duration) =>
      Effect.andThen(base.sleep(Duration.millis(Math.ceil(Duration.toMillis(duration)))), process.awake.await)
  }
}

const exitCodeOfCause = (cause: Cause.Cause<unknown>): number => (Cause.hasInterruptsOnly(cause) ? 0 : 70)

/** Starts a runtime's process in the world; calls `onEnd` if it ends on its own. */
export const startProcess = Effect.fnUntraced(function* (options: {
  readonly world: World
  readonly gateway: MemoryGateway
  readonly runtimeId: string
  readonly name: string
  readonly seed: string
  readonly settings: Partial<Settings>
  readonly wrappers?: Wrappers
  readonly onEnd: (process: RuntimeProcess) => Effect.Effect<void>
}) {
  const { gateway, settings, world, wrappers = {} } = options
  const base = yield* Clock.Clock
  const process = new RuntimeProcess({
    name: options.name,
    runtimeId: options.runtimeId,
    startedAt: world.now,
    push: yield* SubscriptionRef.make<PushState>({ isConnected: true, lastMessageAt: null }),
    stop: yield* Deferred.make<void>()
  })
  world.processes.push(process)
  world.trace(`${process.name} starts`)
  const dice = new Dice(options.seed)
  const requestTimeout = settings.gatewayRequestTimeout ?? Duration.seconds(60)
  const convex = wrapped(
    ConvexClient,
    (effect) => Layer.effect(ConvexClient, effect),
    memoryConvex(world, process),
    wrappers.convex
  )
  const { gateway: wrapGateway } = wrappers
  const gatewayLayer = wrapped(
    Gateway,
    (effect) => Layer.effect(Gateway, effect),
    gateway.layer(process, requestTimeout),
    wrapGateway === undefined ? undefined : (inner) => wrapGateway(inner, world)
  )
  const { events: wrapEvents } = wrappers
  const events = gateway.events(process, wrapEvents)
  const permits = wrapped(Permits, (effect) => Layer.effect(Permits, effect), Permits.layer, wrappers.permits)
  const logger = Logger.make(({ cause, logLevel, message }) => {
    if (world.lines === null) return
    const why = cause.reasons.length === 0 ? "" : ` ${Cause.pretty(cause).slice(0, 300)}`
    world.trace(`${process.name} ${logLevel}: ${String(message)}${why}`)
  })
  const layer = Layer.empty.pipe(
    Layer.provideMerge(Layer.mergeAll(Presence.layer, Heartbeats.layer, ProgressReports.layer)),
    Layer.provideMerge(Layer.mergeAll(Commands.layer, AgentSync.layer)),
    Layer.provideMerge(DeliveryLoop.layer),
    Layer.provideMerge(RunExecution.layer),
    Layer.provideMerge(GatewayWatch.layer),
    Layer.provideMerge(Turns.layer),
    Layer.provide(events),
    Layer.provideMerge(AgentTools.layer),
    Layer.provideMerge(LiveRuns.layer),
    Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, RuntimeHealth.layer)),
    Layer.provideMerge(Layer.mergeAll(permits, Leases.layer, Roster.layer)),
    Layer.provideMerge(Layer.mergeAll(ControlPlane.layer, Supervisor.layer)),
    Layer.provideMerge(Lifecycle.layer),
    Layer.provideMerge(
      Layer.mergeAll(
        convex,
        gatewayLayer,
        Metrics.layer,
        ModelPrices.layerTest(),
        Telemetry.layer,
        GatewayProcess.layerTest,
        ProfileSync.layerTest,
        Upgrader.layerTest,
        SystemdNotices.layerTest
      )
    ),
    Layer.provideMerge(Logger.layer([logger])),
    Layer.provideMerge(Redactor.layer),
    Layer.provideMerge(
      RuntimeConfig.layerTest({
        ...settings,
        runtimeId: options.runtimeId,
        gatewayToken: Option.some(Redacted.make(GATEWAY_SECRET))
      })
    ),
    // Signs without a promise, for which virtual time would not wait.
    Layer.provideMerge(NodeCrypto.layerMac),
    Layer.provideMerge(
      Layer.succeed(
        SecureRandom.SecureRandom,
        SecureRandom.make((size) => dice.bytes(size))
      )
    )
  )
  const program = Effect.gen(function* () {
    const guard = yield* GatewayGuard
    const lifecycle = yield* Lifecycle
    const total = (yield* Permits).total
    process.canClaim = Effect.gen(function* () {
      // A half-open breaker lets one probe through, and nothing else until that has ended.
      const isOpen = canClaim(yield* lifecycle.state) && (yield* guard.breaker)._tag === "Closed"
      const leased = [...world.account.queue.sessions.values()].filter(
        ({ lease }) => lease?.bootId === process.bootId
      ).length
      return isOpen && leased < total
    })
    return yield* run
  }).pipe(
    Effect.provide(layer, { local: true }),
    Effect.provideService(StopSignal, Deferred.await(process.stop)),
    Effect.provideService(Random.Random, dice.service),
    // No spans, and lines only for the trace of one seed.
    Effect.provideService(References.TracerEnabled, false),
    Effect.provideService(References.MinimumLogLevel, world.lines === null ? "None" : "Debug"),
    Effect.provideService(Clock.Clock, clockOf(base, process)),
    Effect.exit,
    Effect.flatMap((exit) =>
      Effect.suspend(() => {
        if (process.isDead) return Effect.void
        const exitCode = exit._tag === "Success" ? exitCodeOf(exit.value) : exitCodeOfCause(exit.cause)
        if (exitCode === 70 && exit._tag === "Failure") world.trace(Cause.pretty(exit.cause))
        process.ended = { at: world.now, exitCode }
        world.trace(`${process.name} ends with exit code ${exitCode}`)
        return options.onEnd(process)
      })
    )
  )
  process.fiber = yield* world.fork(program)
  return process
})
