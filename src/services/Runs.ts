import { Cause, Context, Duration, Effect, Layer, Random, Schedule } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { backoffBounds, backoffMillis } from "../domain/Backoff.ts"
import { isControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { Fence } from "../domain/Delivery.ts"
import { blameOf } from "../domain/TurnFailure.ts"
import type { Blame, TurnFailure } from "../domain/TurnFailure.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { GatewayGuard } from "./GatewayGuard.ts"
import { Lifecycle } from "./Lifecycle.ts"

/** An agent that the gateway does not know, or settings that are wrong, are looked at again after this. */
const PARKED_RETRY_MILLIS = 30_000
/** Where profile sync writes the gateway's agents one that is not known yet is about to be; until then it stays parked. */
const NEW_AGENT_RETRY_MILLIS = 2_000
/** "internal error" may be a provider's cooldown of a minute: sooner is pointless. */
const AMBIGUOUS_RETRY_MILLIS = 60_000
/** The whole of abort and release at the end of the process. */
const RELEASE_TIMEOUT = Duration.seconds(2)

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

/** What deliveries and heartbeats have in common between their claim and their end. */
export class Runs extends Context.Service<
  Runs,
  {
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
      const guard = yield* GatewayGuard
      const lifecycle = yield* Lifecycle
      const secureRandom = yield* SecureRandom
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
        // A broken connection says nothing about the gateway; everything else was an answer of it.
        else if (failure._tag === "ConnectionLost" || failure._tag === "TurnTimeout") yield* guard.inconclusive
        else yield* guard.answered
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

      const renewal = (fence: Fence) =>
        controlPlane.renew(fence).pipe(
          // A refused token is told by whoever claims; the turn need not end for it, since its lease may outlast that.
          Effect.catchTag(["ControlPlaneUnavailable", "TokenRefused"], (failure) =>
            Effect.logWarning(`lease not renewed: ${failure.detail}; an expired lease that nobody took is still good`)
          ),
          Effect.schedule(Schedule.spaced(Duration.millis(Duration.toMillis(config.deliveryLease) / 3))),
          Effect.andThen(Effect.never)
        )

      const underLease: Runs["Service"]["underLease"] = ({ fence, noun, settling }, work) =>
        Effect.raceFirst(work, renewal(fence)).pipe(
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
          Effect.ensuring(guard.inconclusive)
        )

      return Runs.of({
        backoff: (failures) => Effect.map(Random.next, (random) => backoffMillis(bounds, failures, random)),
        boundary: Effect.map(secureRandom.uuidV4(), (uuid) => uuid.replaceAll("-", "").slice(0, 16)),
        judge,
        underLease
      })
    })
  )
}
