import { Context, Duration, Effect, Fiber, FiberSet, Layer, Random, Ref, Schedule, Scope, Stream } from "effect"
import { TokenRefused } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { PulseAnswer } from "../../domain/controlPlane/RuntimeCommands.ts"
import { backoffMillis } from "../../domain/delivery/Backoff.ts"
import type { HealthStatus } from "../../domain/observability/Health.ts"
import { firstProtocol, PROTOCOL, protocolProblem } from "../../domain/shared/Protocol.ts"
import { counted } from "../../domain/text/Count.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Telemetry } from "../../layers/telemetry/Telemetry.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import type { PulseReport } from "../../services/ControlPlane.ts"
import { noteRefusal } from "../../services/ControlPlaneRefusal.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { RuntimeHealth } from "../../services/RuntimeHealth.ts"
import { Supervisor } from "../../services/Supervisor.ts"
import { AgentSync } from "../agents/AgentSync.ts"
import { DeliveryLoop } from "../delivery/DeliveryLoop.ts"
import { Commands } from "./Commands.ts"

const OFFLINE_TIMEOUT = Duration.seconds(3)
/** The part of this time that a pulse in progress may take. */
const UNDER_WAY_TIMEOUT = Duration.seconds(1)
/** The status for the control plane. A pause is not a problem of the runtime. */
const presenceOf = (status: HealthStatus): PulseReport["status"] =>
  status === "paused" ? "online" : status === "failing" ? "degraded" : status

/** Maximum delay between retries of the first pulse. */
const BOOT_BOUNDS = { baseMillis: 500, maxMillis: 15_000 }

/**
 * The pulse: one call a minute reports presence and health, and its answer contains commands and everything that is also
 * pushed. The first pulse of a boot releases the leases of earlier boots with the same RUNTIME_ID. The last one reports
 * `offline`.
 */
export class Presence extends Context.Service<
  Presence,
  {
    /** The first pulse, retried with backoff. Fails only if the control plane refuses the token or this boot. */
    readonly boot: Effect.Effect<void, ControlPlaneFailure>
    /** Starts the pulse every minute and at each change of status. */
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
  // Set before the first call: its answer may be lost, and its status would stay until the runtime is marked offline.
  const known = yield* Ref.make<"no" | "perhaps" | "yes">("no")
  // Calls can overtake each other. A "draining" that arrives after "offline" would stay until the runtime is marked
  // offline.
  const underWay = yield* FiberSet.make<PulseAnswer, ControlPlaneFailure>()

  const pulse = Effect.gen(function* () {
    const { reasons, status } = yield* runtimeHealth.current
    const { lastSendError, version } = yield* gateway.state
    const delivery = yield* metrics.deliverySummary
    yield* Ref.update(known, (before) => (before === "no" ? "perhaps" : before))
    const answer = yield* controlPlane
      .pulse({
        status: presenceOf(status),
        reasons: status === "offline" ? [] : reasons,
        health: JSON.stringify({ delivery, gateway: { lastSendError } }),
        openclawVersion: version
      })
      .pipe(
        // The control plane does not know this boot yet.
        Effect.tapError(({ _tag }) =>
          _tag === "ControlPlaneUnavailable"
            ? Effect.void
            : Ref.update(known, (before) => (before === "perhaps" ? "no" : before))
        )
      )
    yield* Ref.set(known, "yes")
    return answer
  })

  /**
   * A call that continues after its caller was interrupted. The offline pulse waits for it, so that it arrives last.
   */
  const pulseUnderWay = Effect.flatMap(FiberSet.run(underWay, pulse), Fiber.join)

  /** The pulse's answer contains everything that a lost push would have contained. */
  const reconcile = Effect.fnUntraced(function* (answer: PulseAnswer) {
    yield* commands.obey(answer.commands)
    if (answer.releasedLeases > 0) {
      yield* Effect.logInfo(`released ${counted(answer.releasedLeases, "lease")} of an earlier boot`)
    }
    const dueInMillis = answer.nextDueAt === null ? null : answer.nextDueAt - answer.now
    yield* loop.pulsed({ oldest: answer.oldest, dueInMillis })
    yield* agentSync.onRevision(answer.rosterRevision)
    yield* lifecycle.setReason("token", null)
    yield* checkProtocol(answer)
  })

  /**
   * With a deployment of another protocol the runtime claims nothing but obeys commands, because an upgrade may fix it.
   */
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
          // A control plane that was unavailable all the time probably does not know this boot. The outage is already
          // logged.
          onFailure: (cause) =>
            isKnown === "perhaps"
              ? Effect.void
              : Effect.logError("could not report offline: the control plane will notice the missing pulse", cause)
        })
      )
    })
  )

  // Not after the pulse at a change of status, which a failed claim may cause: the two would trigger each other.
  const everyInterval = quietly(Effect.andThen(currentPulse, loop.controlPlaneAnswered)).pipe(
    Effect.delay(config.healthCheckInterval),
    Effect.repeat(Schedule.forever),
    Effect.andThen(Effect.never)
  )
  /** No single failure says that every agent fails. */
  const logFailing = runtimeHealth.changes.pipe(
    Stream.changesWith((before, after) => (before.status === "failing") === (after.status === "failing")),
    Stream.drop(1),
    Stream.runForEach(({ reasons, status }) =>
      status === "failing"
        ? Effect.logError(`status failing: ${reasons.join("; ")}`)
        : Effect.logInfo(`status ${status}, no longer failing`)
    ),
    Effect.andThen(Effect.never)
  )
  // People see a change of status at once and not after a minute.
  const atEachChange = runtimeHealth.changes.pipe(
    Stream.drop(1),
    Stream.runForEach(() => quietly(currentPulse)),
    Effect.andThen(Effect.never)
  )
  const start = Effect.gen(function* () {
    yield* supervisor.run("presence", everyInterval)
    yield* supervisor.run("presence-changes", atEachChange)
    yield* supervisor.run("health-log", logFailing)
  }).pipe(Effect.provideService(Scope.Scope, scope))

  return Presence.of({ boot, start })
})
