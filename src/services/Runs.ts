import { Cause, Context, Duration, Effect, Layer, Random } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { backoffBounds, backoffMillis } from "../domain/Backoff.ts"
import { isControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { Fence } from "../domain/Delivery.ts"
import type { Attributes } from "../domain/TraceAttributes.ts"
import { blameOf } from "../domain/TurnFailure.ts"
import type { Blame, TurnFailure } from "../domain/TurnFailure.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Gateway } from "../layers/Gateway.ts"
import { sessionHash } from "../layers/SessionHash.ts"
import { Telemetry } from "../layers/Telemetry.ts"
import type { TraceRef } from "../layers/Telemetry.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { classOf } from "./FailureStreak.ts"
import { GatewayGuard } from "./GatewayGuard.ts"
import { Leases } from "./Leases.ts"
import { Lifecycle } from "./Lifecycle.ts"

/** An agent that the gateway does not know, or settings that are wrong, are looked at again after this. */
const PARKED_RETRY_MILLIS = 30_000
/** Where profile sync writes the gateway's agents one that is not known yet is about to be; until then it stays parked. */
const NEW_AGENT_RETRY_MILLIS = 2_000
/** "internal error" may be a provider's cooldown of a minute: sooner is pointless. */
const AMBIGUOUS_RETRY_MILLIS = 60_000
/** The whole of abort and release at the end of the process. */
export const RELEASE_TIMEOUT = Duration.seconds(2)

/** Whose failure a turn's is, and after how many milliseconds at the earliest it makes sense to try again. */
export interface Verdict {
  readonly blame: Blame
  readonly leastMillis: number
}

/** How a run writes what became of it, where the way there is the same for all runs. */
export interface Settling<End> {
  /** A failure of the run's own. */
  own(kind: string, detail: string): Effect.Effect<End, ControlPlaneFailure>
  /** A failure that is not the run's: given back, to be tried again. */
  shared(kind: string, detail: string): Effect.Effect<End, ControlPlaneFailure>
  /** Nothing can be written, or must not be. */
  unwritten(outcome: "lease_lost" | "released", error: string): End
}

/** When the calls that brought a run were made, epoch milliseconds of this process; asked for only where traces are on. */
export interface ClaimTimes {
  readonly from: number
  readonly claimed: number
  /** The moment of the claim in the control plane's time. */
  readonly claimedThere: number
  /** When its context was there, if that was another call. */
  readonly known?: number
  /** How many deliveries the claim brought. */
  readonly deliveries?: number
}

/** One attempt of a run, as log lines and traces tell of it. */
export interface Attempt {
  readonly noun: "delivery" | "heartbeat"
  readonly runId: string
  readonly attempt: number
  /** Null while the context is not known. */
  readonly agent: { readonly id: string; readonly slug: string; readonly name: string } | null
  readonly sessionKey: string | null
  /** Further fields of the lines. */
  readonly lines?: Readonly<Record<string, string>>
  readonly times: ClaimTimes | undefined
  readonly previous: TraceRef | undefined
  /** What its trace says beside; asked for only where traces are on. */
  readonly attributes: () => Attributes
}

/** What deliveries and heartbeats have in common between their claim and their end. */
export class Runs extends Context.Service<
  Runs,
  {
    /** The work as one attempt: a trace of its own, and every line of it says whose it is. */
    asAttempt<A, E, R>(attempt: Attempt, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
    /** Tells the attempt's trace how it ended. */
    told(end: { readonly outcome: string; readonly error: string | null }): Effect.Effect<void>
    /** The wait before the next try after so many failures in a row, in milliseconds, with full jitter. */
    backoff(failures: number): Effect.Effect<number>
    /** A boundary for the fences of one prompt, which nobody can foresee. */
    readonly boundary: Effect.Effect<string>
    /** Tells the guard what the failure says of the gateway. */
    judge(failure: TurnFailure, agentId: string): Effect.Effect<Verdict>
    /**
     * Does the work and renews its lease beside it; a lease that is lost interrupts the work, and an interruption from
     * outside gives the run back. Every failure becomes an end; what is left unsaid the lease's expiry says.
     */
    underLease<End, R>(
      run: { readonly noun: "delivery" | "heartbeat"; readonly fence: Fence; readonly settling: Settling<End> },
      work: Effect.Effect<End, ControlPlaneFailure, R>
    ): Effect.Effect<End, never, R>
  }
>()("runtime-service/services/Runs") {
  static readonly layer = Layer.effect(
    Runs,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const leases = yield* Leases
      const guard = yield* GatewayGuard
      const lifecycle = yield* Lifecycle
      const gateway = yield* Gateway
      const secureRandom = yield* SecureRandom
      const telemetry = yield* Telemetry
      const bounds = backoffBounds(config)

      const leastMillisOf = (failure: TurnFailure): number => {
        switch (failure._tag) {
          case "TurnAmbiguous":
            return AMBIGUOUS_RETRY_MILLIS
          case "GatewayMisconfigured":
            return PARKED_RETRY_MILLIS
          case "UnknownAgent":
            return config.profileSync ? NEW_AGENT_RETRY_MILLIS : PARKED_RETRY_MILLIS
          default:
            return "retryAfterMillis" in failure ? (failure.retryAfterMillis ?? 0) : 0
        }
      }

      const judge = Effect.fnUntraced(function* (failure: TurnFailure, agentId: string) {
        const blame = blameOf(failure, yield* guard.hasRecentProviderFailure)
        if (blame === "shared") yield* guard.sharedFailure(failure, agentId)
        // Silence is a completed turn. Of the others nobody knows whether a model was reached: a gateway can refuse turns, or
        // answer "internal error", for as long as its provider is away.
        else if (failure._tag === "TurnSilent") yield* guard.completed
        else yield* guard.inconclusive
        return { blame, leastMillis: leastMillisOf(failure) }
      })

      const onControlPlaneFailure = Effect.fnUntraced(function* <End>(
        settling: Settling<End>,
        failure: ControlPlaneFailure
      ) {
        yield* guard.inconclusive
        switch (failure._tag) {
          case "LeaseLost":
            return settling.unwritten("lease_lost", `LeaseLost: ${failure.function}`)
          case "BootConflict":
            yield* lifecycle.abort({ exitCode: 78, message: failure.detail })
            return settling.unwritten("lease_lost", `BootConflict: ${failure.detail}`)
          case "TokenRefused":
            yield* lifecycle.setReason("token", failure.detail)
            return yield* settling.shared(failure._tag, failure.detail)
          case "ControlPlaneUnavailable":
            return yield* settling.shared(failure._tag, failure.detail)
          case "ControlPlaneRefused":
            return yield* settling.own(failure.code, failure.detail)
        }
      })

      const underLease: Runs["Service"]["underLease"] = ({ fence, noun, settling }, work) =>
        leases.during(fence, work).pipe(
          Effect.catchIf(isControlPlaneFailure, (failure) => onControlPlaneFailure(settling, failure)),
          Effect.catchCauseIf(
            (cause) => Cause.hasDies(cause) && !Cause.hasInterrupts(cause),
            (cause) =>
              Effect.logError(`a ${noun} died of a defect`, cause).pipe(
                Effect.andThen(guard.inconclusive),
                Effect.andThen(settling.own("Defect", Cause.pretty(cause)))
              )
          ),
          Effect.catchIf(isControlPlaneFailure, (failure) =>
            Effect.succeed(
              failure._tag === "LeaseLost"
                ? settling.unwritten("lease_lost", "LeaseLost")
                : settling.unwritten(
                    "released",
                    `the outcome could not be written (${failure._tag}): the lease will expire`
                  )
            )
          ),
          Effect.onInterrupt(() =>
            controlPlane.release(fence).pipe(
              Effect.timeout(RELEASE_TIMEOUT),
              Effect.matchCauseEffect({
                onSuccess: () => Effect.logInfo(`${noun} given back`),
                onFailure: (cause) => Effect.logWarning(`${noun} not given back: its lease will expire`, cause)
              })
            )
          ),
          // A probe that never came to a turn (skipped, spent, broken) must not hold the breaker half open for ever.
          Effect.ensuring(guard.inconclusive),
          // Only now: while its end is being written nobody renews it, and a claim must not take it.
          Effect.ensuring(leases.drop(fence))
        )

      const linesOf = ({ agent, attempt, lines, noun, runId, sessionKey }: Attempt): Record<string, unknown> => ({
        [noun === "delivery" ? "notification" : "heartbeat"]: runId,
        ...(agent === null ? {} : { agent: agent.slug }),
        ...(sessionKey === null ? {} : { session: sessionHash(sessionKey) }),
        attempt,
        ...lines
      })

      const traced = <A, E, R>(attempt: Attempt, lines: Record<string, unknown>, work: Effect.Effect<A, E, R>) => {
        const { agent, noun, previous, runId, sessionKey, times } = attempt
        const claims =
          times === undefined
            ? Effect.void
            : telemetry
                .passed(
                  noun === "delivery" ? "ControlPlane.claim" : "ControlPlane.claimBeat",
                  { from: times.from, to: times.claimed },
                  { kind: "client", attributes: { "mission_control.claim.deliveries": times.deliveries } }
                )
                .pipe(
                  Effect.andThen(
                    times.known === undefined
                      ? Effect.void
                      : telemetry.passed(
                          "ControlPlane.context",
                          { from: times.claimed, to: times.known },
                          { kind: "client" }
                        )
                  )
                )
        return Effect.flatMap(gateway.state, ({ version }) =>
          claims.pipe(
            Effect.andThen(telemetry.attempt),
            Effect.flatMap((trace) =>
              Effect.annotateLogs(work, trace === undefined ? lines : { ...lines, traceId: trace.traceId })
            ),
            telemetry.root(noun === "delivery" ? "Deliveries.deliver" : "Beats.run", {
              kind: "consumer",
              previous,
              ...(times === undefined ? {} : { startedAt: times.from }),
              attributes: {
                "mission_control.run.id": runId,
                "mission_control.attempt": attempt.attempt,
                "gen_ai.agent.id": agent?.id,
                "gen_ai.agent.name": agent?.name,
                "gen_ai.conversation.id": sessionKey ?? undefined,
                "mission_control.session": sessionKey === null ? undefined : sessionHash(sessionKey),
                "mission_control.gateway.version": version ?? undefined,
                ...attempt.attributes()
              }
            })
          )
        )
      }

      return Runs.of({
        asAttempt: (attempt, work) => {
          const lines = linesOf(attempt)
          return telemetry.isOn ? traced(attempt, lines, work) : Effect.annotateLogs(work, lines)
        },
        told: ({ error, outcome }) =>
          Effect.andThen(
            telemetry.noteRoot({ "mission_control.outcome": outcome }),
            error === null ? Effect.void : telemetry.failRoot(classOf(error) ?? outcome, error)
          ),
        backoff: (failures) => Effect.map(Random.next, (random) => backoffMillis(bounds, failures, random)),
        boundary: Effect.map(secureRandom.uuidV4(), (uuid) => uuid.replaceAll("-", "").slice(0, 16)),
        judge,
        underLease
      })
    })
  )
}
