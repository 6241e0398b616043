import { Context, Duration, Effect, Layer, Queue, Ref, Schedule, Stream } from "effect"
import type { ProviderSeen, TurnFailure } from "../domain/delivery/TurnFailure.ts"
import * as Breaker from "../domain/gateway/Breaker.ts"
import { monotonicMillis } from "../domain/observability/Monotonic.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Gateway } from "../layers/Gateway.ts"
import { GatewayProcess } from "../layers/gateway/GatewayProcess.ts"
import { Lifecycle } from "./Lifecycle.ts"
import { Roster } from "./Roster.ts"

/** Interval at which paused delivery or an unknown agent is checked, by `GET /v1/models` and never by a turn. */
const PROBE_INTERVAL = Duration.seconds(30)
/** Maximum time until another turn tests settings that pass `GET /v1/models` but fail turns. */
const LONGEST_PAUSE_MILLIS = 300_000
/** Delay with which work of an unknown agent is released; it doubles each time that it has passed. */
const UNKNOWN_AGENT_MILLIS = { first: 30_000, longest: 300_000 }
/** With profile sync a new agent will be known soon. */
const NEW_AGENT_MILLIS = 2_000
/** After a provider's failure the gateway answers "internal error" for about a minute. */
const PROVIDER_COOLDOWN = Duration.seconds(120)

/** Settings of the gateway that failed a turn, until a turn succeeds. */
interface Misconfiguration {
  readonly fix: string
  /** While true nothing is claimed; otherwise one delivery tests the settings. */
  readonly isPaused: boolean
  readonly until: number
  readonly waitMillis: number
}

/** An agent unknown to the gateway, until GET /v1/models lists it or one of its turns completes. */
interface UnknownAgent {
  readonly slug: string
  readonly waitMillis: number
  readonly until: number
}

/**
 * The admission under which the current fiber's run was claimed. Outcomes are attributed to it, so that turns that started
 * before the breaker opened do not count as the probe.
 */
export const Admission = Context.Reference<Breaker.Admission>("runtime-service/services/GatewayGuard/Admission", {
  defaultValue: () => null
})

/** The state of the gateway as seen by all turns: the breaker, unknown agents, wrong settings. */
export class GatewayGuard extends Context.Service<
  GatewayGuard,
  {
    /** How many turns may start now; unlimited while the breaker is closed. */
    readonly allowance: Effect.Effect<number>
    /** Milliseconds until the breaker lets a probe through; null if it blocks nothing. */
    readonly opensIn: Effect.Effect<number | null>
    readonly breaker: Effect.Effect<Breaker.Breaker>
    /** Starts a claim. Its runs use the returned `Admission` and report their outcomes. */
    readonly claimed: Effect.Effect<Breaker.Admission>
    /** How many turns of this admission may start now, because the breaker may have opened since the claim. */
    admitted(admission: Breaker.Admission): Effect.Effect<number>
    /** A round of the agent's turn completed with calls or a text, so gateway, agent and provider work. */
    completed(agentId: string): Effect.Effect<void>
    /** A run ended and shows nothing about the gateway. No effect if the same run has reported already. */
    readonly inconclusive: Effect.Effect<void>
    /** A shared failure: feeds the breaker, pauses delivery, or marks the agent as unknown. */
    sharedFailure(failure: TurnFailure, agentId: string): Effect.Effect<void>
    /** What all turns saw of the provider, to judge failures with an unclear cause. */
    readonly provider: Effect.Effect<ProviderSeen>
    /** Milliseconds until work of an unknown agent may be retried; null if the gateway knows the agent. */
    unknownAgentDelay(agentId: string): Effect.Effect<number | null>
    /** Checks once whether paused delivery or an unknown agent has recovered. */
    readonly recheck: Effect.Effect<boolean>
    /**
     * Rechecks for ever, follows the gateway's readiness and the breaker, and runs `onRecovered` after each recovery. The
     * first answered round of a probe closes the breaker, possibly long before its run ends.
     */
    probing(onRecovered: Effect.Effect<void>): Effect.Effect<never>
  }
>()("runtime-service/services/GatewayGuard") {
  static readonly layer = Layer.effect(
    GatewayGuard,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const { profileSync, turnTimeout } = yield* RuntimeConfig
  const gateway = yield* Gateway
  const gatewayProcess = yield* GatewayProcess
  const lifecycle = yield* Lifecycle
  const roster = yield* Roster
  const breaker = yield* Ref.make<Breaker.Breaker>(Breaker.closed)
  const closed = yield* Queue.sliding<void>(1)
  const lastProviderFailureAt = yield* Ref.make(Number.NEGATIVE_INFINITY)
  const lastRoundAt = yield* Ref.make(Number.NEGATIVE_INFINITY)
  const unknown = new Map<string, UnknownAgent>()
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
      yield* Queue.offer(closed, undefined)
    }
  })

  const sharedFailure = Effect.fn("GatewayGuard.sharedFailure")(function* (failure: TurnFailure, agentId: string) {
    switch (failure._tag) {
      case "UnknownAgent": {
        if (!unknown.has(agentId)) {
          const slug = failure.agentSlug
          const waitMillis = profileSync ? NEW_AGENT_MILLIS : UNKNOWN_AGENT_MILLIS.first
          unknown.set(agentId, { slug, waitMillis, until: (yield* monotonicMillis) + waitMillis })
          yield* Effect.logWarning(
            `the gateway does not know agent ${slug}: its notifications are released until GET /v1/models lists it; add it to agents.entries of the gateway's configuration`
          )
        }
        return yield* change(Breaker.onInconclusive)
      }
      case "GatewayMisconfigured": {
        const now = yield* monotonicMillis
        const before = yield* Ref.get(misconfiguration)
        // Turns that were running when delivery was paused fail in the same way.
        if (before?.isPaused !== true) {
          const { fix } = failure
          const waitMillis =
            before === null ? Duration.toMillis(PROBE_INTERVAL) : Math.min(LONGEST_PAUSE_MILLIS, before.waitMillis * 2)
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
      // The gateway is up again and recovers within a minute.
      case "GatewayRestarted":
        return yield* change(Breaker.onInconclusive)
      default:
        return yield* change(Breaker.onSharedFailure)
    }
  })

  /** All work of the agent waits until the same time; after it has passed, the next wait is longer. */
  const unknownAgentDelay = Effect.fnUntraced(function* (agentId: string) {
    const known = unknown.get(agentId)
    if (known === undefined) return null
    const now = yield* monotonicMillis
    if (now < known.until) return known.until - now
    const { first, longest } = UNKNOWN_AGENT_MILLIS
    const waitMillis = Math.min(longest, Math.max(first, known.waitMillis * 2))
    unknown.set(agentId, { ...known, waitMillis, until: now + waitMillis })
    return waitMillis
  })

  /** Forgets agents that were removed from the roster. An agent that was never on it stays unknown. */
  const forgetRemoved = Effect.gen(function* () {
    const ids = new Set((yield* roster.current)?.agents.map(({ id }) => id))
    for (const id of ids) listed.add(id)
    for (const id of unknown.keys()) if (listed.has(id) && !ids.has(id)) unknown.delete(id)
  })

  /** Whether paused delivery or an unknown agent has recovered. */
  const recheck = Effect.gen(function* () {
    yield* forgetRemoved
    const wrong = yield* Ref.get(misconfiguration)
    if (unknown.size === 0 && wrong?.isPaused !== true) return false
    const listedByGateway = new Set(yield* gateway.agents)
    const isResumed = wrong?.isPaused === true && (yield* monotonicMillis) >= wrong.until
    if (isResumed) {
      yield* Ref.set(misconfiguration, { ...wrong, isPaused: false })
      yield* change(Breaker.onResumed)
      yield* lifecycle.setReason("gateway-configuration", null)
      // Settings that only a turn can test may still be wrong, which was already logged.
      const line = "the gateway answers, testing it with one delivery"
      yield* wrong.waitMillis > Duration.toMillis(PROBE_INTERVAL) ? Effect.logDebug(line) : Effect.logInfo(line)
    }
    const found = [...unknown].filter(([, { slug }]) => listedByGateway.has(slug))
    if (found.length === 0) return isResumed
    for (const [id] of found) unknown.delete(id)
    yield* Effect.logInfo(`the gateway knows ${found.map(([, { slug }]) => slug).join(", ")} now`)
    return true
  }).pipe(Effect.catch((failure) => Effect.as(Effect.logDebug(`probe of GET /v1/models: ${failure.detail}`), false)))

  const readiness = gatewayProcess.changes.pipe(
    Stream.map(({ status }) => status),
    Stream.changes,
    Stream.filter((status) => status === "ready")
  )

  /** The gateway is ready again, so the breaker lets a probe through at once. */
  const tryAgain = Effect.gen(function* () {
    if ((yield* current)._tag === "Closed") return false
    yield* change(Breaker.onReady)
    yield* Effect.logInfo("the gateway is ready again, testing it with one run")
    return true
  })

  return GatewayGuard.of({
    allowance: Effect.map(current, Breaker.allowance),
    opensIn: Effect.gen(function* () {
      const now = yield* monotonicMillis
      return Breaker.opensIn(yield* current, now)
    }),
    breaker: current,
    claimed: Effect.suspend(() => {
      const admission = ++admissions
      return change(Breaker.onClaimed).pipe(Effect.provideService(Admission, admission), Effect.as(admission))
    }),
    admitted: (admission) => Effect.map(current, (breaker) => Breaker.admitted(breaker, admission)),
    completed: Effect.fnUntraced(function* (agentId: string) {
      unknown.delete(agentId)
      yield* Ref.set(lastRoundAt, yield* monotonicMillis)
      yield* change(Breaker.onCompleted)
      // While one delivery tests the settings, the end of an earlier one shows nothing about them.
      if ((yield* current)._tag !== "Closed") return
      yield* Ref.update(misconfiguration, (before) => (before?.isPaused === true ? before : null))
    }),
    inconclusive: change(Breaker.onInconclusive),
    sharedFailure,
    provider: Effect.gen(function* () {
      const failedAt = yield* Ref.get(lastProviderFailureAt)
      const ago = (yield* monotonicMillis) - failedAt
      const cooldown = Duration.toMillis(PROVIDER_COOLDOWN)
      return {
        hasFailedRecently: ago < cooldown,
        isFailing: ago < cooldown + Duration.toMillis(turnTimeout) && failedAt > (yield* Ref.get(lastRoundAt))
      }
    }),
    unknownAgentDelay,
    recheck,
    probing: (onRecovered) =>
      Effect.all(
        [
          recheck.pipe(
            Effect.flatMap((isRecovered) => (isRecovered ? onRecovered : Effect.void)),
            Effect.repeat(Schedule.spaced(PROBE_INTERVAL))
          ),
          Stream.runForEach(readiness, () =>
            Effect.flatMap(tryAgain, (isOpened) => (isOpened ? onRecovered : Effect.void))
          ),
          Stream.runForEach(Stream.fromQueue(closed), () => onRecovered)
        ],
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.andThen(Effect.never))
  })
})
