import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Metrics } from "../../src/layers/Metrics.ts"
import type { DeliveryEnd } from "../../src/layers/Metrics.ts"

const end = (outcome: DeliveryEnd, error: string | null = null) => ({
  outcome,
  type: "mention",
  notificationId: `notification_${outcome}`,
  agent: "engineer",
  durationMillis: 1_200,
  silence: outcome === "waiting",
  error
})

/** The value of a series in the Prometheus text, by name and labels in any order. */
const valueOf = (text: string, name: string, labels: Record<string, string>): number | undefined => {
  const line = text
    .split("\n")
    .find(
      (line) =>
        line.startsWith(`${name}{`) &&
        Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))
    )
  return line === undefined ? undefined : Number(line.split(" ").at(-1))
}

describe("the summary of deliveries", () => {
  it.effect("counts what runs, what ended well and what failed, and the last of each", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.deliveryStarted
      yield* metrics.deliveryStarted
      assert.strictEqual((yield* metrics.deliverySummary).inFlight, 2)
      yield* TestClock.setTime(1_000)
      yield* metrics.deliveryEnded(end("waiting", "TurnSilent: empty"))
      yield* TestClock.setTime(2_000)
      yield* metrics.deliveryEnded(end("dead", "TurnRefused: 413"))
      assert.deepStrictEqual(yield* metrics.deliverySummary, {
        deliveredCount: 0,
        successCount: 0,
        failureCount: 2,
        consecutiveFailures: 2,
        lastErrorAt: 2_000,
        lastErrorMessage: "TurnRefused: 413",
        lastDelivery: {
          notificationId: "notification_dead",
          agent: "engineer",
          outcome: "dead",
          at: 2_000,
          durationMillis: 1_200
        },
        inFlight: 0,
        silences: 1,
        deadLetters: 1
      })
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("takes each good end for a success that ends the row of failures, keeping the last error", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      for (const outcome of ["replied", "acted", "skipped", "fallback"] as const) {
        yield* metrics.deliveryEnded(end("waiting", "ConnectionLost: reset"))
        yield* metrics.deliveryEnded(end(outcome))
      }
      const summary = yield* metrics.deliverySummary
      assert.strictEqual(summary.successCount, 4)
      assert.strictEqual(summary.failureCount, 4)
      assert.strictEqual(summary.consecutiveFailures, 0)
      assert.strictEqual(summary.lastErrorMessage, "ConnectionLost: reset")
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("counts what was given back neither as success nor as failure", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.deliveryEnded(end("waiting", "x"))
      for (const outcome of ["released", "lease_lost"] as const) yield* metrics.deliveryEnded(end(outcome))
      const summary = yield* metrics.deliverySummary
      assert.strictEqual(summary.successCount, 0)
      assert.strictEqual(summary.failureCount, 1)
      assert.strictEqual(summary.consecutiveFailures, 1)
    }).pipe(Effect.provide(Metrics.layer))
  )
})

describe("the Prometheus text", () => {
  it.effect("describes every family, in its unit", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.posted(1_500)
      yield* metrics.turnEnded(2_500)
      yield* metrics.controlPlaneCalled("service/tasks:load", "success", 20)
      const text = yield* metrics.prometheus
      for (const name of [
        "mission_control_deliveries_total",
        "mission_control_deliveries_in_flight",
        "mission_control_tool_calls_total",
        "mission_control_control_plane_calls_total",
        "mission_control_control_plane_call_seconds",
        "mission_control_created_to_post_seconds",
        "mission_control_turn_duration_seconds"
      ]) {
        assert.match(text, new RegExp(`^# HELP ${name} \\S`, "m"))
        assert.match(text, new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`, "m"))
      }
      assert.match(text, /^mission_control_created_to_post_seconds_sum(\{[^}]*\})? 1\.5$/m)
      assert.match(text, /^mission_control_turn_duration_seconds_sum(\{[^}]*\})? 2\.5$/m)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("counts deliveries by outcome and type, tools by success, calls by function and outcome", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const before = yield* metrics.prometheus
      yield* metrics.deliveryEnded({ ...end("acted"), type: "assignment" })
      yield* metrics.toolCalled("task_status", false)
      yield* metrics.controlPlaneCalled("service/notifications:fail", "failure", 5)
      const after = yield* metrics.prometheus
      const grown = (name: string, labels: Record<string, string>) =>
        (valueOf(after, name, labels) ?? 0) - (valueOf(before, name, labels) ?? 0)
      assert.strictEqual(grown("mission_control_deliveries_total", { outcome: "acted", type: "assignment" }), 1)
      assert.strictEqual(grown("mission_control_tool_calls_total", { tool: "task_status", success: "false" }), 1)
      assert.strictEqual(
        grown("mission_control_control_plane_calls_total", {
          function: "service/notifications:fail",
          outcome: "failure"
        }),
        1
      )
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("has its counters before anything happened, so that they can be alerted on", () =>
    Effect.gen(function* () {
      const text = yield* Effect.flatMap(Metrics, ({ prometheus }) => prometheus)
      assert.isDefined(valueOf(text, "mission_control_deliveries_total", { outcome: "replied" }))
      assert.isDefined(valueOf(text, "mission_control_tool_calls_total", { tool: "task_status" }))
    }).pipe(Effect.provide(Metrics.layer))
  )
})
