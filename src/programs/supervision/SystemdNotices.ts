import { Context, Deferred, Duration, Effect, Layer, Option, Ref, Schedule, Scope, Stream } from "effect"
import type { Health } from "../../domain/observability/Health.ts"
import { singleLine, truncate } from "../../domain/text/Text.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Systemd } from "../../layers/host/Systemd.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { RuntimeHealth } from "../../services/RuntimeHealth.ts"
import { Supervisor } from "../../services/Supervisor.ts"

/** A start waits for control plane and gateway without limit. It requests this much more time at this interval. */
const START_INTERVAL = Duration.seconds(20)
const START_EXTENSION = Duration.seconds(60)
/** The time after a drain: abort and release, the last pulse, the gateway's end, telemetry. */
const AFTER_DRAIN = Duration.seconds(18)
const LAST_WORD_TIMEOUT = "2 seconds"
const STATUS_CHARACTERS = 300

/** The statuses of a process between its first readiness and its drain. */
const hasBooted: ReadonlySet<Health["status"]> = new Set(["online", "paused", "degraded", "failing"])

/** The line that `systemctl status` shows. */
export const statusLine = ({ reasons: all, status }: Pick<Health, "status" | "reasons">): string => {
  const reasons = all.filter((reason) => reason !== status)
  const text = reasons.length === 0 ? status : `${status}: ${reasons.join("; ")}`
  return truncate(singleLine(`STATUS=${text}`), STATUS_CHARACTERS)
}

const extend = (by: Duration.Duration): string => `EXTEND_TIMEOUT_USEC=${Duration.toMillis(by) * 1_000}`

/**
 * Reports to systemd (Type=notify): READY=1 at the first readiness, STATUS at each change, WATCHDOG=1 every half of the
 * watchdog's time while the event loop and every supervised loop run, STOPPING=1 at a signal, or after the drain of a
 * restart or upgrade, which has no deadline, because systemd counts TimeoutStopSec from STOPPING=1.
 */
export class SystemdNotices extends Context.Service<
  SystemdNotices,
  {
    /** Starts the reports; does nothing without systemd. */
    readonly start: Effect.Effect<void>
    /** Sends STOPPING=1 once, and waits at most two seconds for it. */
    readonly stopping: Effect.Effect<void>
  }
>()("runtime-service/programs/SystemdNotices") {
  static readonly layer = Layer.effect(
    SystemdNotices,
    Effect.gen(function* () {
      const { drainTimeout } = yield* RuntimeConfig
      const health = yield* RuntimeHealth
      const lifecycle = yield* Lifecycle
      const supervisor = yield* Supervisor
      const systemd = yield* Systemd
      const scope = yield* Effect.scope
      const isReady = yield* Ref.make(false)
      const isStopping = yield* Ref.make(false)
      const isSaid = yield* Deferred.make<void>()

      const follow = health.changes.pipe(
        Stream.map((state) => ({ isReady: hasBooted.has(state.status), status: statusLine(state) })),
        Stream.changesWith((before, after) => before.isReady === after.isReady && before.status === after.status),
        Stream.runForEach((now) =>
          Effect.gen(function* () {
            const isFirst = now.isReady && !(yield* Ref.getAndUpdate(isReady, (before) => before || now.isReady))
            yield* systemd.notify([...(isFirst ? ["READY=1"] : []), now.status])
          })
        ),
        Effect.andThen(Effect.never)
      )

      const askForTime = Effect.gen(function* () {
        if (!(yield* Ref.get(isReady))) yield* systemd.notify([extend(START_EXTENSION)])
      }).pipe(Effect.repeat(Schedule.spaced(START_INTERVAL)), Effect.andThen(Effect.never))

      const keepAlive = (interval: Duration.Duration) =>
        Effect.gen(function* () {
          if (yield* supervisor.isWhole) yield* systemd.notify(["WATCHDOG=1"])
        }).pipe(Effect.repeat(Schedule.fixed(interval)), Effect.andThen(Effect.never))

      const say = systemd
        .notify(["STOPPING=1", extend(Duration.sum(drainTimeout, AFTER_DRAIN))])
        .pipe(Effect.ensuring(Deferred.succeed(isSaid, undefined)))
      const stopping = Effect.gen(function* () {
        if (!systemd.isListening) return
        if (!(yield* Ref.getAndSet(isStopping, true))) yield* Effect.forkIn(say, scope)
        yield* Deferred.await(isSaid).pipe(Effect.timeout(LAST_WORD_TIMEOUT), Effect.ignore)
      })

      const start = Effect.gen(function* () {
        if (!systemd.isListening) return
        yield* supervisor.run("systemd", follow)
        yield* supervisor.run("systemd-start", askForTime)
        yield* supervisor.run(
          "systemd-stop",
          Effect.andThen(lifecycle.signalled, Effect.andThen(stopping, Effect.never))
        )
        if (Option.isSome(systemd.watchdog)) {
          yield* supervisor.run("systemd-watchdog", keepAlive(Duration.times(systemd.watchdog.value, 0.5)))
        }
      }).pipe(Effect.provideService(Scope.Scope, scope))

      return SystemdNotices.of({ start, stopping })
    })
  )
  /** No systemd; for tests of other programs. */
  static readonly layerTest = Layer.succeed(SystemdNotices, { start: Effect.void, stopping: Effect.void })
}
