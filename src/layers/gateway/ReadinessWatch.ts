/** Probes the gateway's readiness and publishes its health. */
import { Clock, Duration, Effect, Option, Schedule } from "effect"
import { RuntimeConfig } from "../Config.ts"
import { Gateway } from "../Gateway.ts"
import { makeToolCheck } from "./Canary.ts"
import { gatewayAddress } from "./GatewayConnection.ts"
import type { GatewayHealthRef } from "./GatewayHealth.ts"
import { verdictOf } from "./GatewayVersionCheck.ts"
import type { makeVersionCheck } from "./GatewayVersionCheck.ts"

/** A gateway that is neither ready nor draining for this long is restarted, even if its process is alive. */
export const UNREADY_LIMIT = Duration.minutes(2)
/** A start usually takes 10 to 20 s; a longer one is logged as a warning. */
const USUAL_START = Duration.seconds(60)
const PROGRESS_INTERVAL_MILLIS = 10_000
const PROBE_WHILE_WAITING = Duration.millis(500)
/** The next turn notices a failure in between, and its exit a supervised gateway. Each probe wakes an idle process. */
const PROBE_WHILE_READY = Duration.seconds(10)

/** The watch ends only when a supervised gateway has been neither ready nor draining for two minutes. */
export const makeReadinessWatch = Effect.fnUntraced(function* (
  health: GatewayHealthRef,
  checkVersion: Effect.Success<typeof makeVersionCheck>
) {
  const config = yield* RuntimeConfig
  const gateway = yield* Gateway
  const toolCheck = yield* makeToolCheck
  const isSupervised = Option.isNone(config.gatewayUrl)
  const where = gatewayAddress(config).url

  /** Why the running gateway refuses us; null if it accepts us. */
  const refusal = Effect.match(gateway.agents, {
    onSuccess: () => null,
    onFailure: (failure) =>
      failure._tag === "GatewayMisconfigured"
        ? `${failure.detail}; ${failure.fix}; or ${config.gatewayConfigPath} has its own gateway.auth.token: remove it there, or set OPENCLAW_GATEWAY_TOKEN to it`
        : null
  })

  const watch = Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    let goodAt = startedAt
    let loggedAt = startedAt
    let misses = 0
    let isKnown = false
    let isGood = false

    const becomeReady = Effect.gen(function* () {
      const { version } = yield* gateway.state
      yield* Effect.logInfo(`the gateway is ready${version === null ? "" : ` (OpenClaw ${version})`}: ${where}`)
      if (isKnown) return
      isKnown = true
      // The running gateway's version decides; the command's version is that of the next start.
      const verdict = version === null && isSupervised ? null : yield* checkVersion(version)
      // For a supported release, profile sync writes a configuration with Tool Search off.
      const isKnownGood = isSupervised && config.profileSync && verdict?._tag === "Supported"
      if (!isKnownGood) yield* Effect.forkScoped(toolCheck.run)
    })

    const probe = Effect.gen(function* () {
      const isReady = yield* gateway.ready
      const now = yield* Clock.currentTimeMillis
      const problem = isReady && isSupervised && !isGood ? yield* refusal : null
      if (isReady && problem === null) {
        const { hasSentToolCalls, version } = yield* gateway.state
        const verdict = verdictOf(version)
        if (!isGood) yield* becomeReady
        isGood = true
        misses = 0
        goodAt = loggedAt = now
        yield* verdict._tag === "Refused"
          ? health.publish("faulty", verdict.message)
          : health.publish("ready", hasSentToolCalls ? "" : yield* toolCheck.problem)
        return false
      }
      if (problem !== null) {
        goodAt = now
        yield* health.publishFault(problem)
        return false
      }
      const { problem: why, state } = yield* gateway.state
      const reason = why ?? state
      if (state === "draining") goodAt = now
      misses += 1
      // Under load one probe may be lost, so a ready gateway counts as not ready from the second missed probe.
      if (isGood && misses < 2 && state !== "draining") return false
      if (!isKnown && misses === 1 && !isSupervised) {
        yield* Effect.logWarning(`the gateway at ${where} is not ready, waiting for it with backoff: ${reason}`)
      } else if (isGood) {
        yield* Effect.logWarning(`the gateway is no longer ready: ${reason}`)
      } else if (isSupervised && now - loggedAt >= PROGRESS_INTERVAL_MILLIS) {
        loggedAt = now
        const line = `the gateway is not ready after ${Math.round((now - startedAt) / 1_000)} s: ${reason}`
        yield* now - startedAt >= Duration.toMillis(USUAL_START) ? Effect.logWarning(line) : Effect.logInfo(line)
      }
      isGood = false
      yield* health.publish(isKnown ? "not-ready" : "starting", `the gateway is not ready: ${reason}`)
      return isSupervised && now - goodAt >= Duration.toMillis(UNREADY_LIMIT)
    })
    yield* probe.pipe(
      Effect.repeat({
        schedule: Schedule.spaced(PROBE_WHILE_WAITING).pipe(
          Schedule.modifyDelay(() =>
            Effect.sync(() => (isGood && misses === 0 ? PROBE_WHILE_READY : PROBE_WHILE_WAITING))
          )
        ),
        until: (isOver) => isOver
      })
    )
  })
  return { watch }
})
