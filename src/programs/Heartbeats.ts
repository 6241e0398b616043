import {
  Clock,
  Context,
  Duration,
  Effect,
  FiberMap,
  Latch,
  Layer,
  Option,
  Queue,
  Ref,
  Schema,
  Scope,
  Semaphore,
  Stream
} from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { backoffBounds, backoffSchedule } from "../domain/Backoff.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import { beatPermits, nextCronMoment } from "../domain/HeartbeatCadence.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import type { RosterAgent } from "../domain/Roster.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Metrics } from "../layers/Metrics.ts"
import type { BeatEnd } from "../layers/Metrics.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import { Admission, GatewayGuard } from "../services/GatewayGuard.ts"
import { Leases } from "../services/Leases.ts"
import { canClaim, Lifecycle } from "../services/Lifecycle.ts"
import type { LifecycleState } from "../services/Lifecycle.ts"
import { Permits } from "../services/Permits.ts"
import { Roster } from "../services/Roster.ts"
import { RELEASE_TIMEOUT } from "../services/Runs.ts"
import { Supervisor } from "../services/Supervisor.ts"
import { Beats } from "./Beats.ts"
import type { BeatResult } from "./Beats.ts"
import { DeliveryLoop } from "./DeliveryLoop.ts"

/** The control plane has the agent no longer, or refuses it: looked at again after this, if the roster keeps it. */
const REFUSED_RETRY_MILLIS = 60_000
/** Another turn is the breaker's probe: its end will tell. */
const PROBE_WAIT_MILLIS = 15_000
/**
 * What we know of the control plane's clock is behind it by as long as its answers travel. So far ahead the following
 * moment is looked for, or the one that is due would be told as it; beyond that the control plane refuses it, and its
 * answer sets our clock. A schedule that begins within this time waits for its second moment.
 */
const MOST_BEHIND_MILLIS = 1_000
/** No answer makes an agent be asked about in a busy loop, and no timer is longer than timers can be. */
const SHORTEST_WAIT_MILLIS = 100
const LONGEST_WAIT_MILLIS = Duration.toMillis("1 day")

/** The last heartbeat as /health shows it; the time is epoch milliseconds. */
export interface LastBeat {
  readonly agent: string
  readonly outcome: BeatEnd
  readonly at: number
}

/** The heartbeats part of /health: counts since the start. */
export interface HeartbeatsState {
  /** Agents whose heartbeats are kept. */
  readonly agents: number
  readonly inFlight: number
  /** How many may run at once, beside and never before deliveries. */
  readonly limit: number
  readonly outcomes: Readonly<Partial<Record<BeatEnd, number>>>
  readonly lastBeat: LastBeat | null
  readonly lastErrorAt: number | null
  readonly lastErrorMessage: string | null
}

/** One agent's heartbeats: who it is by the latest roster, and what wakes its fiber. */
interface Chain {
  agent: RosterAgent
  isRemoved: boolean
  /**
   * An answer that was lost may have leased the session: the same request is repeated until it is answered. It leases at
   * its first arrival; `askedAt` is monotonic milliseconds.
   */
  open: { readonly requestId: string; readonly askedAt: number } | null
  readonly wakeups: Queue.Queue<void>
}

/** A step that failed by a bug, so that it is tried again like any other. */
class StepDied extends Schema.TaggedError<StepDied>()("StepDied", { cause: Schema.Defect() }) {}

/** Whether heartbeats may be asked for at all; without the control plane each agent's asking would be in vain. */
const mayBeat = (state: LifecycleState): boolean => canClaim(state) && state.reasons["control-plane"] === undefined

/**
 * One fiber for each agent on the roster asks the control plane for the agent's heartbeat when that is due and runs it
 * there and then. Agents that come, change and go take effect at once; one that goes in mid-beat finishes it.
 */
export class Heartbeats extends Context.Service<
  Heartbeats,
  {
    /** Starts following the roster under the supervisor, within the scope. */
    readonly start: Effect.Effect<void>
    /** Aborts what still runs and gives it back; returns when that is done. */
    readonly halt: Effect.Effect<void>
    readonly state: Effect.Effect<HeartbeatsState>
  }
>()("runtime-service/programs/Heartbeats") {
  static readonly layer = Layer.effect(
    Heartbeats,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const beats = yield* Beats
      const controlPlane = yield* ControlPlane
      const guard = yield* GatewayGuard
      const leases = yield* Leases
      const lifecycle = yield* Lifecycle
      const loop = yield* DeliveryLoop
      const metrics = yield* Metrics
      const permits = yield* Permits
      const roster = yield* Roster
      const secureRandom = yield* SecureRandom
      const supervisor = yield* Supervisor
      const scope = yield* Effect.scope

      const fibers = yield* FiberMap.make<string>()
      const chains = new Map<string, Chain>()
      const isOpen = yield* Latch.make(false)
      const limit = beatPermits(permits.total)
      const slots = yield* Semaphore.make(limit)
      const state = yield* Ref.make<Omit<HeartbeatsState, "agents" | "limit">>({
        inFlight: 0,
        outcomes: {},
        lastBeat: null,
        lastErrorAt: null,
        lastErrorMessage: null
      })

      const ended = Effect.fnUntraced(function* (agent: string, { error, outcome }: BeatResult) {
        const at = yield* Clock.currentTimeMillis
        yield* Ref.update(state, (before) => ({
          ...before,
          outcomes: { ...before.outcomes, [outcome]: (before.outcomes[outcome] ?? 0) + 1 },
          lastBeat: { agent, outcome, at },
          lastErrorAt: error === null ? before.lastErrorAt : at,
          lastErrorMessage: error ?? before.lastErrorMessage
        }))
      })
      const changeInFlight = (by: number) =>
        Ref.update(state, (before) => ({ ...before, inFlight: before.inFlight + by }))

      const onRefusal = Effect.fnUntraced(function* (failure: ControlPlaneFailure) {
        switch (failure._tag) {
          case "TokenRefused":
            return yield* lifecycle.setReason("token", `the deployment refuses SERVICE_TOKEN: ${failure.detail}`)
          case "BootConflict":
            return yield* lifecycle.abort({ exitCode: 78, message: failure.detail })
          default:
            return yield* Effect.logDebug(`heartbeat not asked for: ${failure._tag}`)
        }
      })

      /** An answer that will not come any more may have leased the session all the same: asked again, it says so. */
      const giveBackUnanswered = (request: Parameters<ControlPlane["Service"]["claimBeat"]>[0]) =>
        controlPlane.claimBeat(request).pipe(
          Effect.flatMap((answer) =>
            "claimed" in answer ? Effect.asVoid(controlPlane.release(answer.claimed)) : Effect.void
          ),
          Effect.timeout(RELEASE_TIMEOUT),
          Effect.ignore
        )

      /** For an agent by cron the moment that follows now, which the control plane cannot reckon; none if none ever does. */
      const followingMoment = Effect.fnUntraced(function* ({ heartbeat: schedule }: RosterAgent) {
        if (typeof schedule !== "string") return Option.some({})
        const now = (yield* controlPlane.now) + MOST_BEHIND_MILLIS
        return Option.map(nextCronMoment(schedule, now), (nextDueAt) => ({ nextDueAt, schedule }))
      })

      /**
       * Asks for the beat and runs it. Answers in how many milliseconds to ask again, and whether the delivery loop may
       * have missed the permit that was held meanwhile.
       */
      const askAndRun = Effect.fnUntraced(function* (chain: Chain) {
        // A beat takes the session from a lease that has expired, and this process may be at work under it.
        yield* leases.renewOverdue
        const { agent } = chain
        // Only now: what is reckoned before the wait for a permit may have passed by, and be another runtime's beat.
        const moment = yield* followingMoment(agent)
        const isOpen = mayBeat(yield* lifecycle.state) && (yield* guard.admitted(yield* Admission)) >= 1
        if (chain.isRemoved || Option.isNone(moment) || !isOpen) {
          return { wait: 0, isMissed: (yield* permits.free) === 0 }
        }
        chain.open ??= { requestId: yield* secureRandom.uuidV4(), askedAt: yield* monotonicMillis }
        const { askedAt, requestId } = chain.open
        const wasClosed = (yield* guard.breaker)._tag === "Closed"
        const from = yield* Clock.currentTimeMillis
        const request = {
          agentId: agent.id,
          requestId,
          parkedAgents: yield* guard.parkedAgents,
          ...moment.value
        }
        const answer = yield* controlPlane
          .claimBeat(request)
          .pipe(Effect.onInterrupt(() => giveBackUnanswered(request)))
        chain.open = null
        if (!("claimed" in answer)) {
          return { wait: answer.notBefore - answer.now, isMissed: !wasClosed || (yield* permits.free) === 0 }
        }
        const times = { from, claimed: yield* Clock.currentTimeMillis, claimedThere: answer.now }
        const result = yield* Effect.acquireUseRelease(
          Effect.andThen(changeInFlight(1), leases.hold(answer.claimed, askedAt)),
          () => beats.run(answer.claimed, times),
          () => changeInFlight(-1)
        )
        yield* ended(agent.slug, result)
        yield* loop.beatEnded(result.hasWork)
        // As the breaker's probe it kept the loop from claiming.
        return { wait: result.nextInMillis, isMissed: !wasClosed || (yield* permits.free) === 0 }
      })

      /** In a half-open breaker the beat is the probe; one that never came to a turn makes room for the next. */
      const asAdmitted = Effect.fnUntraced(function* <A, E, R>(work: Effect.Effect<A, E, R>) {
        const admission = yield* guard.claimed
        return yield* work.pipe(Effect.ensuring(guard.inconclusive), Effect.provideService(Admission, admission))
      })

      const untilBreakerCloses = Effect.gen(function* () {
        if ((yield* guard.allowance) >= 1) return
        yield* Effect.sleep(Duration.millis((yield* guard.opensIn) ?? PROBE_WAIT_MILLIS))
      }).pipe(Effect.repeat({ until: () => Effect.map(guard.allowance, (allowance) => allowance >= 1) }))

      const step = Effect.fnUntraced(function* (chain: Chain) {
        yield* isOpen.await
        yield* untilBreakerCloses
        if (chain.isRemoved) return
        const { agent } = chain
        if (Option.isNone(yield* followingMoment(agent))) {
          yield* metrics.heartbeatDue(agent.slug, null)
          yield* Effect.logError(
            `no heartbeats for ${agent.slug}: ${JSON.stringify(agent.heartbeat)} is no cron expression that ever fires; set minutes or five fields in UTC`
          )
          return yield* Queue.take(chain.wakeups)
        }
        const wait = yield* askAndRun(chain).pipe(
          asAdmitted,
          permits.withSpare,
          Effect.onExit((exit) => (exit._tag === "Success" && !exit.value.isMissed ? Effect.void : loop.wake)),
          slots.withPermits(1),
          Effect.map((asked) => asked.wait),
          Effect.catchTag("ControlPlaneRefused", ({ code, detail }) =>
            Effect.as(
              code === "not_found"
                ? Effect.logDebug(`heartbeats of ${agent.slug} wait for the roster: ${detail}`)
                : Effect.logWarning(`no heartbeat for ${agent.slug}: ${detail}`),
              REFUSED_RETRY_MILLIS
            )
          )
        )
        if (chain.isRemoved) return
        const millis = Math.min(LONGEST_WAIT_MILLIS, Math.max(SHORTEST_WAIT_MILLIS, wait))
        yield* metrics.heartbeatDue(agent.slug, (yield* Clock.currentTimeMillis) + millis)
        yield* Effect.timeoutOption(Queue.take(chain.wakeups), Duration.millis(millis))
      })

      const backoff = backoffSchedule(backoffBounds(config))

      /** The agent's fiber: step after step until it leaves the roster; what fails is tried again with backoff. */
      const keep = (chain: Chain) =>
        Effect.suspend(() => step(chain)).pipe(
          Effect.tapError(onRefusal),
          Effect.catchDefect((cause) =>
            Effect.andThen(Effect.logError("a heartbeat's fiber died: restarting it", cause), new StepDied({ cause }))
          ),
          Effect.retry(backoff),
          Effect.repeat({ until: () => chain.isRemoved }),
          Effect.ensuring(Effect.suspend(() => metrics.heartbeatDue(chain.agent.slug, null))),
          Effect.annotateLogs({ loop: "heartbeats", agent: chain.agent.slug })
        )

      const followRoster = Stream.runForEach(
        roster.changes,
        Effect.fnUntraced(function* ({ agents }) {
          const ids = new Set(agents.map(({ id }) => id))
          for (const [id, chain] of chains) {
            if (ids.has(id)) continue
            // The fiber ends by itself, at once or after its running beat.
            chain.isRemoved = true
            chains.delete(id)
            yield* Queue.offer(chain.wakeups, undefined)
          }
          for (const agent of agents) {
            const known = chains.get(agent.id)
            if (known === undefined) {
              const chain: Chain = { agent, isRemoved: false, open: null, wakeups: yield* Queue.sliding<void>(1) }
              chains.set(agent.id, chain)
              yield* FiberMap.run(fibers, agent.id, keep(chain))
              yield* Effect.logDebug(`heartbeats of ${agent.slug} are kept from now on`)
              continue
            }
            const isRescheduled = known.agent.heartbeat !== agent.heartbeat
            known.agent = agent
            // The control plane reckons the new moment when it is asked.
            if (isRescheduled) yield* Queue.offer(known.wakeups, undefined)
          }
          yield* metrics.rosterKnown(agents)
        })
      ).pipe(Effect.andThen(Effect.never))

      const followLifecycle = Stream.runForEach(lifecycle.changes, (state) =>
        mayBeat(state) ? isOpen.open : isOpen.close
      ).pipe(Effect.andThen(Effect.never))

      const start = Effect.gen(function* () {
        if (permits.total === 1) {
          yield* Effect.logWarning(
            "no heartbeats: DELIVERY_MAX_CONCURRENT_SESSIONS is 1, and they never take the last free permit; set it to 2 or more"
          )
        }
        yield* supervisor.run("heartbeats-lifecycle", followLifecycle)
        yield* supervisor.run("heartbeats", followRoster)
      }).pipe(Effect.provideService(Scope.Scope, scope))

      return Heartbeats.of({
        start,
        halt: FiberMap.clear(fibers),
        state: Effect.map(Ref.get(state), (counted) => ({ agents: chains.size, limit, ...counted }))
      })
    })
  )
}
