import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Logger, Option, Redacted, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  BootConflict,
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  LeaseLost,
  TokenRefused
} from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import type { ClaimedDelivery, FailedState, Failure, Outcome } from "../../src/domain/Delivery.ts"
import type { DeliveryContext } from "../../src/domain/DeliveryContext.ts"
import type { SpokenText } from "../../src/domain/Silence.ts"
import {
  ConnectionLost,
  GatewayMisconfigured,
  GatewayUnreachable,
  ProviderFailed,
  TurnAmbiguous,
  TurnRefused,
  TurnSilent,
  TurnTimeout,
  TurnUnreadable,
  UnknownAgent
} from "../../src/domain/TurnFailure.ts"
import type { TurnFailure } from "../../src/domain/TurnFailure.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Redactor } from "../../src/layers/Redactor.ts"
import { sessionHash } from "../../src/layers/SessionHash.ts"
import { Deliveries } from "../../src/programs/Deliveries.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { Admission, GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Leases } from "../../src/services/Leases.ts"
import { Lifecycle } from "../../src/services/Lifecycle.ts"
import { LiveRuns } from "../../src/services/LiveRuns.ts"
import { Roster } from "../../src/services/Roster.ts"
import { Runs } from "../../src/services/Runs.ts"
import { Turns } from "../../src/services/Turns.ts"
import type { Turn, TurnEnd } from "../../src/services/Turns.ts"
import { engineer, sampleContext, sampleMessage, sampleRow, sampleTask } from "../domain/sampleContext.ts"

/** What a delivery wrote in the control plane. */
type Written =
  | { readonly _tag: "complete"; readonly outcome: Outcome }
  | { readonly _tag: "fail"; readonly failure: Failure }
  | { readonly _tag: "release"; readonly shared: Parameters<ControlPlane["Service"]["release"]>[1] }

const delivery: ClaimedDelivery = {
  notificationIds: ["notification_1"],
  session: "session_1",
  epoch: 7,
  expiresAt: 90_000,
  attempt: 1,
  spent: false,
  alone: false,
  failures: 0,
  silences: 0,
  readyAt: 0,
  lane: 0
}

const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 15 }

const spoke = (spoken: SpokenText, changes: Partial<TurnEnd> = {}): TurnEnd => ({
  spoken,
  isTruncated: false,
  usage,
  rounds: 1,
  effects: [],
  ...changes
})

const said = (text: string, changes: Partial<TurnEnd> = {}) => spoke({ _tag: "Text", text }, changes)

const gatewaySecret = "gateway-secret-0123456789"

interface Options {
  readonly run?: (turn: Turn) => Effect.Effect<TurnEnd, TurnFailure | ControlPlaneFailure>
  readonly complete?: Effect.Effect<void, ControlPlaneFailure>
  readonly fail?: Effect.Effect<FailedState, ControlPlaneFailure>
  readonly release?: Effect.Effect<"ready" | "waiting" | "dead", ControlPlaneFailure>
  readonly renew?: Effect.Effect<void, ControlPlaneFailure>
  readonly settings?: Partial<Settings>
}

/** Deliveries over a control plane and turns that the test holds; everything else is real. */
const house = (options: Options = {}) =>
  Effect.gen(function* () {
    const written = yield* Ref.make<ReadonlyArray<Written>>([])
    const renewals = yield* Ref.make(0)
    const write = (entry: Written) => Ref.update(written, (all) => [...all, entry])
    const layer = Deliveries.layer.pipe(
      Layer.provideMerge(Runs.layer),
      Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Leases.layer, LiveRuns.layer, Metrics.layer)),
      Layer.provideMerge(Layer.mergeAll(Lifecycle.layer, Roster.layer)),
      Layer.provide([
        Layer.mock(ControlPlane, {
          bootId: "boot",
          now: Effect.succeed(0),
          complete: (_, outcome) =>
            Effect.andThen(write({ _tag: "complete", outcome }), options.complete ?? Effect.void),
          fail: (_, failure) =>
            Effect.andThen(write({ _tag: "fail", failure }), options.fail ?? Effect.succeed("waiting" as const)),
          release: (_, shared) =>
            Effect.andThen(write({ _tag: "release", shared }), options.release ?? Effect.succeed("waiting" as const)),
          renew: () =>
            Effect.andThen(
              Ref.update(renewals, (count) => count + 1),
              options.renew ?? Effect.void
            )
        }),
        Layer.mock(Turns, { run: (turn) => (options.run ?? (() => Effect.succeed(said("Done."))))(turn) as never }),
        Layer.mock(Gateway, {}),
        NodeCrypto.layerMac.pipe(Layer.provideMerge(NodeCrypto.layerSecureRandom))
      ]),
      Layer.provideMerge(Redactor.layer),
      Layer.provide(
        RuntimeConfig.layerTest({ ...options.settings, gatewayToken: Option.some(Redacted.make(gatewaySecret)) })
      )
    )
    const services = yield* Layer.build(layer)
    const { deliveries, guard, leases, lifecycle, metrics } = yield* Effect.all({
      deliveries: Deliveries,
      guard: GatewayGuard,
      leases: Leases,
      lifecycle: Lifecycle,
      metrics: Metrics
    }).pipe(Effect.provideContext(services))
    return { deliver: deliveries.deliver, guard, leases, lifecycle, metrics, renewals, written: Ref.get(written) }
  })

/** Runs one delivery and answers what it wrote and how the runtime counted it. */
const deliverOnce = (
  options: Options,
  changes: { readonly delivery?: Partial<ClaimedDelivery>; readonly context?: Partial<DeliveryContext> } = {}
) =>
  Effect.gen(function* () {
    const { deliver, metrics, written } = yield* house(options)
    yield* deliver({ ...delivery, ...changes.delivery }, { context: sampleContext(changes.context) })
    const summary = yield* metrics.deliverySummary
    assert.strictEqual(summary.inFlight, 0)
    return { written: yield* written, outcome: summary.lastDelivery?.outcome, summary }
  })

/** The only thing written, of this kind. */
const only = <Tag extends Written["_tag"]>(
  written: ReadonlyArray<Written>,
  tag: Tag
): Extract<Written, { readonly _tag: Tag }> => {
  assert.deepStrictEqual(
    written.map(({ _tag }) => _tag),
    [tag]
  )
  return written[0] as Extract<Written, { readonly _tag: Tag }>
}

const failsWith = (failure: TurnFailure | ControlPlaneFailure) => ({ run: () => Effect.fail(failure) })

const quiet = Effect.provide(Logger.layer([]))

/** A status change, for which nobody waits. */
const passive: Partial<DeliveryContext> = {
  fold: [sampleRow({ type: "status_change", previousStatus: "assigned", newStatus: "in_progress", message: null })]
}

describe("a delivery that ends well", () => {
  it.effect("writes the reply with its usage", () =>
    Effect.gen(function* () {
      const { outcome, summary, written } = yield* deliverOnce({ run: () => Effect.succeed(said("All done.")) })
      assert.deepStrictEqual(only(written, "complete").outcome, {
        outcome: "replied",
        reply: "All done.",
        refused: [],
        usage
      })
      assert.strictEqual(outcome, "replied")
      assert.strictEqual(summary.successCount, 1)
    }).pipe(quiet)
  )

  it.effect("marks a truncated reply", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce({ run: () => Effect.succeed(said("Half", { isTruncated: true })) })
      assert.isTrue(only(written, "complete").outcome.truncated)
    }).pipe(quiet)
  )

  it.effect("cuts a reply that no thread can hold, and takes secrets out of it", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce({
        run: () => Effect.succeed(said(`The token is ${gatewaySecret}. ${"x".repeat(200_000)}`))
      })
      const { reply = "" } = only(written, "complete").outcome
      assert.isAtMost(reply.length, 100_000)
      assert.notInclude(reply, gatewaySecret)
      assert.include(reply, "the reply had")
    }).pipe(quiet)
  )

  it.effect("leaves no half of a secret where a reply is cut", () =>
    Effect.gen(function* () {
      for (let before = 99_900; before < 100_000; before += 7) {
        const text = `${"x".repeat(before)} ${gatewaySecret} ${"y".repeat(500)}`
        const { written } = yield* deliverOnce({ run: () => Effect.succeed(said(text)) })
        const { reply = "" } = only(written, "complete").outcome
        assert.notInclude(reply, gatewaySecret.slice(0, 8))
      }
    }).pipe(quiet)
  )

  it.effect("is acted when tools spoke for the agent, with a note where an answer was owed", () =>
    Effect.gen(function* () {
      const silent = spoke({ _tag: "Silent", reason: "empty text" }, { effects: ["task_status", "task_status"] })
      const owed = yield* deliverOnce({ run: () => Effect.succeed(silent) })
      const { note, outcome } = only(owed.written, "complete").outcome
      assert.strictEqual(outcome, "acted")
      assert.strictEqual(note, "Engineer ended without a text. Done: task_status.")
      const notOwed = yield* deliverOnce({ run: () => Effect.succeed(silent) }, { context: passive })
      assert.deepStrictEqual(only(notOwed.written, "complete").outcome, { outcome: "acted", refused: [], usage })
    }).pipe(quiet)
  )

  it.effect("is skipped when a passive notification gets nothing to add", () =>
    Effect.gen(function* () {
      const { outcome, written } = yield* deliverOnce(
        { run: () => Effect.succeed(spoke({ _tag: "NothingToAdd", token: "NO_ACTION" })) },
        { context: passive }
      )
      assert.strictEqual(only(written, "complete").outcome.outcome, "skipped")
      assert.strictEqual(only(written, "complete").outcome.reason, "NO_ACTION")
      assert.strictEqual(outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("is skipped without a turn when the policy refuses every row, with the reason of each", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(
        { run: () => Effect.die("no turn may run") },
        { context: { task: sampleTask({ status: "archived" }) } }
      )
      assert.deepStrictEqual(only(written, "complete").outcome, {
        outcome: "skipped",
        reason: "task archived",
        refused: [{ id: "notification_1", reason: "task archived" }]
      })
    }).pipe(quiet)
  )

  it.effect("asks the policy of each row of a fold: refused rows end skipped, the turn is for the rest", () =>
    Effect.gen(function* () {
      const seen = yield* Ref.make("")
      const { written } = yield* deliverOnce(
        { run: (turn) => Effect.as(Ref.set(seen, turn.prompt.input), said("Yes.")) },
        {
          context: {
            recipientIsAssignee: false,
            fold: [
              sampleRow({ id: "from_person", message: sampleMessage({ id: "m1", content: "words of a person" }) }),
              sampleRow({
                id: "from_agent",
                actor: { ...engineer, id: "agent_other", slug: "other" },
                message: sampleMessage({ id: "m2", content: "words of an agent" })
              })
            ],
            thread: []
          }
        }
      )
      assert.deepStrictEqual(
        only(written, "complete").outcome.refused?.map(({ id }) => id),
        ["from_agent"]
      )
      assert.include(yield* Ref.get(seen), "words of a person")
      assert.notInclude(yield* Ref.get(seen), "words of an agent")
    }).pipe(quiet)
  )

  it.effect("is skipped when its task is gone, without a turn", () =>
    Effect.gen(function* () {
      const { deliver, written } = yield* house({ run: () => Effect.die("no turn may run") })
      yield* deliver(delivery, { broken: "task_missing" })
      assert.deepStrictEqual(only(yield* written, "complete").outcome, { outcome: "skipped", reason: "task_missing" })
    }).pipe(quiet)
  )

  it.effect("gives the turn its fence, and a boundary that no other turn has", () =>
    Effect.gen(function* () {
      const turns = yield* Ref.make<ReadonlyArray<Turn>>([])
      const { deliver } = yield* house({
        run: (turn) =>
          Effect.as(
            Ref.update(turns, (all) => [...all, turn]),
            said("Yes.")
          )
      })
      const context = sampleContext()
      yield* deliver(delivery, { context })
      yield* deliver({ ...delivery, attempt: 2 }, { context })
      const [first, second] = yield* Ref.get(turns)
      assert.strictEqual(first?.fence.session, "session_1")
      assert.strictEqual(first?.fence.epoch, 7)
      const boundaryOf = (turn: Turn | undefined) => /^--- request ([0-9a-f]{16}) ---$/m.exec(turn?.prompt.input ?? "")
      assert.isNotNull(boundaryOf(first))
      assert.notStrictEqual(boundaryOf(first)?.[1], boundaryOf(second)?.[1])
    }).pipe(quiet)
  )
})

describe("a delivery that fails on its own account", () => {
  for (const failure of [
    new ConnectionLost({ detail: "reset" }),
    new TurnRefused({ detail: "HTTP 413", status: 413 }),
    new TurnTimeout({ detail: "no end" }),
    new TurnUnreadable({ detail: "garbage" })
  ]) {
    it.effect(`is tried again after its backoff when the turn ends with ${failure._tag}`, () =>
      Effect.gen(function* () {
        const { outcome, written } = yield* deliverOnce(failsWith(failure), { delivery: { failures: 2 } })
        const { failure: stored } = only(written, "fail")
        assert.strictEqual(stored.class, failure._tag)
        assert.isFalse(stored.silence)
        assert.isAtLeast(stored.retryInMillis ?? -1, 500)
        assert.isAtMost(stored.retryInMillis ?? Infinity, 20_000)
        assert.strictEqual(outcome, "waiting")
      }).pipe(quiet)
    )
  }

  it.effect("is final at the last attempt", () =>
    Effect.gen(function* () {
      const { outcome, summary, written } = yield* deliverOnce(
        { ...failsWith(new ConnectionLost({ detail: "reset" })), fail: Effect.succeed("dead") },
        { delivery: { attempt: 8 } }
      )
      assert.notProperty(only(written, "fail").failure, "retryInMillis")
      assert.strictEqual(outcome, "dead")
      assert.strictEqual(summary.deadLetters, 1)
    }).pipe(quiet)
  )

  it.effect("is counted as skipped, not as fallback, when the control plane ended it with no answer owed", () =>
    Effect.gen(function* () {
      const { outcome, written } = yield* deliverOnce(
        {
          ...failsWith(new TurnAmbiguous({ detail: "internal error" })),
          fail: Effect.succeed("delivered"),
          settings: { noResponseLimit: 1 }
        },
        { context: { ...passive, notification: { ...sampleContext().notification, isRequired: false } } }
      )
      assert.isTrue(only(written, "fail").failure.silence)
      assert.strictEqual(outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("is counted as fallback when the control plane posted one", () =>
    Effect.gen(function* () {
      const { outcome } = yield* deliverOnce(
        { ...failsWith(new ConnectionLost({ detail: "reset" })), fail: Effect.succeed("delivered") },
        { delivery: { attempt: 8 } }
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
      assert.notProperty(only(same.written, "fail").failure, "retryInMillis")
      const other = yield* deliverOnce(failsWith(refusal), earlier("HTTP 413: too large"))
      assert.property(only(other.written, "fail").failure, "retryInMillis")
    }).pipe(quiet)
  )

  it.effect("stores the error without secrets and at most 500 characters long", () =>
    Effect.gen(function* () {
      const { summary, written } = yield* deliverOnce(
        failsWith(new TurnUnreadable({ detail: `${gatewaySecret} ${"x".repeat(2_000)}` }))
      )
      const { error } = only(written, "fail").failure
      assert.notInclude(error, gatewaySecret)
      assert.isAtMost(error.length, 500)
      assert.notInclude(summary.lastErrorMessage ?? "", gatewaySecret)
    }).pipe(quiet)
  )

  it.effect("ends for good without a turn when its budget is spent", () =>
    Effect.gen(function* () {
      const { outcome, written } = yield* deliverOnce(
        { run: () => Effect.die("no turn may run"), fail: Effect.succeed("dead") },
        { delivery: { spent: true, attempt: 8 } }
      )
      const { failure } = only(written, "fail")
      assert.strictEqual(failure.class, "AttemptsSpent")
      assert.notProperty(failure, "retryInMillis")
      assert.strictEqual(outcome, "dead")
    }).pipe(quiet)
  )

  it.effect("is tried again when its context is damaged, for a later version may read it", () =>
    Effect.gen(function* () {
      const { deliver, written } = yield* house({ run: () => Effect.die("no turn may run") })
      yield* deliver(delivery, { broken: "damaged: fold" })
      const { failure } = only(yield* written, "fail")
      assert.strictEqual(failure.class, "BrokenContext")
      assert.property(failure, "retryInMillis")
    }).pipe(quiet)
  )

  it.effect("counts a defect as its own failure, and the runtime lives on", () =>
    Effect.gen(function* () {
      const { deliver, metrics, written } = yield* house({ run: () => Effect.die(new Error("a bug of ours")) })
      yield* deliver(delivery, { context: sampleContext() })
      const { failure } = only(yield* written, "fail")
      assert.strictEqual(failure.class, "Defect")
      assert.include(failure.error, "a bug of ours")
      assert.property(failure, "retryInMillis")
      assert.strictEqual((yield* metrics.deliverySummary).inFlight, 0)
    }).pipe(quiet)
  )

  it.effect("fails when the control plane refuses the outcome", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce({
        complete: Effect.fail(new ControlPlaneRefused({ function: "complete", code: "invalid", detail: "too long" }))
      })
      assert.deepStrictEqual(
        written.map(({ _tag }) => _tag),
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
    { failure: new UnknownAgent({ detail: "400", agentSlug: "engineer" }), least: 30_000, limit: Duration.hours(24) }
  ]
  for (const { failure, least, limit } of cases) {
    const after = least === 0 ? "after its backoff" : `not before ${least} ms`
    it.effect(`is released and tried again ${after} when the turn ends with ${failure._tag}`, () =>
      Effect.gen(function* () {
        const { outcome, summary, written } = yield* deliverOnce(failsWith(failure))
        const { shared } = only(written, "release")
        assert.strictEqual(shared?.class, failure._tag)
        assert.isAtLeast(shared?.retryInMillis ?? -1, Math.max(500, least))
        assert.isAtMost(shared?.retryInMillis ?? Infinity, Math.max(5_000, least))
        assert.deepStrictEqual(shared?.limit, limit)
        assert.strictEqual(outcome, "waiting")
        assert.strictEqual(summary.silences, 0)
      }).pipe(quiet)
    )
  }

  it.effect("is dead when the control plane says that it waited a day for nothing", () =>
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
      const { deliver, guard, lifecycle } = yield* house(failsWith(new GatewayUnreachable({ detail: "refused" })))
      const once = deliver(delivery, { context: sampleContext() })
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
      const { deliver, guard } = yield* house({
        run: () =>
          Effect.flatMap(
            Ref.getAndUpdate(turn, (count) => count + 1),
            (count): Effect.Effect<TurnEnd, TurnFailure> =>
              count % 5 === 4
                ? Effect.fail(new TurnSilent({ detail: "empty" }))
                : Effect.fail(new GatewayUnreachable({ detail: "refused" }))
          )
      })
      yield* Effect.repeat(deliver(delivery, { context: sampleContext() }), { times: 29 })
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
    it.effect(`keeps its place in the row, and the half-open breaker its probe, beside a ${failure._tag}`, () =>
      Effect.gen(function* () {
        let next: TurnFailure = new GatewayUnreachable({ detail: "refused" })
        const { deliver, guard } = yield* house({ run: () => Effect.suspend(() => Effect.fail(next)) })
        const meets = Effect.fnUntraced(function* (met: TurnFailure) {
          next = met
          const admission = yield* guard.claimed
          yield* deliver(delivery, { context: sampleContext() }).pipe(Effect.provideService(Admission, admission))
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
          assert.deepStrictEqual(yield* guard.breaker, { _tag: "HalfOpen", probe: null, waitMillis: 30_000 })
          assert.strictEqual(yield* guard.allowance, 1)
        }
        yield* meets(new TurnSilent({ detail: "empty" }))
        assert.strictEqual((yield* guard.breaker)._tag, "Closed")
      }).pipe(quiet)
    )
  }

  it.effect("is released when the control plane is away in mid-turn", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(
        failsWith(new ControlPlaneUnavailable({ function: "service/tasks:setStatus", detail: "ECONNREFUSED" }))
      )
      assert.strictEqual(only(written, "release").shared?.class, "ControlPlaneUnavailable")
    }).pipe(quiet)
  )

  it.effect("is left to its lease when nothing can be written any more, and is no defect", () =>
    Effect.gen(function* () {
      const away = new ControlPlaneUnavailable({ function: "service/notifications:complete", detail: "ECONNREFUSED" })
      const { outcome, written } = yield* deliverOnce({ complete: Effect.fail(away), release: Effect.fail(away) })
      assert.deepStrictEqual(
        written.map(({ _tag }) => _tag),
        ["complete", "release"]
      )
      assert.strictEqual(outcome, "released")
    }).pipe(quiet)
  )
})

describe("silence", () => {
  const silent = failsWith(new TurnSilent({ detail: "empty text" }))
  const ambiguous = failsWith(new TurnAmbiguous({ detail: "internal error" }))

  it.effect("is counted on a notification that owes an answer, and tried again", () =>
    Effect.gen(function* () {
      const { summary, written } = yield* deliverOnce(silent)
      const { failure } = only(written, "fail")
      assert.isTrue(failure.silence)
      assert.isAtLeast(failure.retryInMillis ?? -1, 500)
      assert.notProperty(failure, "rotate")
      assert.strictEqual(summary.silences, 1)
    }).pipe(quiet)
  )

  it.effect("is what NO_ACTION means where an answer is owed", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce({
        run: () => Effect.succeed(spoke({ _tag: "NothingToAdd", token: "NO_ACTION" }))
      })
      assert.isTrue(only(written, "fail").failure.silence)
    }).pipe(quiet)
  )

  it.effect("skips a passive notification at once", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(silent, { context: passive })
      assert.strictEqual(only(written, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("that is ambiguous is tried again not before a minute, once for a passive notification", () =>
    Effect.gen(function* () {
      const owed = yield* deliverOnce(ambiguous)
      assert.isAtLeast(only(owed.written, "fail").failure.retryInMillis ?? -1, 60_000)
      const first = yield* deliverOnce(ambiguous, { context: passive })
      assert.isAtLeast(only(first.written, "fail").failure.retryInMillis ?? -1, 60_000)
      const second = yield* deliverOnce(ambiguous, { context: passive, delivery: { silences: 1 } })
      assert.strictEqual(only(second.written, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("that is ambiguous is shared while a provider failed within its cooldown, and a silence after it", () =>
    Effect.gen(function* () {
      const { deliver, guard, written } = yield* house(ambiguous)
      yield* guard.sharedFailure(new ProviderFailed({ detail: "401", status: 401 }), "agent_engineer")
      yield* TestClock.adjust("119 seconds")
      yield* deliver(delivery, { context: sampleContext() })
      yield* TestClock.adjust("1 second")
      yield* deliver(delivery, { context: sampleContext() })
      const [first, second] = yield* written
      assert.strictEqual(first?._tag, "release")
      assert.isAtLeast((first?._tag === "release" && first.shared?.retryInMillis) || -1, 60_000)
      assert.isTrue(second?._tag === "fail" && second.failure.silence)
    }).pipe(quiet)
  )

  it.effect("that is ambiguous rotates the session for the last try before the fallback only", () =>
    Effect.gen(function* () {
      const first = yield* deliverOnce(ambiguous, { delivery: { silences: 0 } })
      assert.notProperty(only(first.written, "fail").failure, "rotate")
      const second = yield* deliverOnce(ambiguous, { delivery: { silences: 1 } })
      assert.isTrue(only(second.written, "fail").failure.rotate)
      const passiveRow = yield* deliverOnce(ambiguous, { context: passive })
      assert.notProperty(only(passiveRow.written, "fail").failure, "rotate")
    }).pipe(quiet)
  )

  it.effect("rotates no session whose next try is not the last one before the fallback, or that has no next try", () =>
    Effect.gen(function* () {
      const asked = (settings: Partial<Settings>, changes: Partial<ClaimedDelivery>) =>
        Effect.map(
          deliverOnce({ ...ambiguous, settings }, { delivery: changes }),
          ({ written }) => only(written, "fail").failure
        )
      assert.notProperty(yield* asked({ noResponseLimit: 1 }, {}), "rotate")
      assert.isTrue((yield* asked({ noResponseLimit: 2 }, {})).rotate)
      assert.notProperty(yield* asked({ noResponseLimit: 2 }, { silences: 1 }), "rotate")
      // The attempts can be used up before the silences are.
      assert.isTrue((yield* asked({ deliveryMaxAttempts: 2 }, {})).rotate)
      const last = yield* asked({ deliveryMaxAttempts: 2 }, { attempt: 2 })
      assert.notProperty(last, "rotate")
      assert.notProperty(last, "retryInMillis")
    }).pipe(quiet)
  )

  it.effect("on a passive notification is no dead letter at its last attempt, but skipped", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(ambiguous, { context: passive, delivery: { attempt: 8 } })
      assert.strictEqual(only(written, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("that skips says why without secrets and in at most 500 characters", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(
        failsWith(new TurnAmbiguous({ detail: `internal error: ${gatewaySecret} ${"x".repeat(2_000)}` })),
        { context: passive, delivery: { silences: 1 } }
      )
      const { outcome, reason } = only(written, "complete").outcome
      assert.strictEqual(outcome, "skipped")
      assert.match(reason ?? "", /^internal error: <redacted> x+…$/)
      assert.lengthOf(reason ?? "", 500)
    }).pipe(quiet)
  )

  it.effect("tells which rows of the fold the policy refused, so that a fallback does not stand for them", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(silent, {
        context: {
          recipientIsAssignee: false,
          fold: [
            sampleRow({ id: "from_person" }),
            sampleRow({ id: "from_agent", actor: { ...engineer, id: "agent_other", slug: "other" } })
          ]
        }
      })
      assert.deepStrictEqual(
        only(written, "fail").failure.refused?.map(({ id }) => id),
        ["from_agent"]
      )
    }).pipe(quiet)
  )

  it.effect("after effects of an earlier attempt is acted, for they stand", () =>
    Effect.gen(function* () {
      const { written } = yield* deliverOnce(
        { run: () => Effect.succeed(spoke({ _tag: "Silent", reason: "empty text" })) },
        {
          context: {
            earlier: { attempts: 1, lastError: null, effects: [{ tool: "task_status", summary: "to review", at: 0 }] }
          }
        }
      )
      const { note, outcome } = only(written, "complete").outcome
      assert.strictEqual(outcome, "acted")
      assert.strictEqual(note, "Engineer ended without a text. Done: task_status.")
    }).pipe(quiet)
  )
})

describe("the lease", () => {
  it.effect("that is lost in mid-turn ends the delivery, which writes nothing", () =>
    Effect.gen(function* () {
      const isAborted = yield* Deferred.make<void>()
      const { deliver, metrics, written } = yield* house({
        run: () => Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(isAborted, undefined))),
        renew: Effect.fail(new LeaseLost({ function: "service/notifications:renew" }))
      })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(fiber)
      yield* Deferred.await(isAborted)
      assert.deepStrictEqual(yield* written, [])
      assert.strictEqual((yield* metrics.deliverySummary).lastDelivery?.outcome, "lease_lost")
    }).pipe(quiet)
  )

  it.effect("that was another's before its context came ends the delivery without a turn and without a word", () =>
    Effect.gen(function* () {
      const { deliver, metrics, written } = yield* house({ run: () => Effect.die("a turn was run") })
      yield* deliver(delivery, { broken: "lease_lost" })
      assert.deepStrictEqual(yield* written, [])
      assert.strictEqual((yield* metrics.deliverySummary).lastDelivery?.outcome, "lease_lost")
    }).pipe(quiet)
  )

  it.effect("that is lost at a tool or at the end writes nothing more", () =>
    Effect.gen(function* () {
      const lost = new LeaseLost({ function: "service/tasks:setStatus" })
      const atTool = yield* deliverOnce(failsWith(lost))
      assert.deepStrictEqual(atTool.written, [])
      const atEnd = yield* deliverOnce({ complete: Effect.fail(lost) })
      only(atEnd.written, "complete")
      assert.strictEqual(atEnd.outcome, "lease_lost")
    }).pipe(quiet)
  )

  it.effect("is renewed every third of its time for as long as the turn lasts", () =>
    Effect.gen(function* () {
      const { deliver, renewals, written } = yield* house({
        run: () => Effect.delay(Effect.succeed(said("At last.")), "5 minutes")
      })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }))
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(yield* Ref.get(renewals), 0)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Ref.get(renewals), 1)
      yield* TestClock.adjust("270 seconds")
      yield* Fiber.join(fiber)
      const renewed = yield* Ref.get(renewals)
      assert.isAtLeast(renewed, 9)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Ref.get(renewals), renewed)
      only(yield* written, "complete")
    }).pipe(quiet)
  )

  it.effect("that cannot be renewed does not end the turn, for nobody may have taken it", () =>
    Effect.gen(function* () {
      const { deliver, written } = yield* house({
        run: () => Effect.delay(Effect.succeed(said("At last.")), "2 minutes"),
        renew: Effect.fail(new ControlPlaneUnavailable({ function: "renew", detail: "ECONNREFUSED" }))
      })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(fiber)
      only(yield* written, "complete")
    }).pipe(quiet)
  )

  it.effect("that could not be renewed is made good at once when asked, and no other", () =>
    Effect.gen(function* () {
      const away = new ControlPlaneUnavailable({ function: "renew", detail: "ECONNREFUSED" })
      let isAway = true
      const { deliver, leases, renewals } = yield* house({
        run: () => Effect.delay(Effect.succeed(said("At last.")), "80 seconds"),
        renew: Effect.suspend(() => (isAway ? Effect.fail(away) : Effect.void))
      })
      const asked = Effect.gen(function* () {
        const before = yield* Ref.get(renewals)
        const exit = yield* Effect.exit(leases.renewOverdue)
        return [exit._tag, (yield* Ref.get(renewals)) - before]
      })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }))
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* asked, ["Success", 0])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* asked, ["Failure", 1])
      isAway = false
      assert.deepStrictEqual(yield* asked, ["Success", 1])
      assert.deepStrictEqual(yield* asked, ["Success", 0])
      isAway = true
      yield* TestClock.adjust("50 seconds")
      yield* Fiber.join(fiber)
      // It was missed again, and has ended since.
      assert.deepStrictEqual(yield* asked, ["Success", 0])
    }).pipe(quiet)
  )

  it.effect("that cannot be renewed is said once for all turns, and so is that it can be again", () =>
    Effect.gen(function* () {
      const away = new ControlPlaneUnavailable({ function: "renew", detail: "ECONNREFUSED" })
      let isAway = true
      const lines: Array<string> = []
      const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
        if (String(message).includes("lease")) lines.push(`${level} ${String(message)}`)
      })
      yield* Effect.gen(function* () {
        const { deliver } = yield* house({
          run: () => Effect.delay(Effect.succeed(said("At last.")), "95 seconds"),
          renew: Effect.suspend(() => (isAway ? Effect.fail(away) : Effect.void))
        })
        const twice = Effect.all(
          [deliver(delivery, { context: sampleContext() }), deliver(delivery, { context: sampleContext() })],
          { concurrency: "unbounded" }
        )
        const first = yield* Effect.forkChild(twice)
        yield* TestClock.adjust("80 seconds")
        isAway = false
        yield* TestClock.adjust("15 seconds")
        yield* Fiber.join(first)
        // The next time is told again, and a turn that ends is as good a sign as a renewal.
        isAway = true
        const second = yield* Effect.forkChild(twice)
        yield* TestClock.adjust("95 seconds")
        yield* Fiber.join(second)
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepStrictEqual(lines, [
        "WARN lease not renewed: ECONNREFUSED; an expired lease that nobody took is still good",
        "INFO leases are renewed again, after ControlPlaneUnavailable 4",
        "WARN lease not renewed: ECONNREFUSED; an expired lease that nobody took is still good",
        "INFO leases can be renewed again, after ControlPlaneUnavailable 6"
      ])
    })
  )

  it.effect("is given back when the delivery is interrupted, without an attempt and without delay", () =>
    Effect.gen(function* () {
      const { deliver, metrics, written } = yield* house({ run: () => Effect.never })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }), {
        startImmediately: true
      })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(only(yield* written, "release").shared, undefined)
      const summary = yield* metrics.deliverySummary
      assert.strictEqual(summary.lastDelivery?.outcome, "released")
      assert.strictEqual(summary.inFlight, 0)
    }).pipe(quiet)
  )

  it.effect("that cannot be given back holds the end up for two seconds at most", () =>
    Effect.gen(function* () {
      const isReleasing = yield* Deferred.make<void>()
      const { deliver } = yield* house({
        run: () => Effect.never,
        release: Effect.andThen(Deferred.succeed(isReleasing, undefined), Effect.never)
      })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }), {
        startImmediately: true
      })
      const ending = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* Deferred.await(isReleasing)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(ending)
    }).pipe(quiet)
  )

  it.effect("of an earlier boot ends the process with 78", () =>
    Effect.gen(function* () {
      const { deliver, lifecycle, written } = yield* house(failsWith(new BootConflict({ detail: "a later boot runs" })))
      yield* deliver(delivery, { context: sampleContext() })
      assert.deepStrictEqual(yield* lifecycle.aborted, { exitCode: 78, message: "a later boot runs" })
      assert.deepStrictEqual(yield* written, [])
    }).pipe(quiet)
  )

  it.effect(
    "under a token that is refused in mid-turn is given back with its attempt, and nothing more is claimed",
    () =>
      Effect.gen(function* () {
        const refused = new TokenRefused({ function: "service/tasks:load", detail: "revoked" })
        const { deliver, lifecycle, written } = yield* house(failsWith(refused))
        yield* deliver(delivery, { context: sampleContext() })
        assert.property((yield* lifecycle.state).reasons, "token")
        assert.strictEqual(only(yield* written, "release").shared?.class, "TokenRefused")
        // Refused to the end it is left to expire.
        const toTheEnd = yield* deliverOnce({ ...failsWith(refused), release: Effect.fail(refused) })
        assert.strictEqual(toTheEnd.outcome, "released")
      }).pipe(quiet)
  )

  it.effect("that a refused token cannot renew does not end the turn", () =>
    Effect.gen(function* () {
      const { deliver, written } = yield* house({
        run: () => Effect.delay(Effect.succeed(said("At last.")), "2 minutes"),
        renew: Effect.fail(new TokenRefused({ function: "service/notifications:renew", detail: "revoked" }))
      })
      const fiber = yield* Effect.forkChild(deliver(delivery, { context: sampleContext() }))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(fiber)
      only(yield* written, "complete")
    }).pipe(quiet)
  )
})

describe("a probe of the breaker", () => {
  it.effect("that ends without a word about the gateway leaves room for the next one", () =>
    Effect.gen(function* () {
      const { deliver, guard } = yield* house(failsWith(new LeaseLost({ function: "renew" })))
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("30 seconds")
      const probe = yield* guard.claimed
      assert.strictEqual(yield* guard.allowance, 0)
      // One that was begun before speaks for itself.
      yield* deliver(delivery, { context: sampleContext() })
      assert.strictEqual(yield* guard.allowance, 0)
      yield* deliver(delivery, { context: sampleContext() }).pipe(Effect.provideService(Admission, probe))
      assert.strictEqual(yield* guard.allowance, 1)
    }).pipe(quiet)
  )

  it.effect("that the policy skips leaves room for the next one", () =>
    Effect.gen(function* () {
      const { deliver, guard } = yield* house()
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("30 seconds")
      const probe = yield* guard.claimed
      yield* deliver(delivery, { context: sampleContext({ task: sampleTask({ status: "archived" }) }) }).pipe(
        Effect.provideService(Admission, probe)
      )
      assert.strictEqual(yield* guard.allowance, 1)
    }).pipe(quiet)
  )
})

describe("the lines of deliveries", () => {
  it.effect("say whose they are, the first of failures in a row, and that they end well again", () =>
    Effect.gen(function* () {
      const lines: Array<{ readonly level: string; readonly message: string; readonly fields: object }> = []
      const logger = Logger.map(Logger.formatStructured, ({ annotations, level, message }) => {
        lines.push({ level, message: String(message), fields: annotations })
      })
      let count = 0
      yield* Effect.gen(function* () {
        const { deliver } = yield* house({
          run: () =>
            (count += 1) <= 3 ? Effect.fail(new GatewayUnreachable({ detail: "away" })) : Effect.succeed(said("Done."))
        })
        for (let turn = 0; turn < 4; turn += 1) yield* deliver(delivery, { context: sampleContext() })
      }).pipe(Effect.provide(Logger.layer([logger])))
      const told = lines.filter(({ message }) => message.startsWith("deliver"))
      assert.deepStrictEqual(
        told.map(({ level, message }) => `${level} ${message}`),
        [
          "WARN delivery waiting: GatewayUnreachable: away",
          "INFO delivery replied",
          "INFO deliveries end well again, after GatewayUnreachable 3"
        ]
      )
      const { sessionKey } = sampleContext()
      for (const { fields } of told) {
        assert.deepInclude(fields, {
          notification: "notification_1",
          agent: "engineer",
          attempt: 1,
          type: "thread_update",
          session: sessionHash(sessionKey)
        })
      }
    })
  )
})
