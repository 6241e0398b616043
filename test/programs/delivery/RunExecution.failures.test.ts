import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  TokenRefused
} from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { TurnEnd } from "../../../src/domain/delivery/TurnEnd.ts"
import {
  ConnectionLost,
  GatewayMisconfigured,
  GatewayRestarted,
  GatewayUnreachable,
  ProviderFailed,
  ContextOverflow,
  TurnAmbiguous,
  TurnStopped,
  TurnRefused,
  TurnSilent,
  TurnTimeout,
  TurnUnreadable,
  UnknownAgent
} from "../../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import { Admission } from "../../../src/services/GatewayGuard.ts"
import { brokenRun, sampleRun, sampleTask } from "../../domain/delivery/sampleContext.ts"
import {
  deliverOnce,
  executeOnce,
  failsWith,
  gatewaySecret,
  noTurn,
  only,
  passive,
  quiet,
  runHouse,
  said
} from "./runHouse.ts"

describe("a delivery that fails by itself", () => {
  for (const failure of [
    new ConnectionLost({ detail: "reset" }),
    new TurnRefused({ detail: "HTTP 413", status: 413 }),
    new TurnTimeout({ detail: "no end" }),
    new TurnUnreadable({ detail: "garbage" })
  ]) {
    it.effect(`is retried after its backoff if the turn ends with ${failure._tag}`, () =>
      Effect.gen(function* () {
        const { outcome, stored } = yield* deliverOnce(failsWith(failure), { run: { failures: 2 } })
        const { failure: failed } = only(stored, "fail")
        assert.strictEqual(failed.class, failure._tag)
        assert.isFalse(failed.silence)
        assert.isAtLeast(failed.retryInMillis ?? -1, 500)
        assert.isAtMost(failed.retryInMillis ?? Infinity, 20_000)
        assert.strictEqual(outcome, "retrying")
      }).pipe(quiet)
    )
  }

  it.effect("is final at the last attempt", () =>
    Effect.gen(function* () {
      const { outcome, summary, stored } = yield* deliverOnce(
        { ...failsWith(new ConnectionLost({ detail: "reset" })), fail: Effect.succeed("dead") },
        { run: { attempt: 8 } }
      )
      assert.notProperty(only(stored, "fail").failure, "retryInMillis")
      assert.strictEqual(outcome, "dead")
      assert.strictEqual(summary.deadLetters, 1)
    }).pipe(quiet)
  )

  it.effect("is skipped without a retry if no answer is owed and no silence is left", () =>
    Effect.gen(function* () {
      const { outcome, stored } = yield* deliverOnce(
        { ...failsWith(new TurnAmbiguous({ detail: "internal error" })), settings: { noResponseLimit: 1 } },
        { context: passive }
      )
      assert.strictEqual(only(stored, "complete").outcome.outcome, "skipped")
      assert.strictEqual(outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect(
    "of a session that is too long is retried soon in the next generation, and final if that is too long too",
    () =>
      Effect.gen(function* () {
        const overflow = failsWith(new ContextOverflow({ detail: "the session is too long for its model" }))
        const first = only((yield* deliverOnce(overflow)).stored, "fail").failure
        assert.deepInclude(first, { class: "ContextOverflow", silence: false, rotate: true })
        assert.isBelow(first.retryInMillis ?? Infinity, 60_000)
        const lastError = { class: "ContextOverflow", message: "", at: 0 }
        const again = yield* deliverOnce(overflow, {
          context: { earlier: { attempts: 1, effects: [], lastError } },
          run: { attempt: 2 }
        })
        assert.notProperty(only(again.stored, "fail").failure, "retryInMillis")
      }).pipe(quiet)
  )

  it.effect("is none if a person stopped the turn in OpenClaw: the run ends as stopped, with a note", () =>
    Effect.gen(function* () {
      const stopped = failsWith(new TurnStopped({ detail: "a person stopped the turn in OpenClaw" }))
      const { end, stored } = yield* deliverOnce(stopped)
      const { outcome } = only(stored, "complete")
      assert.deepInclude(outcome, { outcome: "stopped", turn: "failed" })
      assert.include(outcome.note, "was stopped in OpenClaw")
      assert.deepInclude(end, { outcome: "stopped", error: null })
    }).pipe(quiet)
  )

  it.effect("is counted as fallback when the control plane posted one", () =>
    Effect.gen(function* () {
      const { outcome } = yield* deliverOnce(
        { ...failsWith(new ConnectionLost({ detail: "reset" })), fail: Effect.succeed("delivered") },
        { run: { attempt: 8 } }
      )
      assert.strictEqual(outcome, "fallback")
    }).pipe(quiet)
  )

  it.effect("is final when the same refusal comes twice, and not when another does", () =>
    Effect.gen(function* () {
      const refusal = new TurnRefused({ detail: "HTTP 400: bad body", status: 400 })
      const earlier = (message: string) => ({
        context: {
          earlier: { attempts: 1, effects: [], lastError: { class: "TurnRefused", message, at: 0 } }
        }
      })
      const same = yield* deliverOnce(failsWith(refusal), earlier("HTTP 400: bad body"))
      assert.notProperty(only(same.stored, "fail").failure, "retryInMillis")
      const other = yield* deliverOnce(failsWith(refusal), earlier("HTTP 413: too large"))
      assert.property(only(other.stored, "fail").failure, "retryInMillis")
    }).pipe(quiet)
  )

  it.effect("stores the error without secrets and at most 500 characters long", () =>
    Effect.gen(function* () {
      const { summary, stored } = yield* deliverOnce(
        failsWith(new TurnUnreadable({ detail: `${gatewaySecret} ${"x".repeat(2_000)}` }))
      )
      const { error } = only(stored, "fail").failure
      assert.notInclude(error, gatewaySecret)
      assert.isAtMost(error.length, 500)
      assert.notInclude(summary.lastErrorMessage ?? "", gatewaySecret)
    }).pipe(quiet)
  )

  it.effect("is retried if its context is damaged, because a later version may read it", () =>
    Effect.gen(function* () {
      const { end, stored } = yield* executeOnce(noTurn, brokenRun("damaged: events"))
      const { failure } = only(stored, "fail")
      assert.strictEqual(failure.class, "BrokenContext")
      assert.strictEqual(failure.retryInMillis, end.dueInMillis)
      assert.isNull(end.agent)
      const last = yield* executeOnce(
        { ...noTurn, fail: Effect.succeed("dead") },
        { ...brokenRun("damaged: events"), attempt: 8 }
      )
      assert.notProperty(only(last.stored, "fail").failure, "retryInMillis")
      assert.strictEqual(last.outcome, "dead")
    }).pipe(quiet)
  )

  it.effect("counts a defect as its own failure, and the runtime keeps running", () =>
    Effect.gen(function* () {
      const { execute, metrics, stored } = yield* runHouse({ run: () => Effect.die(new Error("a bug of ours")) })
      yield* execute(sampleRun())
      const { failure } = only(stored, "fail")
      assert.strictEqual(failure.class, "Defect")
      assert.include(failure.error, "a bug of ours")
      assert.property(failure, "retryInMillis")
      assert.strictEqual((yield* metrics.deliverySummary).inFlight, 0)
    }).pipe(quiet)
  )

  it.effect("fails when the control plane refuses the outcome", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce({
        complete: Effect.fail(new ControlPlaneRefused({ function: "complete", code: "invalid", detail: "too long" }))
      })
      assert.deepStrictEqual(
        stored.map(({ _tag }) => _tag),
        ["complete", "fail"]
      )
    }).pipe(quiet)
  )
})

describe("a delivery that shares its failure with others", () => {
  const cases: ReadonlyArray<{
    readonly failure: TurnFailure
    readonly least: number
    readonly limit: Duration.Duration | undefined
  }> = [
    { failure: new GatewayUnreachable({ detail: "refused" }), least: 0, limit: undefined },
    { failure: new GatewayUnreachable({ detail: "503", retryAfterMillis: 45_000 }), least: 45_000, limit: undefined },
    {
      failure: new ProviderFailed({ detail: "429", status: 429, retryAfterMillis: 60_000 }),
      least: 60_000,
      limit: Duration.hours(24)
    },
    { failure: new ProviderFailed({ detail: "502", status: 502 }), least: 0, limit: Duration.hours(24) },
    { failure: new GatewayMisconfigured({ detail: "404", fix: "enable it" }), least: 30_000, limit: undefined },
    { failure: new GatewayRestarted({ detail: "internal error" }), least: 5_000, limit: Duration.hours(24) }
  ]
  for (const { failure, least, limit } of cases) {
    const after = least === 0 ? "after its backoff" : `not before ${least} ms`
    it.effect(`is released and tried again ${after} when the turn ends with ${failure._tag}`, () =>
      Effect.gen(function* () {
        const { outcome, summary, stored } = yield* deliverOnce(failsWith(failure))
        const { shared } = only(stored, "release")
        assert.strictEqual(shared?.class, failure._tag)
        assert.isAtLeast(shared?.retryInMillis ?? -1, Math.max(500, least))
        assert.isAtMost(shared?.retryInMillis ?? Infinity, Math.max(5_000, least))
        assert.deepStrictEqual(shared?.limit, limit)
        assert.strictEqual(outcome, "retrying")
        assert.strictEqual(summary.silences, 0)
      }).pipe(quiet)
    )
  }

  for (const failure of [
    new GatewayUnreachable({ detail: "refused" }),
    new GatewayRestarted({ detail: "internal error" })
  ]) {
    it.effect(`is retried within 5 s of a ${failure._tag}, however many failures came before`, () =>
      Effect.gen(function* () {
        const { stored } = yield* deliverOnce(failsWith(failure), { run: { failures: 9 } })
        assert.isAtMost(only(stored, "release").shared?.retryInMillis ?? Infinity, 5_000)
      }).pipe(quiet)
    )
  }

  it.effect("survives three crashes of the gateway with the 500s that follow them, without a silence", () =>
    Effect.gen(function* () {
      const crash = [new ConnectionLost({ detail: "reset" }), new GatewayRestarted({ detail: "internal error" })]
      const ends = [...crash, ...crash, ...crash]
      const { execute, stored } = yield* runHouse({
        run: () =>
          Effect.suspend((): Effect.Effect<TurnEnd, TurnFailure> => {
            const failure = ends.shift()
            return failure === undefined ? Effect.succeed(said("Done.")) : Effect.fail(failure)
          })
      })
      for (let attempt = 1; attempt <= 7; attempt += 1)
        yield* execute(sampleRun({}, { attempt: Math.ceil(attempt / 2) }))
      assert.deepStrictEqual(
        stored.map((entry) => (entry._tag === "fail" ? entry.failure.silence : entry._tag)),
        [false, "release", false, "release", false, "release", "complete"]
      )
    }).pipe(quiet)
  )

  it.effect("is released when its provider fails at its only attempt", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce({
        ...failsWith(new ProviderFailed({ detail: "429", status: 429 })),
        settings: { deliveryMaxAttempts: 1 }
      })
      assert.strictEqual(only(stored, "release").shared?.class, "ProviderFailed")
    }).pipe(quiet)
  )

  it.effect("is released when it times out while its provider fails, also at its only attempt", () =>
    Effect.gen(function* () {
      const { execute, guard, stored } = yield* runHouse({
        ...failsWith(new TurnTimeout({ detail: "no answer" })),
        settings: { deliveryMaxAttempts: 1 }
      })
      yield* guard.sharedFailure(new ProviderFailed({ detail: "429", status: 429 }), "another agent")
      yield* TestClock.adjust("15 minutes")
      yield* execute(sampleRun())
      const { shared } = only(stored, "release")
      assert.strictEqual(shared?.class, "TurnTimeout")
      assert.deepStrictEqual(shared?.limit, Duration.hours(24))
    }).pipe(quiet)
  )

  it.effect("is dead if the control plane reports that it failed for a day", () =>
    Effect.gen(function* () {
      const { outcome } = yield* deliverOnce({
        ...failsWith(new ProviderFailed({ detail: "502", status: 502 })),
        release: Effect.succeed("dead")
      })
      assert.strictEqual(outcome, "dead")
    }).pipe(quiet)
  )

  it.effect("opens the breaker after five in a row", () =>
    Effect.gen(function* () {
      const { execute, guard, lifecycle } = yield* runHouse(failsWith(new GatewayUnreachable({ detail: "refused" })))
      const once = execute(sampleRun())
      yield* Effect.repeat(once, { times: 3 })
      assert.strictEqual(yield* guard.allowance, Number.POSITIVE_INFINITY)
      yield* once
      assert.strictEqual(yield* guard.allowance, 0)
      assert.property((yield* lifecycle.state).reasons, "breaker")
    }).pipe(quiet)
  )

  it.effect("keeps the breaker closed when turns are completed in between, if only in silence", () =>
    Effect.gen(function* () {
      const turn = yield* Ref.make(0)
      const { execute, guard } = yield* runHouse({
        run: () =>
          Effect.flatMap(
            Ref.getAndUpdate(turn, (count) => count + 1),
            (count): Effect.Effect<TurnEnd, TurnFailure> =>
              count % 5 === 4
                ? Effect.fail(new TurnSilent({ detail: "empty" }))
                : Effect.fail(new GatewayUnreachable({ detail: "refused" }))
          )
      })
      yield* Effect.repeat(execute(sampleRun()), { times: 29 })
      assert.strictEqual(yield* guard.allowance, Number.POSITIVE_INFINITY)
    }).pipe(quiet)
  )

  for (const failure of [
    new TurnAmbiguous({ detail: "internal error" }),
    new TurnRefused({ detail: "HTTP 400", status: 400 }),
    new TurnUnreadable({ detail: "no JSON" }),
    new ConnectionLost({ detail: "reset" }),
    new TurnTimeout({ detail: "no end" })
  ]) {
    it.effect(`keeps the count of failures and the half-open breaker's probe after a ${failure._tag}`, () =>
      Effect.gen(function* () {
        let next: TurnFailure = new GatewayUnreachable({ detail: "refused" })
        const { execute, guard } = yield* runHouse({ run: () => Effect.suspend(() => Effect.fail(next)) })
        const meets = Effect.fnUntraced(function* (met: TurnFailure) {
          next = met
          const admission = yield* guard.claimed
          yield* execute(sampleRun()).pipe(Effect.provideService(Admission, admission))
        })
        const unreachable = next
        for (let count = 0; count < 4; count += 1) yield* meets(unreachable)
        yield* meets(failure)
        assert.deepStrictEqual(yield* guard.breaker, { _tag: "Closed", failures: 4 })
        yield* meets(unreachable)
        assert.strictEqual(yield* guard.opensIn, 30_000)
        yield* TestClock.adjust("30 seconds")
        // The next delivery is the next probe, at once.
        for (let count = 0; count < 2; count += 1) {
          yield* meets(failure)
          assert.deepStrictEqual(yield* guard.breaker, {
            _tag: "HalfOpen",
            probes: [],
            heldUntil: null,
            waitMillis: 30_000
          })
          assert.strictEqual(yield* guard.allowance, 1)
        }
        yield* meets(new TurnSilent({ detail: "empty" }))
        assert.strictEqual((yield* guard.breaker)._tag, "Closed")
      }).pipe(quiet)
    )
  }

  it.effect("is released if the control plane is down during the turn", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce(
        failsWith(new ControlPlaneUnavailable({ function: "service/tasks:setStatus", detail: "ECONNREFUSED" }))
      )
      assert.strictEqual(only(stored, "release").shared?.class, "ControlPlaneUnavailable")
    }).pipe(quiet)
  )

  for (const profileSync of [false, true]) {
    it.effect(`waits for the delay that an unknown agent has${profileSync ? " with profile sync" : ""}`, () =>
      Effect.gen(function* () {
        const delay = profileSync ? 2_000 : 30_000
        const unknown = new UnknownAgent({ detail: "HTTP 400: unknown agent", agentSlug: "engineer" })
        const { execute, stored, turns } = yield* runHouse({ ...failsWith(unknown), settings: { profileSync } })
        assert.strictEqual((yield* execute(sampleRun())).dueInMillis, delay)
        // The next runs of the agent make no request, and keep the moment.
        yield* TestClock.adjust("1 second")
        const end = yield* execute(sampleRun({}, { attempt: 7 }))
        assert.lengthOf(turns, 1)
        assert.deepInclude(end, { outcome: "retrying", isStored: true, dueInMillis: delay - 1_000 })
        for (const entry of stored) {
          const shared = entry._tag === "release" ? entry.shared : undefined
          assert.strictEqual(shared?.class, "UnknownAgent")
          assert.deepStrictEqual(shared?.limit, Duration.hours(24))
          assert.include(shared?.error, "agents.entries")
        }
        // What needs no turn does not wait.
        const skipped = yield* execute(sampleRun({ task: sampleTask({ status: "archived" }) }))
        assert.strictEqual(skipped.outcome, "skipped")
      }).pipe(quiet)
    )
  }

  it.effect("is abandoned if its outcome could not be stored, and is no defect", () =>
    Effect.gen(function* () {
      const failures = [
        new ControlPlaneUnavailable({ function: "complete", detail: "ECONNREFUSED" }),
        new TokenRefused({ function: "complete", detail: "revoked" })
      ]
      for (const failure of failures) {
        const { end, stored, summary } = yield* deliverOnce({ complete: Effect.fail(failure) })
        only(stored, "complete")
        assert.deepInclude(end, { outcome: "abandoned", isStored: false, dueInMillis: null })
        assert.strictEqual(end.error, `${failure._tag}: ${failure.detail}`)
        assert.strictEqual(summary.failureCount, 1)
      }
      const defect = yield* deliverOnce({ complete: Effect.die(new Error("a bug of ours")) })
      assert.deepInclude(defect.end, { outcome: "abandoned", isStored: false })
    }).pipe(quiet)
  )
})
