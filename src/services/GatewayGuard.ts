import { Context, Duration, Effect, Layer, Ref, Schedule } from "effect"
import * as Breaker from "../domain/Breaker.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import type { TurnFailure } from "../domain/TurnFailure.ts"
import { Gateway } from "../layers/Gateway.ts"
import { Lifecycle } from "./Lifecycle.ts"
import { Roster } from "./Roster.ts"

/** How often a paused delivery or a parked agent is looked at again, by `GET /v1/models` and never by a turn. */
const PROBE_INTERVAL = Duration.seconds(30)
/** Settings that look right by `GET /v1/models` and are wrong for a turn are tried by a turn again so late at most. */
const LONGEST_PAUSE_MILLIS = 300_000
/** After a provider's failure the gateway answers "internal error" for about a minute. */
const PROVIDER_COOLDOWN = Duration.seconds(120)

/** Settings of the gateway that a turn found wrong, until a turn finds them right. */
interface Misconfiguration {
  readonly fix: string
  /** Nothing is claimed; otherwise one delivery may try. */
  readonly isPaused: boolean
  readonly until: number
  readonly waitMillis: number
}

/**
 * The admission under which the present fiber's run was claimed: what it tells of its end is told as that one's, so that
 * turns begun before the breaker opened do not speak for the probe.
 */
export const Admission = Context.Reference<Breaker.Admission>("runtime-service/services/GatewayGuard/Admission", {
  defaultValue: () => null
})

/** What all turns together know of the gateway: the breaker, agents it does not know, settings that are wrong. */
export class GatewayGuard extends Context.Service<
  GatewayGuard,
  {
    /** How many turns may begin now; unlimited while the breaker is closed. */
    readonly allowance: Effect.Effect<number>
    /** Milliseconds until the breaker lets a probe through; null when it is not open. */
    readonly opensIn: Effect.Effect<number | null>
    readonly breaker: Effect.Effect<Breaker.Breaker>
    /** Something is about to be claimed; whatever comes of it runs with this `Admission`, and says how it ended. */
    readonly claimed: Effect.Effect<Breaker.Admission>
    /** How many turns of this admission may begin now: the breaker may have opened since. */
    admitted(admission: Breaker.Admission): Effect.Effect<number>
    /** A turn was completed, whatever it said; a failure is none, though gateway or provider may have answered it. */
    readonly completed: Effect.Effect<void>
    /** A run ended without telling anything about the gateway; after another word about the same run it changes nothing. */
    readonly inconclusive: Effect.Effect<void>
    /** A shared failure: feeds the breaker, pauses delivery, or parks the agent. */
    sharedFailure(failure: TurnFailure, agentId: string): Effect.Effect<void>
    /** Whether a provider failed within the gateway's cooldown, so that "internal error" is not taken for silence. */
    readonly hasRecentProviderFailure: Effect.Effect<boolean>
    /** Ids of agents on the roster that the gateway does not know. */
    readonly parkedAgents: Effect.Effect<ReadonlyArray<string>>
    /** Looks once at what is paused or parked; whether some of it may go on. */
    readonly recheck: Effect.Effect<boolean>
    /** Looks again at what is paused or parked, and runs `onRecovered` when some of it may go on; ends never. */
    probing(onRecovered: Effect.Effect<void>): Effect.Effect<never>
  }
>()("runtime-service/services/GatewayGuard") {
  static readonly layer = Layer.effect(
    GatewayGuard,
    Effect.gen(function* () {
      const gateway = yield* Gateway
      const lifecycle = yield* Lifecycle
      const roster = yield* Roster
      const breaker = yield* Ref.make<Breaker.Breaker>(Breaker.closed)
      const lastProviderFailureAt = yield* Ref.make(Number.NEGATIVE_INFINITY)
      const parked = yield* Ref.make<ReadonlyMap<string, string>>(new Map())
      /** Every agent that the roster has listed. */
      const listed = new Set<string>()
      const misconfiguration = yield* Ref.make<Misconfiguration | null>(null)
      let admissions = 0

      const current = Effect.gen(function* () {
        const now = yield* monotonicMillis
        return yield* Ref.updateAndGet(breaker, (before) => Breaker.atTime(before, now))
      })

      const change = Effect.fnUntraced(function* (
        step: (before: Breaker.Breaker, admission: Breaker.Admission, now: number) => Breaker.Breaker
      ) {
        const now = yield* monotonicMillis
        const admission = yield* Admission
        const before = yield* current
        const after = yield* Ref.updateAndGet(breaker, (breaker) => step(breaker, admission, now))
        if (after._tag === "Open" && before._tag !== "Open") {
          const seconds = Math.round(after.waitMillis / 1_000)
          yield* lifecycle.setReason("breaker", `the gateway or its provider keeps failing: one probe in ${seconds} s`)
          yield* Effect.logWarning(`breaker open: no claims, one probe in ${seconds} s`)
        }
        if (after._tag === "Closed" && before._tag !== "Closed") {
          yield* lifecycle.setReason("breaker", null)
          yield* Effect.logInfo("breaker closed: the gateway answers again")
        }
      })

      const sharedFailure = Effect.fn("GatewayGuard.sharedFailure")(function* (failure: TurnFailure, agentId: string) {
        switch (failure._tag) {
          case "UnknownAgent": {
            const isNew = yield* Ref.modify(parked, (before) => [
              !before.has(agentId),
              new Map(before).set(agentId, failure.agentSlug)
            ])
            if (isNew) {
              yield* Effect.logWarning(
                `the gateway does not know agent ${failure.agentSlug}: its notifications wait until GET /v1/models lists it; add it to agents.entries of the gateway's configuration`
              )
            }
            return yield* change(Breaker.onInconclusive)
          }
          case "GatewayMisconfigured": {
            const now = yield* monotonicMillis
            const before = yield* Ref.get(misconfiguration)
            // Turns that were under way when delivery was paused tell nothing new.
            if (before?.isPaused !== true) {
              const { fix } = failure
              const waitMillis =
                before === null
                  ? Duration.toMillis(PROBE_INTERVAL)
                  : Math.min(LONGEST_PAUSE_MILLIS, before.waitMillis * 2)
              yield* Ref.set(misconfiguration, { fix, isPaused: true, until: now + waitMillis, waitMillis })
              const line = `delivery paused: ${failure.detail}; ${fix}`
              yield* before?.fix === fix ? Effect.logDebug(line) : Effect.logError(line)
            }
            yield* lifecycle.setReason("gateway-configuration", failure.fix)
            return yield* change(Breaker.onInconclusive)
          }
          case "ProviderFailed":
            yield* Ref.set(lastProviderFailureAt, yield* monotonicMillis)
            return yield* change(Breaker.onSharedFailure)
          default:
            return yield* change(Breaker.onSharedFailure)
        }
      })

      /** Who has left the roster waits for nothing; who is not on it yet does. */
      const stillParked = Effect.gen(function* () {
        const ids = new Set((yield* roster.current)?.agents.map(({ id }) => id))
        for (const id of ids) listed.add(id)
        return yield* Ref.updateAndGet(parked, (before) =>
          before.size === 0 ? before : new Map([...before].filter(([id]) => ids.has(id) || !listed.has(id)))
        )
      })

      /** Whether something that waited may go on. */
      const probe = Effect.gen(function* () {
        const waiting = yield* stillParked
        const wrong = yield* Ref.get(misconfiguration)
        if (waiting.size === 0 && wrong?.isPaused !== true) return false
        const known = new Set(yield* gateway.agents)
        const isResumed = wrong?.isPaused === true && (yield* monotonicMillis) >= wrong.until
        if (isResumed) {
          yield* Ref.set(misconfiguration, { ...wrong, isPaused: false })
          yield* change(Breaker.onResumed)
          yield* lifecycle.setReason("gateway-configuration", null)
          // What only a turn can show may still be wrong: it has been said, and is not said at each try.
          const line = "the gateway answers: one delivery is tried"
          yield* wrong.waitMillis > Duration.toMillis(PROBE_INTERVAL) ? Effect.logDebug(line) : Effect.logInfo(line)
        }
        const found = [...waiting].filter(([, slug]) => known.has(slug))
        if (found.length === 0) return isResumed
        yield* Ref.update(parked, (before) => {
          const after = new Map(before)
          for (const [id] of found) after.delete(id)
          return after
        })
        yield* Effect.logInfo(`the gateway knows ${found.map(([, slug]) => slug).join(", ")} now`)
        return true
      }).pipe(
        Effect.catch((failure) => Effect.as(Effect.logDebug(`probe of GET /v1/models: ${failure.detail}`), false))
      )

      return GatewayGuard.of({
        allowance: Effect.map(current, Breaker.allowance),
        opensIn: Effect.gen(function* () {
          const now = yield* monotonicMillis
          const breaker = yield* current
          return breaker._tag === "Open" ? breaker.until - now : null
        }),
        breaker: current,
        claimed: Effect.suspend(() => {
          const admission = ++admissions
          return change(Breaker.onClaimed).pipe(Effect.provideService(Admission, admission), Effect.as(admission))
        }),
        admitted: (admission) => Effect.map(current, (breaker) => Breaker.admitted(breaker, admission)),
        completed: Effect.gen(function* () {
          yield* change(Breaker.onCompleted)
          // While one delivery tries settings that were wrong, the end of an earlier one tells nothing of them.
          if ((yield* current)._tag !== "Closed") return
          yield* Ref.update(misconfiguration, (before) => (before?.isPaused === true ? before : null))
        }),
        inconclusive: change(Breaker.onInconclusive),
        sharedFailure,
        hasRecentProviderFailure: Effect.gen(function* () {
          const now = yield* monotonicMillis
          return now - (yield* Ref.get(lastProviderFailureAt)) < Duration.toMillis(PROVIDER_COOLDOWN)
        }),
        parkedAgents: Effect.map(stillParked, (agents) => [...agents.keys()]),
        recheck: probe,
        probing: (onRecovered) =>
          probe.pipe(
            Effect.flatMap((isRecovered) => (isRecovered ? onRecovered : Effect.void)),
            Effect.repeat(Schedule.spaced(PROBE_INTERVAL)),
            Effect.andThen(Effect.never)
          )
      })
    })
  )
}
