import { Context, Duration, Effect, Latch, Layer, Scope, Stream } from "effect"
import type { Watched } from "../../domain/controlPlane/RuntimeCommands.ts"
import { turnProgress } from "../../domain/observability/TurnProgress.ts"
import { GatewayEvents } from "../../layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { LiveRuns } from "../../services/LiveRuns.ts"
import { Supervisor } from "../../services/Supervisor.ts"
import { Commands } from "./Commands.ts"

const INTERVAL = Duration.seconds(10)

/**
 * Reports how far the running turns are while people watch: at once, then every 10 s if something has changed, in one
 * call for all turns. Makes no call while no one watches or no turn runs. A failed report is repeated after 10 s and
 * affects no turn.
 */
export class ProgressReports extends Context.Service<
  ProgressReports,
  {
    /** Starts to follow who watches, and to report. */
    readonly start: Effect.Effect<void>
  }
>()("runtime-service/programs/ProgressReports") {
  static readonly layer = Layer.effect(
    ProgressReports,
    Effect.gen(function* () {
      const commands = yield* Commands
      const controlPlane = yield* ControlPlane
      const events = yield* GatewayEvents
      const liveRuns = yield* LiveRuns
      const metrics = yield* Metrics
      const supervisor = yield* Supervisor
      const scope = yield* Effect.scope
      const isWatched = yield* Latch.make(false)
      let latest: Watched = { since: 0, until: 0 }
      /** The last stored report, in the watch that began at `since`. */
      let stored = { since: 0, report: "" }

      const report = Effect.gen(function* () {
        const { since } = latest
        const live = yield* events.current
        const { running } = yield* metrics.activity
        const turns = (yield* liveRuns.current).flatMap(({ context, fence }) => {
          const work = running.find(({ run }) => run === fence.run)
          return work === undefined ? [] : [turnProgress(fence, work, live.get(context.sessionKey))]
        })
        const text = JSON.stringify(turns)
        if (turns.length === 0 || (stored.since === since && stored.report === text)) return
        yield* controlPlane.reportProgress(turns)
        stored = { since, report: text }
      })

      const reports = isWatched.await.pipe(
        Effect.andThen(controlPlane.now),
        Effect.flatMap((now) => {
          if (now >= latest.until) return Effect.sync(() => isWatched.closeUnsafe())
          return report.pipe(
            Effect.catch(({ _tag }) => Effect.logDebug(`progress was not stored: ${_tag}`)),
            Effect.andThen(Effect.sleep(INTERVAL))
          )
        }),
        Effect.forever
      )

      const follow = commands.watched.pipe(
        Stream.runForEach((watched) =>
          Effect.sync(() => {
            latest = watched
            isWatched.openUnsafe()
          })
        ),
        Effect.andThen(Effect.never)
      )

      return ProgressReports.of({
        start: Effect.gen(function* () {
          yield* supervisor.run("watches", follow)
          yield* supervisor.run("progress-reports", reports)
        }).pipe(Effect.provideService(Scope.Scope, scope))
      })
    })
  )
}
