/** An attempt of a run in traces and log lines. */
import { Effect } from "effect"
import type { ClaimTimes } from "../../domain/delivery/Claim.ts"
import { contextsOf } from "../../domain/delivery/Run.ts"
import type { Run } from "../../domain/delivery/Run.ts"
import type { Attributes } from "../../domain/observability/TraceAttributes.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { sessionHash } from "../../layers/telemetry/SessionHash.ts"
import { Telemetry } from "../../layers/telemetry/Telemetry.ts"
import { classOf } from "../../services/FailureStreak.ts"
import type { AttemptEnd } from "./RunStorage.ts"

const logFields = (run: Run): Record<string, unknown> => {
  const { context, delivery } = contextsOf(run)
  return {
    [run.kind]: run.id,
    ...(context === undefined ? {} : { agent: context.agent.slug, session: sessionHash(context.sessionKey) }),
    attempt: run.attempt,
    ...(delivery === undefined ? {} : { type: delivery.notification.type })
  }
}

const attributesOf = (run: Run, times: ClaimTimes | undefined, gatewayVersion: string | null): Attributes => {
  const { context, delivery } = contextsOf(run)
  return {
    "mission_control.run.id": run.id,
    "mission_control.run.kind": run.kind,
    "mission_control.attempt": run.attempt,
    "mission_control.failures": run.failures,
    "mission_control.queue.wait_ms": times === undefined ? undefined : Math.max(0, times.claimedThere - run.readyAt),
    "mission_control.gateway.version": gatewayVersion ?? undefined,
    "mission_control.session": context === undefined ? undefined : sessionHash(context.sessionKey),
    "gen_ai.agent.id": context?.agent.id,
    "gen_ai.agent.name": context?.agent.name,
    "gen_ai.conversation.id": context?.sessionKey,
    "mission_control.notification.id": run.kind === "notification" ? run.id : undefined,
    "mission_control.notification.type": delivery?.notification.type,
    "mission_control.task.id": delivery?.task?.id,
    "mission_control.event.count": delivery?.events.length,
    "mission_control.hops": delivery?.notification.hops,
    "mission_control.silences": delivery === undefined ? undefined : run.silences
  }
}

/** Runs the work as one attempt, with a separate trace, and log lines that name the run. */
export const asAttempt = <A, E, R>(run: Run, times: ClaimTimes | undefined, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const telemetry = yield* Telemetry
    const fields = logFields(run)
    if (!telemetry.isOn) return yield* Effect.annotateLogs(work, fields)
    const { version } = yield* (yield* Gateway).state
    const traced = Effect.gen(function* () {
      if (times !== undefined) {
        yield* telemetry.passed(
          "ControlPlane.claim",
          { from: times.from, to: times.claimed },
          { kind: "client", attributes: { "mission_control.claim.runs": times.runs } }
        )
      }
      const trace = yield* telemetry.attempt
      return yield* Effect.annotateLogs(work, trace === undefined ? fields : { ...fields, traceId: trace.traceId })
    })
    return yield* traced.pipe(
      telemetry.root("RunExecution.execute", {
        kind: "consumer",
        previous: contextsOf(run).context?.earlier.trace,
        ...(times === undefined ? {} : { startedAt: times.from }),
        attributes: attributesOf(run, times, version)
      })
    )
  })

/** Records the end of the attempt in its trace. */
export const traceEnd = Effect.fnUntraced(function* ({ error, isSilence, outcome }: AttemptEnd) {
  const telemetry = yield* Telemetry
  if (!telemetry.isOn) return
  yield* telemetry.noteRoot({
    "mission_control.outcome": outcome,
    ...(isSilence ? { "mission_control.is_silence": true } : {})
  })
  if (error !== null) yield* telemetry.failRoot(classOf(error) ?? outcome, error)
})
