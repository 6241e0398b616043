import { Clock, Context, Effect, Layer, Ref, Result, Schedule, Scope, Stream, SubscriptionRef } from "effect"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { Roster as RosterAnswer } from "../../domain/tasks/Roster.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { ConvexClient } from "../../layers/ConvexClient.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Telemetry } from "../../layers/telemetry/Telemetry.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { makeFailureStreak } from "../../services/FailureStreak.ts"
import { Roster } from "../../services/Roster.ts"
import { Supervisor } from "../../services/Supervisor.ts"

/** The agentSync part of /health; times are epoch milliseconds. */
export interface AgentSyncState {
  /** Null until the first roster has arrived. */
  readonly revision: number | null
  readonly agents: number
  /** The slugs of paused agents. */
  readonly paused: ReadonlyArray<string>
  readonly lastSyncAt: number | null
  readonly lastErrorAt: number | null
  readonly lastErrorMessage: string | null
}

/**
 * Keeps the roster up to date: the control plane pushes each change, the pulse carries the roster's revision, and while
 * push is down the roster is read every AGENT_SYNC_INTERVAL. After a failure the last roster stays in use.
 */
export class AgentSync extends Context.Service<
  AgentSync,
  {
    /** Starts following the roster under the supervisor, in the scope. */
    readonly start: Effect.Effect<void>
    /** Takes the pulse's revision of the roster, and reads the roster at once if it is another one. */
    onRevision(revision: number): Effect.Effect<void>
    readonly state: Effect.Effect<AgentSyncState>
  }
>()("runtime-service/programs/AgentSync") {
  static readonly layer = Layer.effect(
    AgentSync,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const { push } = yield* ConvexClient
      const metrics = yield* Metrics
      const roster = yield* Roster
      const supervisor = yield* Supervisor
      const telemetry = yield* Telemetry
      const scope = yield* Effect.scope
      const last = yield* Ref.make<Pick<AgentSyncState, "lastSyncAt" | "lastErrorAt" | "lastErrorMessage">>({
        lastSyncAt: null,
        lastErrorAt: null,
        lastErrorMessage: null
      })

      const failing = makeFailureStreak()
      const noteRoster = ({ agents, revision }: RosterAnswer) =>
        telemetry.note({ "mission_control.roster.revision": revision, "mission_control.agents": agents.length })

      const accept = (answer: RosterAnswer, options?: { readonly isLatest: boolean }) =>
        Effect.tap(roster.accept(answer, options), (isNew) =>
          isNew ? metrics.rosterKnown(answer.agents) : Effect.void
        )

      const synced = Effect.gen(function* () {
        const lastSyncAt = yield* Clock.currentTimeMillis
        yield* Ref.update(last, (before) => ({ ...before, lastSyncAt }))
        yield* metrics.synced("roster", true)
        yield* failing.recovered("the roster can be read again")
      })

      const failed = Effect.fnUntraced(function* (failure: ControlPlaneFailure) {
        const lastErrorAt = yield* Clock.currentTimeMillis
        const lastErrorMessage = "detail" in failure ? `${failure._tag}: ${failure.detail}` : failure._tag
        yield* Ref.update(last, (state) => ({ ...state, lastErrorAt, lastErrorMessage }))
        yield* metrics.synced("roster", false)
        const message = `the roster could not be read, the last one stays in use: ${lastErrorMessage}`
        yield* failing.isFirst(lastErrorMessage) ? Effect.logWarning(message) : Effect.logDebug(message)
      })

      /** Requests the roster. The answer is dropped if a newer one arrived in the meantime. */
      const refresh = Effect.gen(function* () {
        const before = yield* roster.current
        const answer = yield* controlPlane.readRoster
        const isLatest = (yield* roster.current) === before
        yield* accept(answer, { isLatest })
        yield* noteRoster(answer)
        yield* synced
      }).pipe(telemetry.root("AgentSync.refresh"), Effect.catch(failed))

      const onRevision = Effect.fn("AgentSync.onRevision")(function* (revision: number) {
        if ((yield* roster.current)?.revision !== revision) yield* refresh
      })

      const follow = Stream.runForEach(controlPlane.rosters, (result) =>
        Result.isSuccess(result)
          ? accept(result.success).pipe(
              Effect.andThen(noteRoster(result.success)),
              telemetry.root("AgentSync.pushed"),
              Effect.andThen(synced)
            )
          : failed(result.failure)
      ).pipe(Effect.andThen(Effect.never))

      const whilePushIsDown = Effect.gen(function* () {
        const { isConnected } = yield* SubscriptionRef.get(push)
        if (!isConnected) yield* refresh
      }).pipe(Effect.delay(config.agentSyncInterval), Effect.repeat(Schedule.forever), Effect.andThen(Effect.never))

      const start = Effect.gen(function* () {
        yield* supervisor.run("agent-sync", follow)
        yield* supervisor.run("agent-sync-interval", whilePushIsDown)
      }).pipe(Effect.provideService(Scope.Scope, scope))

      return AgentSync.of({
        start,
        onRevision,
        state: Effect.gen(function* () {
          const current = yield* roster.current
          return {
            revision: current?.revision ?? null,
            agents: current?.agents.length ?? 0,
            paused: (current?.agents ?? []).filter(({ isPaused }) => isPaused).map(({ slug }) => slug),
            ...(yield* Ref.get(last))
          }
        })
      })
    })
  )
}
