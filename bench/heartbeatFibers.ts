/** Heartbeats alone as a process: so many agents at 15 minutes over a control plane in memory; one ready line with its memory. */
import { NodeCrypto } from "@effect/platform-node"
import { Effect, Layer, Logger } from "effect"
import { RuntimeConfig } from "../src/layers/Config.ts"
import { Gateway } from "../src/layers/Gateway.ts"
import { Metrics } from "../src/layers/Metrics.ts"
import { Beats } from "../src/programs/Beats.ts"
import { DeliveryLoop } from "../src/programs/DeliveryLoop.ts"
import { Heartbeats } from "../src/programs/Heartbeats.ts"
import { ControlPlane } from "../src/services/ControlPlane.ts"
import { GatewayGuard } from "../src/services/GatewayGuard.ts"
import { Leases } from "../src/services/Leases.ts"
import { Lifecycle } from "../src/services/Lifecycle.ts"
import { Permits } from "../src/services/Permits.ts"
import { Roster } from "../src/services/Roster.ts"
import { Supervisor } from "../src/services/Supervisor.ts"
import { agentOf, BeatPlane, rosterOf } from "../test/programs/beatPlane.ts"

const count = Number(process.argv[2] ?? 1_000)
const plane = new BeatPlane()
const roster = rosterOf(
  1,
  Array.from({ length: count }, (_, index) => agentOf(`agent-${index}`))
)
plane.setRoster(roster)

const layer = Heartbeats.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Supervisor.layer, Permits.layer)),
  Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Roster.layer)),
  Layer.provide([
    Layer.mock(Beats, {
      run: (beat) =>
        plane.updateAgentHeartbeat(beat, { status: "idle", currentTaskId: null }).pipe(
          Effect.map(({ dueAt, hasWork, now }) => ({
            outcome: "ok" as const,
            error: null,
            nextInMillis: dueAt - now,
            hasWork
          })),
          Effect.orDie
        )
    }),
    Layer.mock(ControlPlane, {
      bootId: "boot",
      now: Effect.clockWith((clock) => clock.currentTimeMillis),
      claimBeat: plane.claimBeat
    }),
    Layer.mock(DeliveryLoop, { wake: Effect.void, beatEnded: () => Effect.void }),
    Layer.mock(Gateway, {}),
    Layer.mock(Leases, { hold: () => Effect.void, renewOverdue: Effect.void }),
    Metrics.layer,
    RuntimeConfig.layerTest(),
    NodeCrypto.layerSecureRandom
  ]),
  Layer.provideMerge(Logger.layer([]))
)

const heapMegabytes = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1_048_576
}

const program = Effect.gen(function* () {
  const lifecycle = yield* Lifecycle
  const heartbeats = yield* Heartbeats
  yield* lifecycle.enter("ready")
  yield* heartbeats.start
  yield* (yield* Roster).accept(roster)
  // Every agent has asked once and waits for its first beat.
  yield* Effect.sleep("1 second").pipe(Effect.repeat({ until: () => plane.asked.length >= count }))
  yield* Effect.sync(() => {
    process.stdout.write(
      `${JSON.stringify({ ready: true, name: "fibers", url: "none:", megabytes: heapMegabytes() })}\n`
    )
  })
  return yield* Effect.never
}).pipe(Effect.provide(layer), Effect.scoped)

process.on("SIGTERM", () => process.exit(0))
await Effect.runPromise(program)
