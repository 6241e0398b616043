import { Clock, Context, Duration, Effect, Layer, Queue, Scope } from "effect"
import { backoffBounds, backoffSchedule } from "../../domain/delivery/Backoff.ts"
import { heartbeatPermits } from "../../domain/delivery/ClaimPlan.ts"
import type { RunEnd } from "../../domain/delivery/RunEnd.ts"
import { monotonicMillis } from "../../domain/observability/Monotonic.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Permits } from "../../services/Permits.ts"
import { Roster } from "../../services/Roster.ts"
import { Supervisor } from "../../services/Supervisor.ts"
import { DeliveryLoop } from "../delivery/DeliveryLoop.ts"

/** The last heartbeat in /health; the time is in epoch milliseconds. */
export interface LastHeartbeat {
  readonly agent: string | null
  readonly outcome: RunEnd["outcome"]
  readonly at: number
}

/** The heartbeats in /health: counts since the start. */
export interface HeartbeatsState {
  /** Agents on the roster. */
  readonly agents: number
  readonly inFlight: number
  /** How many heartbeats may run at once. */
  readonly limit: number
  readonly outcomes: Readonly<Partial<Record<RunEnd["outcome"], number>>>
  readonly lastHeartbeat: LastHeartbeat | null
  readonly lastErrorAt: number | null
  readonly lastErrorMessage: string | null
}

/**
 * Schedules heartbeats: learns from each end when the agent's next one is due, and requests a claim at that time. The
 * control plane calculates the times, and the delivery loop claims and executes heartbeats like any other run.
 */
export class Heartbeats extends Context.Service<
  Heartbeats,
  {
    /** Starts under the supervisor, in the scope. */
    readonly start: Effect.Effect<void>
    readonly state: Effect.Effect<HeartbeatsState>
  }
>()("runtime-service/programs/Heartbeats") {
  static readonly layer = Layer.effect(
    Heartbeats,
    Effect.suspend(() => make)
  )
}

/** When a heartbeat is due, and since when this is known, in monotonic milliseconds. */
interface Due {
  readonly at: number
  readonly knownSince: number
}

const make = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const loop = yield* DeliveryLoop
  const metrics = yield* Metrics
  const permits = yield* Permits
  const roster = yield* Roster
  const supervisor = yield* Supervisor
  const scope = yield* Effect.scope
  const limit = heartbeatPermits(permits.total)
  const ends = yield* loop.heartbeatEnds
  const backoff = backoffSchedule(backoffBounds(config))

  // Only the fiber of the heartbeats writes it.
  let counted: Omit<HeartbeatsState, "agents" | "inFlight" | "limit"> = {
    outcomes: {},
    lastHeartbeat: null,
    lastErrorAt: null,
    lastErrorMessage: null
  }
  let next: Due | null = null

  const onEnd = Effect.fnUntraced(function* ({ agent, dueInMillis, error, outcome }: RunEnd) {
    const at = yield* Clock.currentTimeMillis
    counted = {
      outcomes: { ...counted.outcomes, [outcome]: (counted.outcomes[outcome] ?? 0) + 1 },
      lastHeartbeat: { agent, outcome, at },
      lastErrorAt: error === null ? counted.lastErrorAt : at,
      lastErrorMessage: error ?? counted.lastErrorMessage
    }
    if (dueInMillis === null) return
    const knownSince = yield* monotonicMillis
    const due = { at: knownSince + Math.max(0, dueInMillis), knownSince }
    if (next === null || due.at < next.at) next = due
    if (agent !== null) yield* metrics.heartbeatDue(agent, at + Math.max(0, dueInMillis))
  })

  /** Claims unless a claim was sent after the due time became known, because that claim has read it. */
  const claimWhenDue = Effect.fnUntraced(function* ({ at, knownSince }: Due) {
    yield* Effect.sleep(Duration.millis(at - (yield* monotonicMillis)))
    yield* Effect.retry(loop.claimedSince(knownSince), backoff)
  })

  const step = Effect.gen(function* () {
    const isEnded = Effect.as(Queue.peek(ends), true)
    const isClaimed = next === null ? Effect.never : Effect.as(claimWhenDue(next), false)
    if (yield* Effect.raceFirst(isEnded, isClaimed)) yield* onEnd(yield* Queue.take(ends))
    else next = null
  })

  const start = supervisor
    .run("heartbeats", Effect.forever(step))
    .pipe(Effect.asVoid, Effect.provideService(Scope.Scope, scope))

  return Heartbeats.of({
    start,
    state: Effect.zipWith(roster.current, loop.state, (known, { heartbeatsInFlight }) => ({
      agents: known?.agents.length ?? 0,
      inFlight: heartbeatsInFlight,
      limit,
      ...counted
    }))
  })
})
