import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneRefused, ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { TurnEnd } from "../../../src/domain/delivery/TurnEnd.ts"
import {
  ContextOverflow,
  GatewayUnreachable,
  ProviderFailed,
  TurnAmbiguous,
  TurnStopped,
  TurnSilent,
  TurnTimeout,
  UnknownAgent
} from "../../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import type { HeartbeatContext } from "../../../src/domain/heartbeats/Heartbeat.ts"
import { brokenRun } from "../../domain/delivery/sampleContext.ts"
import {
  orchestratorAgent,
  sampleHeartbeatContext,
  sampleHeartbeatRun,
  sampleHeartbeatTask
} from "../../domain/heartbeats/sampleHeartbeat.ts"
import { executeOnce, failsWith, heartbeatOnce, MINUTE, noTurn, only, quiet, runHouse, said } from "./runHouse.ts"
import type { Options } from "./runHouse.ts"

const says = (text: string, changes: Partial<TurnEnd> = {}): Options => ({
  run: () => Effect.succeed(said(text, changes))
})

describe("a heartbeat", () => {
  it.effect("that ends with HEARTBEAT_OK is idle or busy, posts nothing, and returns when the next is due", () =>
    Effect.gen(function* () {
      const busy = yield* heartbeatOnce(says("HEARTBEAT_OK"))
      assert.deepStrictEqual(busy.end, {
        kind: "heartbeat",
        agent: "engineer",
        outcome: "ok",
        error: null,
        isStored: true,
        dueInMillis: 15 * MINUTE
      })
      assert.deepStrictEqual(only(busy.stored, "heartbeat").report, { status: "busy", currentTaskId: "task_1" })
      const idle = yield* heartbeatOnce(says("HEARTBEAT_OK"), { context: { tasks: [] } })
      assert.deepStrictEqual(only(idle.stored, "heartbeat").report, { status: "idle", currentTaskId: null })
    }).pipe(quiet)
  )

  it.effect("with a text posts it in the thread of the task that it names, otherwise of the first", () =>
    Effect.gen(function* () {
      const context = { tasks: [sampleHeartbeatTask(), sampleHeartbeatTask({ id: "task_2", status: "assigned" })] }
      const named = yield* heartbeatOnce(says("task_2 waits for a password."), { context })
      assert.strictEqual(named.outcome, "posted")
      assert.deepStrictEqual(only(named.stored, "heartbeat").report.message, {
        taskId: "task_2",
        content: "task_2 waits for a password."
      })
      const unnamed = yield* heartbeatOnce(says("Half way; task_99 is not mine."), { context })
      assert.strictEqual(only(unnamed.stored, "heartbeat").report.message?.taskId, "task_1")
    }).pipe(quiet)
  )

  it.effect("posts nothing if it has no task, was silent, has a remark next to its token, or only acted", () =>
    Effect.gen(function* () {
      const acted = { effects: ["task_status"] }
      const cases: ReadonlyArray<[Options, Partial<HeartbeatContext>, string]> = [
        [says("There is nothing to do anywhere."), { tasks: [] }, "ok"],
        [says("All fine.\nHEARTBEAT_OK"), {}, "ok"],
        [says("NO_REPLY", acted), {}, "acted"],
        [says("HEARTBEAT_OK", acted), {}, "acted"],
        [failsWith(new TurnSilent({ detail: "empty" })), {}, "silent"]
      ]
      for (const [options, context, expected] of cases) {
        const { outcome, stored } = yield* heartbeatOnce(options, { context })
        assert.strictEqual(outcome, expected)
        assert.isUndefined(only(stored, "heartbeat").report.message)
      }
    }).pipe(quiet)
  )

  it.effect("has acted if an earlier attempt did", () =>
    Effect.gen(function* () {
      const earlier = { attempts: 1, effects: [{ tool: "task_create", summary: "made task_2", at: 0 }] }
      assert.strictEqual((yield* heartbeatOnce(says("HEARTBEAT_OK"), { context: { earlier } })).outcome, "acted")
    }).pipe(quiet)
  )

  it.effect("marks its message if the model's limit cut it", () =>
    Effect.gen(function* () {
      const { outcome, stored } = yield* heartbeatOnce(says("The dark mode is half", { isTruncated: true }))
      assert.strictEqual(outcome, "posted")
      assert.isTrue(only(stored, "heartbeat").report.message?.truncated)
    }).pipe(quiet)
  )

  it.effect("redacts and cuts its message", () =>
    Effect.gen(function* () {
      const secret = `mc_service_testaccount1_${"0".repeat(64)}`
      const { stored } = yield* heartbeatOnce(says(`The token is ${secret} ${"x".repeat(400_000)}`))
      const content = only(stored, "heartbeat").report.message?.content ?? ""
      assert.notInclude(content, secret)
      assert.isAtMost(content.length, 200_000)
    }).pipe(quiet)
  )

  it.effect("completes without its text if the control plane refuses that because the task has changed", () =>
    Effect.gen(function* () {
      const refusal = new ControlPlaneRefused({ function: "x", code: "forbidden", detail: "not yours" })
      const { end, stored } = yield* heartbeatOnce({
        ...says("Half way."),
        report: ({ message }) => (message === undefined ? Effect.void : Effect.fail(refusal))
      })
      assert.deepInclude(end, { outcome: "posted", error: null, dueInMillis: 15 * MINUTE })
      assert.deepStrictEqual(stored[1], { _tag: "heartbeat", report: { status: "busy", currentTaskId: null } })
      assert.lengthOf(stored, 2)
    }).pipe(quiet)
  )

  it.effect("offers its tools for the tasks shown, as a heartbeat, under its own id", () =>
    Effect.gen(function* () {
      const { turns } = yield* heartbeatOnce(says("HEARTBEAT_OK"))
      const { context, fence } = turns[0]!
      assert.deepInclude(context, { task: null, heartbeat: { taskIds: ["task_1"] } })
      assert.strictEqual(context.notification.id, "agent_engineer:1000")
      assert.deepStrictEqual(fence, { run: "agent_engineer:1000", session: "session_engineer", epoch: 1 })
    }).pipe(quiet)
  )

  it.effect("of the orchestrator asks to follow up on at most three silent assignees", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("2 days")
      const tasks = ["k1", "k2", "k3", "k4"].map((id, index) =>
        sampleHeartbeatTask({ id }, { lastAssigneeAt: index * 1_000 })
      )
      const { turns } = yield* heartbeatOnce(says("HEARTBEAT_OK"), { context: { agent: orchestratorAgent, tasks } })
      const followUp = /--- Follow up (\w+) ---\n([\s\S]*?)\n--- end of Follow up/.exec(turns[0]!.prompt.input)
      assert.deepStrictEqual(
        followUp?.[2]?.split("\n").map((line) => line.split(" ")[0]),
        ["k1", "k2", "k3"]
      )
    }).pipe(quiet)
  )
})

describe("a heartbeat of an agent that is idle", () => {
  const seen = { heartbeat: { ...sampleHeartbeatContext().heartbeat, lastHeartbeatAt: 1 } }
  const turnsOf = (context: Partial<HeartbeatContext>, settings = {}) =>
    Effect.map(heartbeatOnce({ ...says("HEARTBEAT_OK"), settings }, { context }), ({ turns }) => turns.length)

  it.effect("does not call the model, and still ends", () =>
    Effect.gen(function* () {
      for (const idle of [{ isUnchanged: true }, { tasks: [] }]) {
        const { outcome, stored } = yield* heartbeatOnce(noTurn, { context: { ...seen, ...idle } })
        assert.strictEqual(outcome, "skipped")
        only(stored, "heartbeat")
      }
      assert.strictEqual(yield* turnsOf(seen), 1)
      assert.strictEqual(yield* turnsOf({ ...seen, tasks: [], briefing: "watch the release" }), 1)
    }).pipe(quiet)
  )

  it.effect("calls it the first time, once a day, by a cron expression, and if skipping is turned off", () =>
    Effect.gen(function* () {
      const idle = { tasks: [], isUnchanged: true }
      const { heartbeat } = seen
      assert.strictEqual(yield* turnsOf({ ...idle, heartbeat: { ...heartbeat, lastHeartbeatAt: null } }), 1)
      assert.strictEqual(yield* turnsOf({ ...idle, heartbeat: { ...heartbeat, schedule: "0 9 * * *" } }), 1)
      assert.strictEqual(yield* turnsOf({ ...seen, ...idle }, { heartbeatSkipIdle: false }), 1)
      assert.strictEqual(yield* turnsOf({ ...seen, ...idle }), 0)
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* turnsOf({ ...seen, ...idle }), 1)
    }).pipe(quiet)
  )

  it.effect("keeps the orchestrator's follow-ups that became due by the passing of time", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("16 minutes")
      assert.strictEqual(yield* turnsOf({ ...seen, isUnchanged: true, agent: orchestratorAgent }), 1)
    }).pipe(quiet)
  )
})

describe("a heartbeat that fails", () => {
  it.effect("by a shared failure is released with its class and retried later, without counting", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<[TurnFailure, number]> = [
        [new GatewayUnreachable({ detail: "refused" }), 0],
        [new ProviderFailed({ detail: "429", status: 429, retryAfterMillis: 120_000 }), 120_000],
        [new UnknownAgent({ detail: "unknown agent", agentSlug: "engineer" }), 30_000]
      ]
      for (const [failure, least] of cases) {
        const { end, stored } = yield* heartbeatOnce(failsWith(failure))
        const { shared } = only(stored, "release")
        assert.strictEqual(end.outcome, "retrying")
        assert.strictEqual(shared?.class, failure._tag)
        assert.isAtLeast(shared?.retryInMillis ?? -1, least)
        assert.strictEqual(end.dueInMillis, shared?.retryInMillis)
      }
    }).pipe(quiet)
  )

  it.effect("stays due while the gateway does not know its agent, without a request", () =>
    Effect.gen(function* () {
      const unknown = new UnknownAgent({ detail: "unknown agent", agentSlug: "engineer" })
      const { execute, turns } = yield* runHouse(failsWith(unknown))
      yield* execute(sampleHeartbeatRun())
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* execute(sampleHeartbeatRun())).dueInMillis, 20_000)
      assert.lengthOf(turns, 1)
    }).pipe(quiet)
  )

  it.effect("by itself is retried within the backoff after any number of attempts", () =>
    Effect.gen(function* () {
      const slow = failsWith(new TurnTimeout({ detail: "slow" }))
      const { end, stored } = yield* heartbeatOnce(slow, { run: { failures: 1, attempt: 9 } })
      const { failure } = only(stored, "fail")
      assert.deepInclude(failure, { class: "TurnTimeout", silence: false })
      assert.isAtMost(failure.retryInMillis ?? Infinity, 10_000)
      assert.strictEqual(end.dueInMillis, failure.retryInMillis)
    }).pipe(quiet)
  )

  it.effect("is given up if the control plane decides so, and the next claim returns the following one", () =>
    Effect.gen(function* () {
      const slow = failsWith(new TurnTimeout({ detail: "slow" }))
      const { end } = yield* heartbeatOnce({ ...slow, fail: Effect.succeed("dead") })
      assert.deepInclude(end, { outcome: "given_up", isStored: true, dueInMillis: 0 })
    }).pipe(quiet)
  )

  it.effect("ambiguously is retried once after a minute, and is then silent", () =>
    Effect.gen(function* () {
      const ambiguous = failsWith(new TurnAmbiguous({ detail: "internal error" }))
      const first = yield* heartbeatOnce(ambiguous)
      assert.isAtLeast(only(first.stored, "fail").failure.retryInMillis ?? 0, MINUTE)
      const second = yield* heartbeatOnce(ambiguous, { run: { failures: 1 } })
      assert.strictEqual(second.outcome, "silent")
      only(second.stored, "heartbeat")
    }).pipe(quiet)
  )

  it.effect("because its session is too long is retried in the next generation", () =>
    Effect.gen(function* () {
      const { outcome, stored } = yield* heartbeatOnce(failsWith(new ContextOverflow({ detail: "too long" })))
      assert.strictEqual(outcome, "retrying")
      const { failure } = only(stored, "fail")
      assert.deepInclude(failure, { class: "ContextOverflow", silence: false, rotate: true })
    }).pipe(quiet)
  )

  it.effect("by a person's stop in OpenClaw is none: the heartbeat is dropped", () =>
    Effect.gen(function* () {
      const { outcome, stored } = yield* heartbeatOnce(failsWith(new TurnStopped({ detail: "stopped" })))
      assert.strictEqual(outcome, "stopped")
      only(stored, "heartbeat")
    }).pipe(quiet)
  )

  it.effect("with a defect or without a context has failed by itself", () =>
    Effect.gen(function* () {
      const bug = yield* heartbeatOnce({ run: () => Effect.die(new Error("a bug")) })
      assert.strictEqual(only(bug.stored, "fail").failure.class, "Defect")
      for (const broken of ["damaged: tasks", "agent_missing"]) {
        const { end, stored } = yield* executeOnce(noTurn, brokenRun(broken, "heartbeat"))
        assert.strictEqual(only(stored, "fail").failure.class, "BrokenContext")
        assert.deepInclude(end, { kind: "heartbeat", agent: null, outcome: "retrying" })
      }
    }).pipe(quiet)
  )

  it.effect("to be stored is abandoned", () =>
    Effect.gen(function* () {
      const down = new ControlPlaneUnavailable({ function: "x", detail: "ECONNREFUSED" })
      const { end, stored } = yield* heartbeatOnce({ ...says("HEARTBEAT_OK"), report: () => Effect.fail(down) })
      only(stored, "heartbeat")
      assert.deepInclude(end, { outcome: "abandoned", isStored: false, dueInMillis: null })
    }).pipe(quiet)
  )
})
