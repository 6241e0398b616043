/** The metrics of the runtime, one constant each; `mission_control_<noun>_<unit|total>`, durations in seconds. */
import { Clock, Context, Effect, Layer, Metric, Ref } from "effect"
import { PrometheusMetrics } from "effect/observability"

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900]

const deliveries = Metric.counter("mission_control_deliveries_total", {
  description:
    "Deliveries that ended, by outcome (replied, acted, skipped, fallback, waiting, dead, released, lease_lost) and notification type.",
  incremental: true
})
const createdToPost = Metric.histogram("mission_control_created_to_post_seconds", {
  description: "Time from a notification becoming ready to the first request of its turn.",
  boundaries: seconds
})
const turnDuration = Metric.histogram("mission_control_turn_duration_seconds", {
  description: "Duration of turns, all rounds and tools included.",
  boundaries: seconds
})
const toolCalls = Metric.counter("mission_control_tool_calls_total", {
  description: "Tool calls of agents, by tool and whether they succeeded.",
  incremental: true
})
const inFlight = Metric.gauge("mission_control_deliveries_in_flight", {
  description: "Deliveries running now."
})
const controlPlaneCalls = Metric.counter("mission_control_control_plane_calls_total", {
  description: "Calls of control-plane functions, by function and outcome.",
  incremental: true
})
const controlPlaneSeconds = Metric.histogram("mission_control_control_plane_call_seconds", {
  description: "Duration of control-plane calls.",
  boundaries: seconds
})

/** How a delivery ended, in the words of the metric's outcome label. */
export type DeliveryEnd = "replied" | "acted" | "skipped" | "fallback" | "waiting" | "dead" | "released" | "lease_lost"

/** The last delivery as /health shows it; the time is epoch milliseconds. */
export interface LastDelivery {
  readonly notificationId: string
  readonly agent: string | null
  readonly outcome: DeliveryEnd
  readonly at: number
  readonly durationMillis: number
}

/** The delivery part of /health. */
export interface DeliverySummary {
  readonly deliveredCount: number
  readonly successCount: number
  readonly failureCount: number
  readonly consecutiveFailures: number
  readonly lastErrorAt: number | null
  readonly lastErrorMessage: string | null
  readonly lastDelivery: LastDelivery | null
  readonly inFlight: number
  readonly silences: number
  readonly deadLetters: number
}

const successes: ReadonlySet<DeliveryEnd> = new Set(["replied", "acted", "skipped", "fallback"])
const failures: ReadonlySet<DeliveryEnd> = new Set(["waiting", "dead"])

/** Records what happens, for Prometheus and for /health. */
export class Metrics extends Context.Service<
  Metrics,
  {
    readonly deliveryStarted: Effect.Effect<void>
    deliveryEnded(end: {
      readonly outcome: DeliveryEnd
      readonly type: string
      readonly notificationId: string
      readonly agent: string | null
      readonly durationMillis: number
      readonly silence: boolean
      readonly error: string | null
    }): Effect.Effect<void>
    posted(sinceReadyMillis: number): Effect.Effect<void>
    turnEnded(durationMillis: number): Effect.Effect<void>
    toolCalled(tool: string, success: boolean): Effect.Effect<void>
    controlPlaneCalled(name: string, outcome: string, durationMillis: number): Effect.Effect<void>
    readonly deliverySummary: Effect.Effect<DeliverySummary>
    /** The Prometheus text of everything. */
    readonly prometheus: Effect.Effect<string>
  }
>()("runtime-service/layers/Metrics") {
  static readonly layer = Layer.effect(
    Metrics,
    Effect.gen(function* () {
      const summary = yield* Ref.make<DeliverySummary>({
        deliveredCount: 0,
        successCount: 0,
        failureCount: 0,
        consecutiveFailures: 0,
        lastErrorAt: null,
        lastErrorMessage: null,
        lastDelivery: null,
        inFlight: 0,
        silences: 0,
        deadLetters: 0
      })
      // A family that Prometheus has never seen cannot be alerted on: each counter exists from the start.
      yield* Metric.update(inFlight, 0)
      yield* Metric.update(Metric.withAttributes(deliveries, { outcome: "replied", type: "mention" }), 0)
      yield* Metric.update(Metric.withAttributes(toolCalls, { tool: "task_status", success: "true" }), 0)
      yield* Metric.update(
        Metric.withAttributes(controlPlaneCalls, { function: "service/notifications:claim", outcome: "success" }),
        0
      )
      const changeInFlight = (by: number) =>
        Ref.updateAndGet(summary, (before) => ({ ...before, inFlight: before.inFlight + by })).pipe(
          Effect.flatMap((after) => Metric.update(inFlight, after.inFlight))
        )
      return Metrics.of({
        deliveryStarted: changeInFlight(1),
        deliveryEnded: Effect.fnUntraced(function* (end) {
          const at = yield* Clock.currentTimeMillis
          const isSuccess = successes.has(end.outcome)
          const isFailure = failures.has(end.outcome)
          yield* Ref.update(summary, (before) => ({
            ...before,
            deliveredCount: before.deliveredCount + (isSuccess ? 1 : 0),
            successCount: before.successCount + (isSuccess ? 1 : 0),
            failureCount: before.failureCount + (isFailure ? 1 : 0),
            consecutiveFailures: isSuccess ? 0 : before.consecutiveFailures + (isFailure ? 1 : 0),
            lastErrorAt: end.error === null ? before.lastErrorAt : at,
            lastErrorMessage: end.error ?? before.lastErrorMessage,
            lastDelivery: {
              notificationId: end.notificationId,
              agent: end.agent,
              outcome: end.outcome,
              at,
              durationMillis: end.durationMillis
            },
            silences: before.silences + (end.silence ? 1 : 0),
            deadLetters: before.deadLetters + (end.outcome === "dead" ? 1 : 0)
          }))
          yield* changeInFlight(-1)
          yield* Metric.update(Metric.withAttributes(deliveries, { outcome: end.outcome, type: end.type }), 1)
        }),
        posted: (sinceReadyMillis) => Metric.update(createdToPost, sinceReadyMillis / 1_000),
        turnEnded: (durationMillis) => Metric.update(turnDuration, durationMillis / 1_000),
        toolCalled: (tool, success) =>
          Metric.update(Metric.withAttributes(toolCalls, { tool, success: String(success) }), 1),
        controlPlaneCalled: (name, outcome, durationMillis) =>
          Effect.andThen(
            Metric.update(Metric.withAttributes(controlPlaneCalls, { function: name, outcome }), 1),
            Metric.update(Metric.withAttributes(controlPlaneSeconds, { function: name }), durationMillis / 1_000)
          ),
        deliverySummary: Ref.get(summary),
        prometheus: PrometheusMetrics.format()
      })
    })
  )
}
