import { Context, Duration, Effect, Fiber, FiberSet, Layer, Random, Ref, Schedule, Scope, Stream } from "effect"
import { TokenRefused } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { PulseAnswer } from "../../domain/controlPlane/RuntimeCommands.ts"
import { backoffMillis } from "../../domain/delivery/Backoff.ts"
import { firstProtocol, PROTOCOL, protocolProblem } from "../../domain/shared/Protocol.ts"
import { counted } from "../../domain/text/Count.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Telemetry } from "../../layers/Telemetry.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { noteRefusal } from "../../services/ControlPlaneRefusal.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { RuntimeHealth } from "../../services/RuntimeHealth.ts"
import { Supervisor } from "../../services/Supervisor.ts"
import { AgentSync } from "../agents/AgentSync.ts"
import { DeliveryLoop } from "../delivery/DeliveryLoop.ts"
import { Commands } from "./Commands.ts"

const OFFLINE_TIMEOUT = Duration.seconds(3)
/** How much of it a pulse that is still under way may take. */
const UNDER_WAY_TIMEOUT = Duration.seconds(1)
/** While booting a control plane that is away is asked again after at most this. */
const BOOT_BOUNDS = { baseMillis: 500, maxMillis: 15_000 }

/**
 * The pulse: one call a minute carries presence and health and brings back commands and what is otherwise pushed. The
 * first one of a boot frees the leases of earlier boots of the same RUNTIME_ID; the last one says offline.
 */
export class Presence extends Context.Service<
  Presence,
  {
    /** The first pulse: waits for the control plane with backoff; fails only when it refuses the token or this boot. */
    readonly boot: Effect.Effect<void, ControlPlaneFailure>
    /** Starts the minute's pulse and the pulse at each change of status. */
    readonly start: Effect.Effect<void>
  }
>()("runtime-service/programs/Presence") {
  static readonly layer = Layer.effect(
    Presence,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const agentSync = yield* AgentSync
  const commands = yield* Commands
  const config = yield* RuntimeConfig
  const controlPlane = yield* ControlPlane
  const gateway = yield* Gateway
  const lifecycle = yield* Lifecycle
  const loop = yield* DeliveryLoop
  const metrics = yield* Metrics
  const runtimeHealth = yield* RuntimeHealth
  const supervisor = yield* Supervisor
  const telemetry = yield* Telemetry
  const scope = yield* Effect.scope
  // From the first call on: its answer may get lost, and what it said would stand until the runtime lapses.
  const known = yield* Ref.make<"no" | "perhaps" | "yes">("no")
  // Calls travel side by side: a "draining" that arrives after "offline" would stand until the runtime lapses.
  const underWay = yield* FiberSet.make<PulseAnswer, ControlPlaneFailure>()

  const pulse = Effect.gen(function* () {
    const { reasons, status } = yield* runtimeHealth.current
    const { lastSendError, version } = yield* gateway.state
    const delivery = yield* metrics.deliverySummary
    yield* Ref.update(known, (before) => (before === "no" ? "perhaps" : before))
    const answer = yield* controlPlane
      .pulse({
        // That the account is paused its people know; the runtime itself is well.
        status: status === "paused" ? "online" : status,
        reasons: status === "offline" ? [] : reasons,
        health: JSON.stringify({ delivery, gateway: { lastSendError } }),
        openclawVersion: version
      })
      .pipe(
        // Refused: this boot is not known yet.
        Effect.tapError(({ _tag }) =>
          _tag === "ControlPlaneUnavailable"
            ? Effect.void
            : Ref.update(known, (before) => (before === "perhaps" ? "no" : before))
        )
      )
    yield* Ref.set(known, "yes")
    return answer
  })

  /** A call that outlives who waits for it: the goodbye waits for it instead, so that the last word stays the last. */
  const pulseUnderWay = Effect.flatMap(FiberSet.run(underWay, pulse), Fiber.join)

  /** The pulse's answer stands in for every push that may have been missed. */
  const reconcile = Effect.fnUntraced(function* (answer: PulseAnswer) {
    yield* commands.obey(answer.commands)
    if (answer.releasedLeases > 0) {
      yield* Effect.logInfo(`released ${counted(answer.releasedLeases, "lease")} of an earlier boot`)
    }
    const dueInMillis = answer.nextDueAt === null ? null : answer.nextDueAt - answer.now
    yield* loop.pulsed({ oldest: answer.oldest, dueInMillis })
    yield* agentSync.noticed(answer.rosterRevision)
    yield* lifecycle.setReason("token", null)
    yield* checkProtocol(answer)
  })

  /** With a deployment of another protocol nothing is claimed, but commands are obeyed: an upgrade may repair it. */
  const checkProtocol = Effect.fnUntraced(function* ({ protocol = firstProtocol }: PulseAnswer) {
    const problem = protocolProblem(PROTOCOL, protocol)?.join(": ") ?? null
    const { reasons } = yield* lifecycle.state
    if (problem !== null && reasons.protocol !== problem) yield* Effect.logError(`no work is claimed: ${problem}`)
    if (problem === null && reasons.protocol !== undefined)
      yield* Effect.logInfo("the deployment serves this runtime's protocol")
    yield* lifecycle.setReason("protocol", problem)
  })

  const currentPulse = Effect.flatMap(pulseUnderWay, reconcile)
  const quietly = (pulse: typeof currentPulse) =>
    pulse.pipe(
      Effect.catch((failure) =>
        Effect.andThen(noteRefusal(lifecycle, failure), Effect.logDebug(`pulse: ${failure._tag}`))
      ),
      Effect.withSpan("Presence.pulse")
    )

  const bootBackoff = Schedule.recurs(Number.MAX_SAFE_INTEGER).pipe(
    Schedule.modifyDelay(({ output }) =>
      Effect.map(Random.next, (random) => Duration.millis(backoffMillis(BOOT_BOUNDS, output + 1, random)))
    )
  )
  const boot = pulseUnderWay.pipe(
    Effect.tapError((failure) =>
      Effect.gen(function* () {
        if (failure._tag !== "ControlPlaneUnavailable") return
        const { reasons } = yield* lifecycle.state
        if (reasons["control-plane"] === undefined) {
          yield* Effect.logWarning(
            `the control plane at ${config.convexUrl} is unavailable, retrying with backoff: ${failure.detail}`
          )
        }
        yield* lifecycle.setReason("control-plane", failure.detail)
      })
    ),
    Effect.retry({ schedule: bootBackoff, while: (failure) => failure._tag === "ControlPlaneUnavailable" }),
    Effect.tap(() => lifecycle.setReason("control-plane", null)),
    Effect.flatMap(reconcile),
    Effect.catchTag(
      "TokenRefused",
      (failure) => new TokenRefused({ ...failure, detail: `${config.convexUrl} refuses it: ${failure.detail}` })
    )
  )

  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      yield* lifecycle.enter("stopped")
      const isKnown = yield* Ref.get(known)
      if (isKnown === "no") return
      yield* FiberSet.awaitEmpty(underWay).pipe(
        Effect.timeout(UNDER_WAY_TIMEOUT),
        Effect.ignore,
        Effect.andThen(pulse),
        Effect.timeout(OFFLINE_TIMEOUT),
        telemetry.root("Presence.offline"),
        Effect.matchCauseEffect({
          onSuccess: () => Effect.logInfo("offline"),
          // A control plane that was away all the time, and said to be, has probably not heard of this boot.
          onFailure: (cause) =>
            isKnown === "perhaps"
              ? Effect.void
              : Effect.logError("could not report offline: the control plane will notice the missing pulse", cause)
        })
      )
    })
  )

  // Not told of the pulse at a change, which may come of a claim's failure: the two would chase each other.
  const everyInterval = quietly(Effect.andThen(currentPulse, loop.controlPlaneAnswered)).pipe(
    Effect.delay(config.healthCheckInterval),
    Effect.repeat(Schedule.forever),
    Effect.andThen(Effect.never)
  )
  // What people see follows the state at once, not after a minute.
  const atEachChange = runtimeHealth.changes.pipe(
    Stream.drop(1),
    Stream.runForEach(() => quietly(currentPulse)),
    Effect.andThen(Effect.never)
  )
  const start = Effect.gen(function* () {
    yield* supervisor.run("presence", everyInterval)
    yield* supervisor.run("presence-changes", atEachChange)
  }).pipe(Effect.provideService(Scope.Scope, scope))

  return Presence.of({ boot, start })
})
