import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import {
  BootConflict,
  ControlPlaneUnavailable,
  LeaseLost,
  ProtocolRefused,
  TokenRefused
} from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { Run } from "../../../src/domain/delivery/Run.ts"
import { GatewayUnreachable, TurnTimeout } from "../../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import { sessionHash } from "../../../src/layers/telemetry/SessionHash.ts"
import { Admission } from "../../../src/services/GatewayGuard.ts"
import { brokenRun, sampleContext, sampleRun, sampleTask } from "../../domain/delivery/sampleContext.ts"
import { sampleHeartbeatRun } from "../../domain/heartbeats/sampleHeartbeat.ts"
import { deliverOnce, executeOnce, failsWith, noTurn, only, quiet, runHouse, said, spent } from "./runHouse.ts"

const runs: ReadonlyArray<Run> = [sampleRun(), sampleHeartbeatRun()]

for (const run of runs) {
  const { kind } = run
  describe(`the lease of a ${kind}`, () => {
    it.effect("interrupts the turn if it is lost, and nothing is stored", () =>
      Effect.gen(function* () {
        const isAborted = yield* Deferred.make<void>()
        const { execute, reported, stored } = yield* runHouse({
          run: () => Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(isAborted, undefined))),
          lost: [run]
        })
        const fiber = yield* Effect.forkChild(execute(run))
        yield* TestClock.adjust("30 seconds")
        const end = yield* Fiber.join(fiber)
        yield* Deferred.await(isAborted)
        assert.deepStrictEqual(stored, [])
        assert.deepStrictEqual(reported, [spent])
        assert.deepInclude(end, { kind, outcome: "lease_lost", isStored: true, dueInMillis: null })
      }).pipe(quiet)
    )

    it.effect.each([
      ["stopped", "stopped"],
      ["paused", "released"]
    ] as const)(
      "aborts the turn if it was recalled because the run is %s, stores nothing and ends as %s",
      ([recalled, outcome]) =>
        Effect.gen(function* () {
          const isAborted = yield* Deferred.make<void>()
          const { execute, metrics, stored } = yield* runHouse({
            run: () => Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(isAborted, undefined))),
            lost: [{ session: run.session, epoch: run.epoch, recalled }]
          })
          const fiber = yield* Effect.forkChild(execute(run))
          yield* TestClock.adjust("30 seconds")
          const end = yield* Fiber.join(fiber)
          yield* Deferred.await(isAborted)
          assert.deepStrictEqual(stored, [])
          assert.deepInclude(end, { kind, outcome, error: null, isStored: true, dueInMillis: null })
          assert.deepInclude((yield* metrics.activity).ended[0], { outcome, isError: false })
        }).pipe(quiet)
    )

    it.effect("ends as stopped if the stop came before its outcome was stored", () =>
      Effect.gen(function* () {
        const refused = Effect.fail(new LeaseLost({ function: "complete", recalled: "stopped" }))
        const { execute } = yield* runHouse({
          complete: refused,
          report: () => refused,
          run: () => Effect.succeed(said("Done."))
        })
        assert.deepInclude(yield* execute(run), { outcome: "stopped", error: null, isStored: true })
      }).pipe(quiet)
    )

    it.effect("stores nothing if the run is interrupted: the last claim of the process releases it", () =>
      Effect.gen(function* () {
        const isRunning = yield* Deferred.make<void>()
        const { execute, metrics, reported, stored } = yield* runHouse({
          run: () => Effect.andThen(Deferred.succeed(isRunning, undefined), Effect.never)
        })
        const fiber = yield* Effect.forkChild(execute(run))
        yield* Deferred.await(isRunning)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([...stored, ...reported], [])
        const { ended, running } = yield* metrics.activity
        assert.lengthOf(running, 0)
        assert.strictEqual(ended[0]?.outcome, "released")
        assert.strictEqual((yield* metrics.deliverySummary).inFlight, 0)
      }).pipe(quiet)
    )

    it.effect("ends the process with 78 if another boot has superseded it", () =>
      Effect.gen(function* () {
        const { execute, lifecycle, stored } = yield* runHouse(
          failsWith(new BootConflict({ detail: "a later boot runs" }))
        )
        assert.strictEqual((yield* execute(run)).outcome, "lease_lost")
        assert.deepStrictEqual(yield* lifecycle.aborted, { exitCode: 78, message: "a later boot runs" })
        assert.deepStrictEqual(stored, [])
      }).pipe(quiet)
    )

    it.effect("is released with its attempt if the token or the protocol is refused during the turn", () =>
      Effect.gen(function* () {
        for (const [refusal, reason] of [
          [new TokenRefused({ function: "service/tasks:load", detail: "revoked" }), "token"],
          [new ProtocolRefused({ function: "service/tasks:load", detail: "too old" }), "protocol"]
        ] as const) {
          const { execute, lifecycle, stored } = yield* runHouse(failsWith(refusal))
          yield* execute(run)
          assert.property((yield* lifecycle.state).reasons, reason)
          assert.strictEqual(only(stored, "release").shared?.class, refusal._tag)
        }
      }).pipe(quiet)
    )

    it.effect("is released if the control plane is down during the turn", () =>
      Effect.gen(function* () {
        const down = new ControlPlaneUnavailable({ function: "service/tasks:setStatus", detail: "ECONNREFUSED" })
        const { end, stored } = yield* executeOnce(failsWith(down), run)
        const { shared } = only(stored, "release")
        assert.strictEqual(shared?.class, "ControlPlaneUnavailable")
        assert.notProperty(shared, "limit")
        assert.deepInclude(end, { outcome: "retrying", isStored: true, dueInMillis: shared?.retryInMillis ?? null })
      }).pipe(quiet)
    )
  })
}

describe("a lease that is lost", () => {
  const lost = new LeaseLost({ function: "service/tasks:setStatus" })

  it.effect("at a tool call or at the end stores nothing more", () =>
    Effect.gen(function* () {
      const atTool = yield* deliverOnce(failsWith(lost))
      assert.deepStrictEqual(atTool.stored, [])
      assert.deepStrictEqual(atTool.reported, [spent])
      const atEnd = yield* deliverOnce({ complete: Effect.fail(lost) })
      only(atEnd.stored, "complete")
      assert.deepInclude(atEnd.end, { outcome: "lease_lost", isStored: true })
    }).pipe(quiet)
  )

  it.effect("while the outcome is being stored does not interrupt that", () =>
    Effect.gen(function* () {
      const { execute } = yield* runHouse({ complete: Effect.sleep("45 seconds"), lost: [sampleRun()] })
      const fiber = yield* Effect.forkChild(execute(sampleRun()))
      yield* TestClock.adjust("45 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).outcome, "replied")
    }).pipe(quiet)
  )
})

describe("a probe of the breaker", () => {
  it.effect("that ends inconclusively allows the next one", () =>
    Effect.gen(function* () {
      const { execute, guard } = yield* runHouse(failsWith(new LeaseLost({ function: "renew" })))
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("30 seconds")
      const probe = yield* guard.claimed
      assert.strictEqual(yield* guard.allowance, 0)
      // One that was begun before speaks for itself.
      yield* execute(sampleRun())
      assert.strictEqual(yield* guard.allowance, 0)
      yield* execute(sampleRun()).pipe(Effect.provideService(Admission, probe))
      assert.strictEqual(yield* guard.allowance, 1)
    }).pipe(quiet)
  )

  it.effect("that the policy skips allows the next one", () =>
    Effect.gen(function* () {
      const { execute, guard } = yield* runHouse()
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("30 seconds")
      const probe = yield* guard.claimed
      yield* execute(sampleRun({ task: sampleTask({ status: "archived" }) })).pipe(
        Effect.provideService(Admission, probe)
      )
      assert.strictEqual(yield* guard.allowance, 1)
    }).pipe(quiet)
  )
})

describe("the log lines of runs", () => {
  const linesOf = Effect.fnUntraced(function* (run: Run | ReadonlyArray<Run>, failures: Array<TurnFailure | null>) {
    const lines: Array<{ readonly level: string; readonly message: string; readonly fields: object }> = []
    const logger = Logger.map(Logger.formatStructured, ({ annotations, level, message }) => {
      lines.push({ level, message: String(message), fields: annotations })
    })
    const count = failures.length
    yield* Effect.gen(function* () {
      const { execute } = yield* runHouse({
        run: () =>
          Effect.suspend(() => {
            const failure = failures.shift()
            return failure == null ? Effect.succeed(said("Done.")) : Effect.fail(failure)
          })
      })
      const runs = Array.isArray(run) ? run : [run]
      for (let turn = 0; turn < count; turn += 1) yield* execute(runs[turn % runs.length])
    }).pipe(Effect.provide(Logger.layer([logger])))
    return lines.filter(({ message }) => /^(deliver|heartbeat)/.test(message))
  })
  const down = new GatewayUnreachable({ detail: "down" })

  it.effect("name the run, warn about the first failure of each class, and report the recovery of deliveries", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf(sampleRun(), [down, down, down, null])
      assert.deepStrictEqual(
        lines.map(({ level, message }) => `${level} ${message}`),
        [
          "WARN delivery retrying: GatewayUnreachable: down",
          "INFO delivery replied",
          "INFO deliveries of engineer recovered, after GatewayUnreachable 3"
        ]
      )
      const session = sessionHash(sampleContext().sessionKey)
      const fields = { notification: "notification_1", agent: "engineer", attempt: 1, type: "thread_update", session }
      for (const line of lines) assert.deepInclude(line.fields, fields)
    })
  )

  it.effect("warn about each agent's failures, and report no recovery because of another agent", () =>
    Effect.gen(function* () {
      const context = sampleContext()
      const qa = sampleRun({ agent: { ...context.agent, id: "agent_qa", slug: "qa" } }, { session: "session_qa" })
      const lines = yield* linesOf([sampleRun(), qa], [down, down, null, down, null, null])
      assert.deepStrictEqual(
        lines.map(({ fields, level, message }) => `${level} ${(fields as { agent: string }).agent} ${message}`),
        [
          "WARN engineer delivery retrying: GatewayUnreachable: down",
          "WARN qa delivery retrying: GatewayUnreachable: down",
          "INFO engineer delivery replied",
          "INFO engineer deliveries of engineer recovered, after GatewayUnreachable 1",
          "INFO engineer delivery replied",
          "INFO qa delivery replied",
          "INFO qa deliveries of qa recovered, after GatewayUnreachable 2"
        ]
      )
    })
  )

  it.effect("report no recovery for a notification that needed no turn", () =>
    Effect.gen(function* () {
      const nothing = sampleRun({ events: [] })
      const lines = yield* linesOf([sampleRun(), nothing], [down, null])
      assert.deepStrictEqual(
        lines.map(({ message }) => message),
        ["delivery retrying: GatewayUnreachable: down"]
      )
    })
  )

  it.effect("do the same for heartbeats, separately from deliveries", () =>
    Effect.gen(function* () {
      const slow = new TurnTimeout({ detail: "too long" })
      const lines = yield* linesOf(sampleHeartbeatRun(), [down, down, slow, down, null, null, down])
      assert.deepStrictEqual(
        lines.map(({ level, message }) => `${level} ${message}`),
        [
          "WARN heartbeat retrying: GatewayUnreachable: down",
          "WARN heartbeat retrying: TurnTimeout: too long",
          "INFO heartbeat posted",
          "INFO heartbeats of engineer recovered, after GatewayUnreachable 3, TurnTimeout 1",
          "INFO heartbeat posted",
          "WARN heartbeat retrying: GatewayUnreachable: down"
        ]
      )
      assert.deepInclude(lines[0]?.fields, { heartbeat: "agent_engineer:1000", agent: "engineer", attempt: 1 })
    })
  )

  it.effect("report a broken run by its id and a dead letter as an error", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.map(
        Logger.formatStructured,
        ({ level, message }) => void lines.push(`${level} ${String(message)}`)
      )
      yield* executeOnce({ ...noTurn, fail: Effect.succeed("dead") }, brokenRun("damaged: events")).pipe(
        Effect.provide(Logger.layer([logger]))
      )
      assert.deepStrictEqual(lines, ["ERROR delivery dead: BrokenContext: damaged: events"])
    })
  )
})
