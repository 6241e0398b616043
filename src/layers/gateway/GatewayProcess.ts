/** Supervises the gateway: starts, watches, restarts and stops it. An external gateway is only watched. */
import { Context, Duration, Effect, Layer, Option, Redacted, Ref, Schedule, Stream } from "effect"
import type { FileSystem } from "effect"
import type { ChildProcessSpawner } from "effect/process"
import { judgeGatewayExit } from "../../domain/gateway/GatewayExit.ts"
import { RuntimeConfig } from "../Config.ts"
import type { Gateway } from "../Gateway.ts"
import type { Redactor } from "../secrets/Redactor.ts"
import { makeGatewayHealth } from "./GatewayHealth.ts"
import type { GatewayHealth } from "./GatewayHealth.ts"
import { initGateway, STOP_GRACE } from "./GatewayLaunch.ts"
import type { GatewayEnd, RunningGateway } from "./GatewayLaunch.ts"
import { GatewayToken } from "./GatewayToken.ts"
import { makeVersionCheck, readCommandVersion } from "./GatewayVersionCheck.ts"
import { inheritGateway } from "./InheritedGateway.ts"
import { makeReadinessWatch, UNREADY_LIMIT } from "./ReadinessWatch.ts"
import { makeRestartPolicy } from "./RestartPolicy.ts"

export type { GatewayHealth }

/** An idle gateway ends within about two seconds. */
const USUAL_STOP = Duration.seconds(5)

/** How a run of the gateway ended. */
type RunEnd =
  | ({ readonly _tag: "Ended" } & GatewayEnd)
  | { readonly _tag: "Unready" }
  | { readonly _tag: "PortTaken" }
  | { readonly _tag: "Faulty"; readonly detail: string }

/** Keeps a gateway running, or watches an external one. */
export class GatewayProcess extends Context.Service<
  GatewayProcess,
  {
    /** Whether this process starts the gateway, because OPENCLAW_GATEWAY_URL is not set. */
    readonly isSupervised: boolean
    readonly health: Effect.Effect<GatewayHealth>
    /** The current health and each change. */
    readonly changes: Stream.Stream<GatewayHealth>
    /** How often the gateway was restarted. */
    readonly restarts: Effect.Effect<number>
    /** Starts, watches and restarts the gateway; never ends, and stops the gateway when it is interrupted. */
    readonly supervise: Effect.Effect<never>
    /**
     * Stops the supervised gateway for good, and returns when it has ended. It has this time, at least ten seconds, to
     * finish turns that the runtime did not start.
     */
    drain(within: Duration.Duration): Effect.Effect<void>
  }
>()("runtime-service/layers/gateway/GatewayProcess") {
  static readonly layer = Layer.effect(
    GatewayProcess,
    Effect.suspend(() => make)
  )

  /** An external gateway that is always ready, for tests of other subjects. */
  static readonly layerTest = Layer.succeed(GatewayProcess, {
    isSupervised: false,
    health: Effect.succeed({ status: "ready", detail: "" } as const),
    changes: Stream.succeed({ status: "ready", detail: "" } as const),
    restarts: Effect.succeed(0),
    supervise: Effect.never,
    drain: () => Effect.void
  })
}

const make = Effect.gen(function* () {
  const services = yield* Effect.context<
    RuntimeConfig | Gateway | Redactor | FileSystem.FileSystem | ChildProcessSpawner.ChildProcessSpawner
  >()
  const { gatewayPort, gatewayToken, gatewayUrl } = yield* RuntimeConfig
  const ownToken = yield* GatewayToken
  const isSupervised = Option.isNone(gatewayUrl)
  const health = yield* makeGatewayHealth
  const checkVersion = yield* makeVersionCheck
  const { watch } = yield* makeReadinessWatch(health, checkVersion)
  const policy = yield* makeRestartPolicy(health)
  const current = yield* Ref.make<RunningGateway | null>(null)
  const isDrained = yield* Ref.make(false)

  const runOnce = Effect.gen(function* () {
    yield* policy.noteStart
    const verdict = yield* checkVersion(yield* readCommandVersion)
    if (verdict._tag === "Refused") return { _tag: "Faulty" as const, detail: verdict.message }
    const inherited = yield* inheritGateway
    if (inherited === "taken") return { _tag: "PortTaken" as const }
    yield* health.publish("starting", "the gateway is starting")
    const token = Option.getOrElse(
      Option.orElse(gatewayToken, () => ownToken),
      () => Redacted.make("")
    )
    const running = inherited ?? (yield* initGateway(token))
    yield* Effect.acquireRelease(Ref.set(current, running), () => Ref.set(current, null))
    yield* Effect.logInfo("gateway started, waiting until it is ready").pipe(
      Effect.annotateLogs(running.pid === null ? {} : { pid: running.pid })
    )
    const end: RunEnd = yield* Effect.raceFirst(
      Effect.map(running.ended, (ended) => ({ _tag: "Ended" as const, ...ended })),
      Effect.as(watch, { _tag: "Unready" as const })
    )
    return end
  }).pipe(Effect.catchTag("GatewayNotStarted", ({ detail }) => Effect.succeed({ _tag: "Faulty" as const, detail })))

  const cycle = Effect.gen(function* () {
    if (yield* Ref.get(isDrained)) return yield* Effect.never
    const end = yield* Effect.scoped(runOnce)
    if (yield* Ref.get(isDrained)) return yield* Effect.never
    switch (end._tag) {
      case "Ended": {
        const verdict = judgeGatewayExit(end.exitCode, end.lastLines)
        return yield* verdict._tag === "Restart"
          ? policy.startAgain(verdict.reason)
          : policy.waitForRepair(verdict.reason, false)
      }
      case "Unready":
        return yield* policy.startAgain(`not ready for ${Duration.format(UNREADY_LIMIT)}`)
      case "Faulty":
        return yield* policy.waitForRepair(end.detail, true)
      case "PortTaken":
        yield* health.publishFault(
          `port ${gatewayPort} is in use by another process, which does not accept our token: stop it, or set OPENCLAW_GATEWAY_PORT, or OPENCLAW_GATEWAY_URL and _TOKEN if it is your gateway`
        )
        return yield* Effect.sleep("5 seconds")
    }
  })

  return GatewayProcess.of({
    isSupervised,
    health: health.get,
    changes: health.changes,
    restarts: policy.restarts,
    drain: Effect.fn("GatewayProcess.drain")(function* (within: Duration.Duration) {
      yield* Ref.set(isDrained, true)
      const running = yield* Ref.get(current)
      if (running === null) return
      const grace = Duration.max(within, STOP_GRACE)
      const line = `waiting up to ${Duration.format(grace)} for turns at the gateway that others started`
      yield* Effect.raceAllFirst([
        running.stop(grace),
        // Other processes of its group may outlive it. The end of its run stops them.
        Effect.asVoid(running.ended),
        Effect.logInfo(line).pipe(Effect.delay(USUAL_STOP), Effect.andThen(Effect.never))
      ])
    }),
    supervise: (isSupervised ? Effect.repeat(cycle, Schedule.forever) : Effect.scoped(watch)).pipe(
      Effect.andThen(Effect.never),
      Effect.provideContext(services)
    )
  })
})
