import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import { deliveryOutcomes, heartbeatOutcomes } from "../../src/domain/delivery/RunEnd.ts"
import type { DeliveryOutcome } from "../../src/domain/delivery/RunEnd.ts"
import { Metrics } from "../../src/layers/Metrics.ts"

const end = (outcome: DeliveryOutcome, error: string | null = null) => ({
  kind: "notification" as const,
  outcome,
  type: "mention",
  run: `notification_${outcome}`,
  agent: "engineer",
  durationMillis: 1_200,
  isSilence: outcome === "retrying",
  isTurnCompleted: outcome === "replied",
  error
})

const start = (run: string) => ({ ...work(run), kind: "notification" as const, lateMillis: 250 })

const work = (run: string) => ({
  run,
  sessionKey: "agent:engineer:account",
  agent: "engineer",
  agentName: "Engineer",
  task: "Fix it",
  type: "mention",
  attempt: 1
})

const seen = {
  isReady: true,
  status: "paused",
  failingAgents: 2,
  isPushConnected: false,
  oldestWaitingSeconds: 12.5,
  heartbeatOverdueSeconds: 20,
  breaker: "HalfOpen",
  isGatewayUp: true,
  gatewayRestarts: 2,
  build: {
    accountId: "account_1",
    accountName: null,
    runtimeId: "acme-1",
    runtimeVersion: "1.2.3",
    gatewayVersion: null
  }
} as const

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
  it.effect("counts running, successful and failed deliveries, and has the last of each", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.runStarted(start("one"))
      yield* metrics.runStarted(start("two"))
      assert.strictEqual((yield* metrics.deliverySummary).inFlight, 2)
      yield* TestClock.setTime(1_000)
      yield* metrics.runEnded(end("retrying", "TurnSilent: empty"))
      yield* TestClock.setTime(2_000)
      yield* metrics.runEnded(end("dead", "TurnRefused: 413"))
      assert.deepStrictEqual(yield* metrics.deliverySummary, {
        deliveredCount: 0,
        successCount: 0,
        failureCount: 2,
        consecutiveFailures: 2,
        failedClaims: 0,
        retries: 1,
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

  it.effect("counts each good outcome as a success that ends a series of failures, and keeps the last error", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      for (const outcome of ["replied", "acted", "skipped", "fallback"] as const) {
        yield* metrics.runEnded(end("retrying", "ConnectionLost: reset"))
        yield* metrics.runEnded(end(outcome))
      }
      const summary = yield* metrics.deliverySummary
      assert.strictEqual(summary.successCount, 4)
      assert.strictEqual(summary.failureCount, 4)
      assert.strictEqual(summary.consecutiveFailures, 0)
      assert.strictEqual(summary.lastErrorMessage, "ConnectionLost: reset")
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("counts released, stopped and lost deliveries neither as success nor as failure", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.runEnded(end("retrying", "x"))
      for (const outcome of ["released", "stopped", "lease_lost"] as const) yield* metrics.runEnded(end(outcome))
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
      yield* metrics.controlPlaneCalled(functions.loadTask, "success", 20)
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
      yield* metrics.runEnded({ ...end("acted"), type: "assignment" })
      yield* metrics.toolCalled("task_status", false)
      yield* metrics.controlPlaneCalled(functions.fail, "failure", 5)
      const after = yield* metrics.prometheus
      const grown = (name: string, labels: Record<string, string>) =>
        (valueOf(after, name, labels) ?? 0) - (valueOf(before, name, labels) ?? 0)
      assert.strictEqual(grown("mission_control_deliveries_total", { outcome: "acted", type: "assignment" }), 1)
      assert.strictEqual(grown("mission_control_tool_calls_total", { tool: "task_status", success: "false" }), 1)
      assert.strictEqual(
        grown("mission_control_control_plane_calls_total", {
          function: functions.fail,
          outcome: "failure"
        }),
        1
      )
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("has its counters from the start, so that alerts can use them", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.toolsKnown(["task_status"])
      yield* metrics.rosterKnown([{ slug: "engineer", name: "Engineer", role: "", isPaused: false }])
      yield* metrics.observe({ ...seen, gatewayRestarts: 0 })
      const text = yield* metrics.prometheus
      for (const outcome of deliveryOutcomes) {
        for (const type of ["mention", "thread_update", "assignment", "status_change", "response_request", "unknown"]) {
          assert.strictEqual(valueOf(text, "mission_control_deliveries_total", { outcome, type }), 0)
        }
      }
      for (const success of ["true", "false"]) {
        assert.strictEqual(valueOf(text, "mission_control_tool_calls_total", { tool: "task_status", success }), 0)
      }
      for (const outcome of heartbeatOutcomes) {
        assert.strictEqual(valueOf(text, "mission_control_heartbeats_total", { outcome }), 0)
      }
      for (const kind of ["roster", "profiles"]) {
        for (const outcome of ["success", "failure"]) {
          assert.strictEqual(valueOf(text, "mission_control_syncs_total", { kind, outcome }), 0)
        }
      }
      for (const direction of ["input", "output"]) {
        assert.strictEqual(valueOf(text, "mission_control_tokens_total", { agent: "engineer", direction }), 0)
      }
      for (const name of [
        "mission_control_delivery_successes_total",
        "mission_control_delivery_failures_total",
        "mission_control_delivery_retries_total",
        "mission_control_silences_total",
        "mission_control_dead_letters_total",
        "mission_control_leases_lost_total",
        "mission_control_gateway_restarts_total"
      ]) {
        assert.match(text, new RegExp(`^${name} 0$`, "m"))
      }
      // A counter without a series would be one that an alert misses at its first event.
      for (const [, name] of text.matchAll(/^# TYPE (\w+) counter$/gm)) {
        assert.match(text, new RegExp(`^${name}(\\{[^}]*\\})? [0-9]`, "m"))
      }
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("has a counter for each function of the control plane", () =>
    Effect.gen(function* () {
      const text = yield* Effect.flatMap(Metrics, ({ prometheus }) => prometheus)
      for (const path of Object.values(functions)) {
        const labels = { function: path, outcome: "failure" }
        assert.strictEqual(valueOf(text, "mission_control_control_plane_calls_total", labels), 0, path)
      }
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("counts the usage of attempts in price-weighted tokens and dollars", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const price = { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 }
      const usage = { ...noUsage, inputTokens: 1_000_000, cacheReadTokens: 500_000, outputTokens: 100_000 }
      const spent = {
        ...usage,
        rounds: 2,
        unanswered: 1,
        contextTokens: 1,
        model: "m",
        price,
        isDelta: false,
        steps: [],
        stepsLeftOut: 0
      }
      yield* metrics.attemptSpent("engineer", spent)
      yield* metrics.attemptSpent("engineer", { ...spent, price: null })
      const text = yield* metrics.prometheus
      assert.strictEqual(valueOf(text, "mission_control_weighted_tokens_total", { agent: "engineer" }), 2_100_000)
      assert.strictEqual(valueOf(text, "mission_control_cost_dollars_total", { agent: "engineer" }), 3.15)
      assert.match(text, /^mission_control_unanswered_requests_total 2$/m)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("counts the tokens of a hundred agents each, and of further ones together", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      for (let n = 0; n < 150; n += 1) {
        yield* metrics.tokensUsed(`agent-${n}`, { ...noUsage, inputTokens: 10, outputTokens: 1 }, "run")
      }
      const text = yield* metrics.prometheus
      const name = "mission_control_tokens_total"
      assert.strictEqual(valueOf(text, name, { agent: "agent-99", direction: "input" }), 10)
      assert.isUndefined(valueOf(text, name, { agent: "agent-100" }))
      assert.strictEqual(valueOf(text, name, { agent: "other", direction: "output" }), 50)
      assert.strictEqual((yield* metrics.summary).inputTokens, 1_500)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("shows the state of the services: one breaker state, one build, the counted restarts", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.observe(seen)
      yield* metrics.observe({
        ...seen,
        build: { ...seen.build, accountName: 'Acme "East"', gatewayVersion: "2026.9.6" }
      })
      const text = yield* metrics.prometheus
      assert.match(text, /^mission_control_ready 1$/m)
      assert.match(text, /^mission_control_push_connected 0$/m)
      assert.match(text, /^mission_control_oldest_waiting_seconds 12.5$/m)
      assert.match(text, /^mission_control_heartbeat_overdue_seconds 20$/m)
      assert.match(text, /^mission_control_gateway_restarts_total 2$/m)
      assert.strictEqual(valueOf(text, "mission_control_breaker_state", { state: "half_open" }), 1)
      assert.strictEqual(valueOf(text, "mission_control_breaker_state", { state: "open" }), 0)
      const builds = text.split("\n").filter((line) => line.startsWith("mission_control_build_info{"))
      assert.lengthOf(builds, 1)
      assert.include(builds[0], 'gateway="2026.9.6"')
      assert.include(builds[0], 'version="1.2.3"')
      assert.include(builds[0], 'account_id="account_1"')
      assert.include(builds[0], 'account_name="Acme \\"East\\""')
      assert.include(builds[0], 'runtime_id="acme-1"')
      assert.match(text, /^mission_control_healthy 0$/m)
      assert.strictEqual(valueOf(text, "mission_control_status", { status: "paused" }), 1)
      assert.strictEqual(valueOf(text, "mission_control_status", { status: "online" }), 0)
      for (const statistic of ["mean", "p50", "p99", "max"]) {
        assert.isAtLeast(valueOf(text, "mission_control_event_loop_delay_seconds", { statistic }) ?? -1, 0)
      }
      assert.match(text, /^process_resident_memory_bytes [1-9]\d*$/m)
      assert.match(text, /^process_start_time_seconds [1-9]/m)
    }).pipe(Effect.provide(Metrics.layer))
  )
})

describe("the activity", () => {
  it.effect("follows a delivery from its start over its tools to its end", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* TestClock.setTime(60_000)
      yield* metrics.runStarted(start("one"))
      yield* metrics.toolStarted("task_status", "one")
      const [running] = (yield* metrics.activity).running
      assert.deepInclude(running, { ...work("one"), startedAt: 60_000, tool: "task_status", stepSince: 60_000 })
      yield* metrics.toolCalled("task_status", true, "one")
      yield* metrics.tokensUsed("engineer", { ...noUsage, inputTokens: 10, outputTokens: 1 }, "one")
      assert.deepInclude((yield* metrics.activity).running[0], { tool: null, rounds: 1, inputTokens: 10 })
      yield* TestClock.setTime(61_000)
      yield* metrics.toolSeen("exec", "one")
      assert.deepInclude((yield* metrics.activity).running[0], { tool: "exec", stepSince: 61_000 })
      yield* TestClock.setTime(61_200)
      yield* metrics.runEnded({ ...end("retrying", "TurnSilent: empty"), run: "one" })
      const after = yield* metrics.activity
      assert.deepStrictEqual(after.running, [])
      assert.strictEqual(after.ended[0]?.outcome, "retrying")
      assert.strictEqual(after.ended[0]?.task, "Fix it")
      assert.deepStrictEqual(after.errors, [
        { message: "TurnSilent: empty", agent: "engineer", firstAt: 61_200, at: 61_200, count: 1 }
      ])
      assert.lengthOf(after.spans, 1)
      assert.deepInclude(after.spans[0], { at: 60_000, ended: 1, failed: 1, longestMillis: 1_200 })
      const { delivery, heartbeat } = yield* metrics.latencies
      assert.deepStrictEqual(heartbeat, { count: 0, p50: null, p95: null })
      assert.strictEqual(delivery.count, 1)
      // Within the bucket from 1 to 2.5 s, and no longer than the longest delivery.
      assert.isAtLeast(delivery.p50 ?? 0, 1)
      assert.strictEqual(delivery.p95, 1.2)
      assert.strictEqual(after.agents[0]?.lastWorkAt, 61_200)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("keeps the tool that this process executes if an event of an earlier round is late", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const running = Effect.map(metrics.activity, (activity) => activity.running[0])
      yield* metrics.runStarted(start("one"))
      yield* metrics.toolSeen("task_get", "one")
      yield* TestClock.setTime(1_000)
      yield* metrics.toolStarted("task_get", "one")
      // The gateway ends its run at the tool call; the event arrives after the answer over HTTP.
      yield* TestClock.setTime(2_000)
      yield* metrics.toolSeen(null, "one")
      assert.deepInclude(yield* running, { tool: "task_get", stepSince: 1_000 })
      yield* metrics.toolCalled("task_get", true, "one")
      assert.deepInclude(yield* running, { tool: null, stepSince: 2_000 })
      yield* metrics.toolSeen("exec", "one")
      yield* metrics.toolSeen(null, "one")
      assert.deepInclude(yield* running, { tool: null })
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("shows an outcome after its counts", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const seen = yield* metrics.activityChanges.pipe(
        Stream.filter(({ ended }) => ended.length > 0),
        Stream.mapEffect(() => metrics.deliverySummary),
        Stream.runHead,
        Effect.forkChild
      )
      yield* Effect.yieldNow
      yield* metrics.runEnded(end("dead", "TurnRefused: 413"))
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(seen)).deadLetters, 1)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("shows the last and the next heartbeat of an agent", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      yield* metrics.rosterKnown([{ slug: "engineer", name: "Engineer", role: "Builds", isPaused: false }])
      const heartbeat = { kind: "heartbeat" as const, type: "heartbeat", run: "agent_engineer:1000" }
      yield* metrics.runStarted({ ...start(heartbeat.run), ...heartbeat, task: null })
      yield* TestClock.setTime(5_000)
      yield* metrics.runEnded({ ...end("replied"), ...heartbeat, outcome: "ok" })
      yield* metrics.heartbeatDue("engineer", 900_000)
      assert.deepStrictEqual((yield* metrics.activity).agents, [
        {
          slug: "engineer",
          name: "Engineer",
          role: "Builds",
          isPaused: false,
          lastHeartbeatAt: 5_000,
          lastHeartbeatOutcome: "ok",
          nextHeartbeatAt: 900_000,
          lastWorkAt: 5_000
        }
      ])
      const text = yield* metrics.prometheus
      assert.strictEqual(valueOf(text, "mission_control_heartbeats_total", { outcome: "ok" }), 1)
      assert.match(text, /^mission_control_heartbeat_lateness_seconds_sum 0.25$/m)
    }).pipe(Effect.provide(Metrics.layer))
  )
})
