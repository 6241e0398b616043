import { Clock, Duration, Effect, Option } from "effect"
import { describeFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { baseUrlOf } from "../layers/config/LocalAddress.ts"
import { Telemetry } from "../layers/telemetry/Telemetry.ts"
import { Lifecycle } from "../services/Lifecycle.ts"
import type { Fatal, StopReason } from "../services/Lifecycle.ts"
import { Permits } from "../services/Permits.ts"
import { AgentSync } from "./agents/AgentSync.ts"
import { Heartbeats } from "./agents/Heartbeats.ts"
import { ProfileSync } from "./agents/ProfileSync.ts"
import { DeliveryLoop } from "./delivery/DeliveryLoop.ts"
import { Commands } from "./supervision/Commands.ts"
import { GatewayWatch } from "./supervision/GatewayWatch.ts"
import { Presence } from "./supervision/Presence.ts"
import { ProgressReports } from "./supervision/ProgressReports.ts"
import { SystemdNotices } from "./supervision/SystemdNotices.ts"

/** Why the process ended. */
export type End =
  | { readonly _tag: "Stopped"; readonly reason: StopReason }
  | { readonly _tag: "Aborted"; readonly fatal: Fatal }

/** The exit code for the host: 75 means start again, 78, 77 and 70 name what is wrong. */
export const exitCodeOf = (end: End): number =>
  end._tag === "Aborted" ? end.fatal.exitCode : end.reason === "signal" ? 0 : 75

/**
 * The lifecycle of the process after its layers are built: boot, work until a stop is requested, drain. Abort, release
 * and the offline pulse are finalizers, so that they run for every kind of end.
 */
export const run = Effect.gen(function* () {
  const agentSync = yield* AgentSync
  const commands = yield* Commands
  const config = yield* RuntimeConfig
  const heartbeats = yield* Heartbeats
  const lifecycle = yield* Lifecycle
  const gateway = yield* GatewayWatch
  const loop = yield* DeliveryLoop
  const permits = yield* Permits
  const presence = yield* Presence
  const profiles = yield* ProfileSync
  const progressReports = yield* ProgressReports
  const systemd = yield* SystemdNotices

  const telemetry = yield* Telemetry
  const began = yield* Clock.currentTimeMillis
  /** Records the boot as a trace after its end. A span around it would be the parent of everything that it starts. */
  const tellBoot = Effect.fnUntraced(
    function* (steps: ReadonlyArray<readonly [name: string, to: number]>) {
      let from = began
      for (const [name, to] of steps) {
        yield* telemetry.passed(name, { from, to })
        from = to
      }
    },
    telemetry.root("Runtime.boot", { startedAt: began })
  )

  const work = Effect.gen(function* () {
    yield* systemd.start
    yield* presence.boot.pipe(
      Effect.catch((failure) =>
        Effect.andThen(
          lifecycle.abort(
            failure._tag === "TokenRefused"
              ? { exitCode: 77, message: `SERVICE_TOKEN was refused: ${failure.detail}` }
              : { exitCode: 78, message: describeFailure(failure) }
          ),
          Effect.never
        )
      )
    )
    const online = yield* Clock.currentTimeMillis
    yield* commands.start
    yield* presence.start
    yield* agentSync.start
    yield* profiles.boot
    const synced = yield* Clock.currentTimeMillis
    yield* gateway.start
    yield* profiles.start
    yield* gateway.ready
    const gatewayReady = yield* Clock.currentTimeMillis
    yield* loop.start
    yield* heartbeats.start
    yield* progressReports.start
    yield* lifecycle.enter("ready")
    if (telemetry.isOn) {
      const ready = yield* Clock.currentTimeMillis
      yield* tellBoot([
        ["Presence.boot", online],
        ["ProfileSync.boot", synced],
        ["GatewayWatch.ready", gatewayReady],
        ["Runtime.loops", ready]
      ])
    }
    yield* Effect.logInfo("ready").pipe(
      Effect.annotateLogs({
        account: config.accountId,
        runtime: config.runtimeId,
        version: config.runtimeVersion,
        page: `${baseUrlOf(config.healthHost, config.healthPort)}/`
      })
    )
    return yield* Effect.never
  })

  const stop: Effect.Effect<End> = Effect.map(lifecycle.stopRequested, (reason) => ({ _tag: "Stopped", reason }))
  const abort: Effect.Effect<End> = Effect.map(lifecycle.aborted, (fatal) => ({ _tag: "Aborted", fatal }))
  return yield* Effect.gen(function* () {
    const end = yield* Effect.raceFirst(work, Effect.raceFirst(stop, abort))
    if (end._tag === "Aborted") {
      yield* Effect.logError(end.fatal.message)
      return end
    }
    yield* lifecycle.enter("draining")
    const live = permits.total - (yield* permits.free)
    const idleWithin = (budget: Duration.Duration) =>
      Effect.logInfo(
        live === 0 ? "stopping" : `draining: waiting up to ${Duration.format(budget)} for running turns`
      ).pipe(
        Effect.annotateLogs({ running: live }),
        Effect.andThen(Effect.timed(permits.idle)),
        Effect.timeoutOption(budget),
        Effect.flatMap((idle) =>
          Option.isSome(idle)
            ? gateway.drain(Duration.subtract(budget, idle.value[0]))
            : Effect.logWarning("the drain timed out: running turns are aborted and released")
        )
      )
    // After a signal the host has a deadline for the drain. The same is true of a signal during the drain of a restart.
    const drainsFrom = yield* Clock.currentTimeMillis
    const ended: End | "signal" =
      end.reason === "signal"
        ? "signal"
        : yield* Effect.raceFirst(
            Effect.as(idleWithin(config.turnTimeout), end),
            Effect.raceFirst(Effect.as(lifecycle.signalled, "signal" as const), abort)
          )
    const left: End =
      ended === "signal"
        ? yield* Effect.as(idleWithin(config.drainTimeout), { _tag: "Stopped", reason: "signal" } as const)
        : ended
    if (left._tag === "Aborted") yield* Effect.logError(left.fatal.message)
    yield* Effect.void.pipe(
      telemetry.root("Runtime.drain", {
        startedAt: drainsFrom,
        attributes: { "mission_control.stop.reason": end.reason, "mission_control.stop.live_turns": live }
      })
    )
    yield* commands.leaving
    return left
  }).pipe(Effect.ensuring(systemd.stopping), Effect.ensuring(loop.halt))
})
