import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Layer, Logger, Ref } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneRefused, ControlPlaneUnavailable, LeaseLost } from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import type { Failure } from "../../src/domain/Delivery.ts"
import type { BeatContext, BeatReport } from "../../src/domain/Heartbeat.ts"
import { readSpokenText } from "../../src/domain/Silence.ts"
import {
  GatewayUnreachable,
  ProviderFailed,
  TurnAmbiguous,
  TurnSilent,
  TurnTimeout,
  UnknownAgent
} from "../../src/domain/TurnFailure.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Redactor } from "../../src/layers/Redactor.ts"
import { Beats } from "../../src/programs/Beats.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Leases } from "../../src/services/Leases.ts"
import { Lifecycle } from "../../src/services/Lifecycle.ts"
import { LiveRuns } from "../../src/services/LiveRuns.ts"
import { Roster } from "../../src/services/Roster.ts"
import { Runs } from "../../src/services/Runs.ts"
import { Turns } from "../../src/services/Turns.ts"
import type { Turn, TurnEnd } from "../../src/services/Turns.ts"
import { orchestratorAgent, sampleBeat, sampleBeatTask } from "../domain/sampleBeat.ts"

const MINUTE = 60_000
type TurnRun = Turns["Service"]["run"]

/** A turn that ends with this text after these effects. */
const says = (text: string, effects: ReadonlyArray<string> = [], isTruncated = false): ReturnType<TurnRun> =>
  Effect.succeed<TurnEnd>({
    spoken: readSpokenText(text),
    isTruncated,
    usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 },
    rounds: 1,
    effects
  })

interface Calls {
  readonly turns: Array<Turn>
  readonly reports: Array<BeatReport>
  readonly failures: Array<Failure>
  readonly releases: Array<{ readonly class: string; readonly retryInMillis: number } | undefined>
}

/** Runs one beat against a turn that the test writes, and tells what was said to the control plane. */
const house = (options: {
  readonly turn: ReturnType<TurnRun>
  readonly settings?: Partial<Settings>
  readonly reportFailures?: ReadonlyArray<ControlPlaneFailure>
  readonly renew?: Effect.Effect<void, ControlPlaneFailure>
}) =>
  Effect.gen(function* () {
    const calls: Calls = { turns: [], reports: [], failures: [], releases: [] }
    const refusals = [...(options.reportFailures ?? [])]
    const layer = Beats.layer.pipe(
      Layer.provideMerge(Runs.layer),
      Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Leases.layer, LiveRuns.layer)),
      Layer.provideMerge(Layer.mergeAll(Lifecycle.layer, Roster.layer)),
      Layer.provideMerge(
        Layer.mergeAll(
          Layer.mock(Turns, {
            run: (turn) =>
              Effect.suspend(() => {
                calls.turns.push(turn)
                return options.turn
              })
          }),
          Layer.mock(ControlPlane, {
            bootId: "boot",
            now: Clock.currentTimeMillis,
            renew: () => options.renew ?? Effect.void,
            updateAgentHeartbeat: Effect.fnUntraced(function* (_, report) {
              calls.reports.push(report)
              const refusal = refusals.shift()
              if (refusal !== undefined) return yield* refusal
              const now = yield* Clock.currentTimeMillis
              return { dueAt: now + 15 * MINUTE, messageId: null, hasWork: false, now }
            }),
            fail: (_, failure) =>
              Effect.sync(() => {
                calls.failures.push(failure)
                return "waiting" as const
              }),
            release: (_, shared) =>
              Effect.sync(() => {
                calls.releases.push(shared)
                return "waiting" as const
              })
          }),
          Layer.mock(Gateway, {}),
          Metrics.layer,
          Redactor.layer
        )
      ),
      Layer.provideMerge(RuntimeConfig.layerTest(options.settings)),
      Layer.provide([NodeCrypto.layerSecureRandom, NodeCrypto.layerMac]),
      Layer.provideMerge(Logger.layer([]))
    )
    const services = yield* Layer.build(layer)
    const { beats, guard } = yield* Effect.provideContext(Effect.all({ beats: Beats, guard: GatewayGuard }), services)
    return {
      calls,
      guard,
      run: (context: Partial<BeatContext> = {}) => beats.run(sampleBeat(context))
    }
  })

describe("a heartbeat", () => {
  it.effect("that says HEARTBEAT_OK ends idle or busy, posts nothing, and tells when the next is due", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK") })
      assert.deepStrictEqual(yield* run(), {
        outcome: "ok",
        error: null,
        nextInMillis: 15 * MINUTE,
        hasWork: false
      })
      assert.deepStrictEqual(calls.reports, [{ status: "busy", currentTaskId: "task_1" }])
      yield* run({ tasks: [] })
      assert.deepStrictEqual(calls.reports[1], { status: "idle", currentTaskId: null })
    })
  )

  it.effect("that says something posts it in the thread of the task that it names, otherwise of the first", () =>
    Effect.gen(function* () {
      const tasks = [sampleBeatTask(), sampleBeatTask({ id: "task_2", status: "assigned" })]
      const named = yield* house({ turn: says("task_2 waits for a password.") })
      assert.strictEqual((yield* named.run({ tasks })).outcome, "posted")
      assert.deepStrictEqual(named.calls.reports[0]?.message, {
        taskId: "task_2",
        content: "task_2 waits for a password."
      })
      const unnamed = yield* house({ turn: says("Half way; task_99 is not mine.") })
      yield* unnamed.run({ tasks })
      assert.strictEqual(unnamed.calls.reports[0]?.message?.taskId, "task_1")
    })
  )

  it.effect("posts nothing when it has no task, was silent, strays with its token, or only acted", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<[ReturnType<TurnRun>, Partial<BeatContext>, string]> = [
        [says("There is nothing to do anywhere."), { tasks: [] }, "ok"],
        [says("All fine.\nHEARTBEAT_OK"), {}, "ok"],
        [says("NO_REPLY", ["task_status"]), {}, "acted"],
        [says("HEARTBEAT_OK", ["task_status"]), {}, "acted"],
        [Effect.fail(new TurnSilent({ detail: "empty" })), {}, "silent"]
      ]
      for (const [turn, context, outcome] of cases) {
        const { calls, run } = yield* house({ turn })
        assert.strictEqual((yield* run(context)).outcome, outcome)
        assert.deepStrictEqual(
          calls.reports.map(({ message }) => message),
          [undefined]
        )
        assert.deepStrictEqual(calls.failures, [])
      }
    })
  )

  it.effect("marks what it posts when the model's limit cut it", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({ turn: says("The dark mode is half", [], true) })
      assert.strictEqual((yield* run({ tasks: [sampleBeatTask({ id: "k1" })] })).outcome, "posted")
      assert.isTrue(calls.reports[0]?.message?.truncated)
    })
  )

  it.effect("redacts and cuts what it posts", () =>
    Effect.gen(function* () {
      const secret = `mc_service_testaccount1_${"0".repeat(64)}`
      const { calls, run } = yield* house({ turn: says(`The token is ${secret} ${"x".repeat(200_000)}`) })
      yield* run()
      const content = calls.reports[0]?.message?.content ?? ""
      assert.notInclude(content, secret)
      assert.isAtMost(content.length, 100_100)
    })
  )

  it.effect("whose text the control plane refuses, since the task moved on, ends well without it", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({
        turn: says("Half way."),
        reportFailures: [new ControlPlaneRefused({ function: "x", code: "forbidden", detail: "not yours" })]
      })
      assert.strictEqual((yield* run()).error, null)
      assert.lengthOf(calls.reports, 2)
      assert.notProperty(calls.reports[1], "message")
      assert.deepStrictEqual(calls.failures, [])
    })
  )

  it.effect("offers its tools for the tasks shown, as a heartbeat, under its own id", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK") })
      yield* run()
      const context = calls.turns[0]?.context
      assert.deepInclude(context, { task: null, heartbeat: { taskIds: ["task_1"] } })
      assert.strictEqual(context?.notification.id, "agent_engineer:1000")
      assert.include(calls.turns[0]?.prompt.instructions, "- task_status:")
    })
  )

  it.effect("of the orchestrator asks to follow up on at most three silent assignees", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("2 days")
      const tasks = ["k1", "k2", "k3", "k4"].map((id, index) =>
        sampleBeatTask({ id }, { lastAssigneeAt: index * 1_000 })
      )
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK") })
      yield* run({ agent: orchestratorAgent, tasks })
      const followUp = /--- Follow up (\w+) ---\n([\s\S]*?)\n--- end of Follow up/.exec(
        calls.turns[0]?.prompt.input ?? ""
      )
      assert.deepStrictEqual(
        followUp?.[2]?.split("\n").map((line) => line.split(" ")[0]),
        ["k1", "k2", "k3"]
      )
    })
  )

  it.effect("tells the moment after its own of a cron schedule, also when its clock is a little behind Convex's", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-01-05T08:59:59.980Z"))
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK") })
      const dueAt = Date.parse("2026-01-05T09:00:00Z")
      yield* run({ heartbeat: { id: "a:1", dueAt, schedule: "0 9 * * *", lastHeartbeatAt: null } })
      assert.strictEqual(calls.reports[0]?.nextDueAt, Date.parse("2026-01-06T09:00:00Z"))
    })
  )

  it.effect("tells the moment after next of a cron schedule", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-01-05T09:00:01Z"))
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK") })
      yield* run({ heartbeat: { id: "a:1", dueAt: 1, schedule: "0 9 * * *", lastHeartbeatAt: null } })
      assert.strictEqual(calls.reports[0]?.nextDueAt, Date.parse("2026-01-06T09:00:00Z"))
    })
  )
})

describe("HEARTBEAT_SKIP_UNCHANGED", () => {
  const skipping = { heartbeatSkipUnchanged: true }

  it.effect("passes over the model when the agent would see what it saw, and still ends the beat", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK"), settings: skipping })
      assert.strictEqual((yield* run({ isUnchanged: true })).outcome, "unchanged")
      assert.lengthOf(calls.turns, 0)
      assert.lengthOf(calls.reports, 1)
      yield* run({ isUnchanged: false })
      assert.lengthOf(calls.turns, 1)
    })
  )

  it.effect("does not keep the orchestrator from a follow-up that time alone made due, and is off by default", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 day")
      const { calls, run } = yield* house({ turn: says("HEARTBEAT_OK"), settings: skipping })
      yield* run({ isUnchanged: true, agent: orchestratorAgent })
      assert.lengthOf(calls.turns, 1)
      const usual = yield* house({ turn: says("HEARTBEAT_OK") })
      yield* usual.run({ isUnchanged: true })
      assert.lengthOf(usual.calls.turns, 1)
    })
  )
})

describe("a heartbeat that fails", () => {
  it.effect("by a shared failure is given back with its class and tried later, without counting", () =>
    Effect.gen(function* () {
      const cases = [
        [new GatewayUnreachable({ detail: "refused" }), 0],
        [new ProviderFailed({ detail: "429", status: 429, retryAfterMillis: 120_000 }), 120_000],
        [new UnknownAgent({ detail: "unknown agent", agentSlug: "engineer" }), 30_000]
      ] as const
      for (const [failure, least] of cases) {
        const { calls, guard, run } = yield* house({ turn: Effect.fail(failure) })
        const end = yield* run()
        assert.strictEqual(end.outcome, "waiting")
        assert.strictEqual(calls.releases[0]?.class, failure._tag)
        assert.isAtLeast(calls.releases[0]?.retryInMillis ?? -1, least)
        assert.strictEqual(end.nextInMillis, calls.releases[0]?.retryInMillis)
        assert.deepStrictEqual(calls.failures, [])
        if (failure._tag === "UnknownAgent") assert.deepStrictEqual(yield* guard.parkedAgents, ["agent_engineer"])
      }
    })
  )

  it.effect("by its own is told so with a later moment, within the backoff", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({ turn: Effect.fail(new TurnTimeout({ detail: "slow" })) })
      yield* run({ failures: 1 })
      assert.deepInclude(calls.failures[0], { class: "TurnTimeout", silence: false })
      assert.isAtMost(calls.failures[0]?.retryInMillis ?? Infinity, 10_000)
      assert.deepStrictEqual(calls.reports, [])
    })
  )

  it.effect("in a way that the gateway does not explain has one second try a minute later, and is then silent", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({ turn: Effect.fail(new TurnAmbiguous({ detail: "internal error" })) })
      yield* run()
      assert.isAtLeast(calls.failures[0]?.retryInMillis ?? 0, MINUTE)
      assert.strictEqual((yield* run({ failures: 1 })).outcome, "silent")
      assert.lengthOf(calls.failures, 1)
    })
  )

  it.effect("by a bug, or because the control plane is away, ends all the same", () =>
    Effect.gen(function* () {
      const bug = yield* house({ turn: Effect.die(new Error("a bug")) })
      assert.strictEqual((yield* bug.run()).outcome, "waiting")
      assert.strictEqual(bug.calls.failures[0]?.class, "Defect")
      const gone = yield* house({
        turn: says("HEARTBEAT_OK"),
        reportFailures: [new ControlPlaneUnavailable({ function: "x", detail: "ECONNREFUSED" })]
      })
      assert.strictEqual((yield* gone.run()).outcome, "waiting")
      assert.strictEqual(gone.calls.releases[0]?.class, "ControlPlaneUnavailable")
    })
  )

  it.effect("because another has its session stops at once and writes nothing", () =>
    Effect.gen(function* () {
      const { calls, run } = yield* house({
        turn: Effect.never,
        renew: Effect.fail(new LeaseLost({ function: "service/notifications:renew" }))
      })
      const fiber = yield* Effect.forkChild(run())
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).outcome, "lease_lost")
      assert.deepStrictEqual([calls.reports, calls.failures, calls.releases], [[], [], []])
    })
  )

  it.effect("because the process ends is given back without an attempt", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const renewals = yield* Ref.make(0)
      const { calls, run } = yield* house({
        turn: Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
        renew: Ref.update(renewals, (count) => count + 1)
      })
      const fiber = yield* Effect.forkChild(run())
      yield* Deferred.await(begun)
      yield* TestClock.adjust("5 minutes")
      // Kept at a third of its time while the turn ran.
      assert.isAtLeast(yield* Ref.get(renewals), 9)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(calls.releases, [undefined])
    })
  )
})

describe("the lines of heartbeats", () => {
  it.effect("say the first of each class of failures in a row, and that they end well again", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
        lines.push(`${level} ${String(message)}`)
      })
      const away = new GatewayUnreachable({ detail: "away" })
      const ends: Array<ReturnType<TurnRun>> = [
        ...[away, away, new TurnTimeout({ detail: "too long" }), away].map((failure) => Effect.fail(failure)),
        says("HEARTBEAT_OK"),
        says("HEARTBEAT_OK"),
        Effect.fail(away)
      ]
      const count = ends.length
      const { run } = yield* house({ turn: Effect.suspend(() => ends.shift()!) })
      for (let turn = 0; turn < count; turn += 1) yield* Effect.provide(run(), Logger.layer([logger]))
      assert.deepStrictEqual(
        lines.filter((line) => line.includes("heartbeat")),
        [
          "WARN heartbeat waiting: GatewayUnreachable: away",
          "WARN heartbeat waiting: TurnTimeout: too long",
          "INFO heartbeats end well again, after GatewayUnreachable 3, TurnTimeout 1",
          "WARN heartbeat waiting: GatewayUnreachable: away"
        ]
      )
    })
  )
})
