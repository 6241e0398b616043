import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Latch, Layer, Option, Queue, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable, LeaseLost, TokenRefused } from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import type { Arguments } from "../../src/layers/ConvexClient.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { sampleContext } from "../domain/sampleContext.ts"

interface Call {
  readonly kind: "query" | "mutation"
  readonly path: string
  readonly args: Arguments
}

const fence = { session: "session_1", epoch: 7 }
const away = new ControlPlaneUnavailable({ function: "any", detail: "ECONNREFUSED" })

const serviceOver = (client: Layer.Layer<ConvexClient>) =>
  Effect.provide(
    ControlPlane,
    ControlPlane.layer.pipe(
      Layer.provide([
        client,
        Metrics.layer,
        NodeCrypto.layerSecureRandom,
        RuntimeConfig.layerTest({
          runtimeId: "runtime_1",
          deliveryLease: Duration.seconds(90),
          dropletId: Option.some("droplet_1")
        })
      ])
    )
  )

/** The service over a client whose answers the test gives, one after another; the last stays. */
const setUp = (...answers: ReadonlyArray<Exit.Exit<unknown, ControlPlaneFailure>>) =>
  Effect.gen(function* () {
    const calls = yield* Queue.unbounded<Call>()
    let count = 0
    const answer = (kind: Call["kind"]) => (path: string, args: Arguments) =>
      Effect.suspend(() => {
        Queue.offerUnsafe(calls, { kind, path, args })
        const next = answers[Math.min(count, answers.length - 1)] ?? Exit.die("no answer is scripted")
        count += 1
        return next
      })
    const pushed = yield* Queue.unbounded<Result.Result<unknown, ControlPlaneFailure>>()
    const client = Layer.mock(ConvexClient, {
      query: answer("query"),
      mutation: answer("mutation"),
      subscribe: () => Stream.fromQueue(pushed),
      push: undefined as never
    })
    return { calls, controlPlane: yield* serviceOver(client), pushed }
  })

const claimAnswer = (now: number) => Exit.succeed({ deliveries: [], nextDueAt: null, now, isBlocked: false })
const settled = Exit.succeed({ now: 0 })

describe("a claim", () => {
  it.effect("says who asks, for how long and how much, and is not repeated behind the caller's back", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.fail(away))
      const options = { permits: 3, requestId: "request_1", parkedAgents: ["agent_1"] }
      assert.deepStrictEqual(yield* Effect.flip(controlPlane.claim(options)), away)
      const { args, kind, path } = yield* Queue.take(calls)
      assert.strictEqual(kind, "mutation")
      assert.strictEqual(path, "service/notifications:claim")
      assert.deepStrictEqual(args, {
        runtimeId: "runtime_1",
        bootId: controlPlane.bootId,
        requestId: "request_1",
        limit: 3,
        leaseMs: 90_000,
        maxAttempts: 8,
        parkedAgents: ["agent_1"]
      })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Queue.size(calls), 0)
    })
  )

  it.effect("teaches the control plane's clock, in which all later moments are told", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const { calls, controlPlane } = yield* setUp(claimAnswer(5_000_000), Exit.succeed({ state: "waiting", now: 0 }))
      yield* controlPlane.claim({ permits: 1, requestId: "r", parkedAgents: [] })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* controlPlane.now, 5_010_000)
      yield* controlPlane.fail(fence, { class: "ConnectionLost", error: "reset", silence: false, retryInMillis: 7_000 })
      yield* Queue.take(calls)
      assert.strictEqual((yield* Queue.take(calls)).args["nextAttemptAt"], 5_017_000)
    })
  )

  it.effect("that is answered in another shape is unavailable, so that it is asked again", () =>
    Effect.gen(function* () {
      const { controlPlane } = yield* setUp(Exit.succeed({ deliveries: "none" }))
      const failure = yield* Effect.flip(controlPlane.claim({ permits: 1, requestId: "r", parkedAgents: [] }))
      assert.strictEqual(failure._tag, "ControlPlaneUnavailable")
      assert.include("detail" in failure ? failure.detail : "", "another shape")
    })
  )
})

describe("an outcome", () => {
  it.effect("is repeated with the same words until the control plane answers", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.fail(away), Exit.fail(away), Exit.fail(away), settled)
      const fiber = yield* Effect.forkChild(
        controlPlane.complete(fence, {
          outcome: "replied",
          reply: "Done.",
          refused: [{ id: "n2", reason: "task archived" }],
          usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 }
        })
      )
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      const [first, ...others] = yield* Queue.takeAll(calls)
      assert.lengthOf(others, 3)
      for (const other of others) assert.deepStrictEqual(other, first)
      assert.deepStrictEqual(first?.args, {
        ...fence,
        outcome: "replied",
        reply: "Done.",
        refused: [{ id: "n2", reason: "task archived" }],
        usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 },
        maxHops: 12
      })
    })
  )

  it.effect("is given up after two minutes", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.fail(away))
      const fiber = yield* Effect.forkChild(Effect.flip(controlPlane.complete(fence, { outcome: "skipped" })))
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(yield* Fiber.join(fiber), away)
      // The wait grows to five seconds, so that a plane that comes back is not stormed.
      assert.isBelow(yield* Queue.size(calls), 60)
    })
  )

  it.effect("waits for a token that is just being changed, and is written once that is accepted", () =>
    Effect.gen(function* () {
      const refused = Exit.fail(new TokenRefused({ function: "service/notifications:complete", detail: "revoked" }))
      const { controlPlane } = yield* setUp(refused, refused, refused, settled)
      const fiber = yield* Effect.forkChild(controlPlane.complete(fence, { outcome: "skipped" }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    })
  )

  const failure = { class: "ConnectionLost", error: "reset", silence: false }
  const ends: Record<string, (plane: ControlPlane["Service"]) => Effect.Effect<unknown, ControlPlaneFailure>> = {
    complete: (plane) => plane.complete(fence, { outcome: "replied", reply: "Done." }),
    fail: (plane) => plane.fail(fence, failure),
    release: (plane) => plane.release(fence),
    updateAgentHeartbeat: (plane) => plane.updateAgentHeartbeat(fence, { status: "idle", currentTaskId: null })
  }
  for (const [name, end] of Object.entries(ends)) {
    it.effect(`by ${name} is judged by its own answer when a renewal finds that it ended the lease`, () =>
      Effect.gen(function* () {
        const lost = Exit.fail(new LeaseLost({ function: "service/notifications:renew" }))
        const written = Exit.succeed({ state: "waiting", dueAt: 0, messageId: null, hasWork: false, now: 0 })
        // Written, but the answer is lost; the repeated call is answered as the first.
        const { controlPlane } = yield* setUp(Exit.fail(away), lost, written, lost)
        const ending = yield* Effect.forkChild(end(controlPlane))
        yield* Effect.yieldNow
        yield* controlPlane.renew(fence)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(ending)
        assert.strictEqual((yield* Effect.flip(controlPlane.renew(fence)))._tag, "LeaseLost")
      })
    )
  }

  it.effect("is not repeated when the lease is lost", () =>
    Effect.gen(function* () {
      const lost = new LeaseLost({ function: "service/notifications:complete" })
      const { calls, controlPlane } = yield* setUp(Exit.fail(lost), settled)
      assert.deepStrictEqual(yield* Effect.flip(controlPlane.complete(fence, { outcome: "skipped" })), lost)
      assert.strictEqual(yield* Queue.size(calls), 1)
    })
  )

  it.effect("that is a failure keeps its moment while it is repeated, and has none when it is final", () =>
    Effect.gen(function* () {
      const failed = Exit.succeed({ state: "dead", now: 0 })
      const { calls, controlPlane } = yield* setUp(Exit.fail(away), failed)
      const failure = { class: "Defect", error: "bug", silence: false }
      const fiber = yield* Effect.forkChild(controlPlane.fail(fence, { ...failure, retryInMillis: 1_000 }))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "dead")
      const [first, second] = yield* Queue.takeN(calls, 2)
      assert.strictEqual(first?.args["nextAttemptAt"], 1_000)
      assert.deepStrictEqual(second, first)
      assert.notProperty(first?.args ?? {}, "retryInMillis")
      yield* controlPlane.fail(fence, failure)
      assert.notProperty((yield* Queue.take(calls)).args, "nextAttemptAt")
    })
  )

  it.effect("that is given back says nothing for a drain, and moment, class and limit for a shared failure", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.succeed({ state: "waiting", now: 0 }))
      yield* controlPlane.release(fence)
      assert.deepStrictEqual((yield* Queue.take(calls)).args, fence)
      yield* controlPlane.release(fence, {
        retryInMillis: 30_000,
        class: "ProviderFailed",
        error: "502",
        limit: Duration.hours(24)
      })
      assert.deepStrictEqual((yield* Queue.take(calls)).args, {
        ...fence,
        nextAttemptAt: 30_000,
        class: "ProviderFailed",
        error: "502",
        sharedLimitMs: 86_400_000
      })
    })
  )

  it.effect("carries session and epoch of its delivery and nothing else of it", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.succeed({ state: "waiting", now: 0, expiresAt: 0 }))
      const delivery = { ...fence, attempt: 2, spent: false, notificationIds: ["n1"] }
      yield* controlPlane.release(delivery)
      yield* controlPlane.renew(delivery)
      yield* controlPlane.complete(delivery, { outcome: "skipped" })
      yield* controlPlane.fail(delivery, { class: "Defect", error: "bug", silence: false })
      for (const { args } of yield* Queue.takeAll(calls)) {
        assert.deepInclude(args, fence)
        for (const name of ["attempt", "spent", "notificationIds"]) assert.notProperty(args, name)
      }
    })
  )
})

describe("outcomes of many turns that end together", () => {
  it.effect("are written a few at a time, and a claim does not wait for them", () =>
    Effect.gen(function* () {
      const calls: Array<string> = []
      const answered = yield* Latch.make(false)
      const client = Layer.mock(ConvexClient, {
        mutation: (path: string) =>
          Effect.gen(function* () {
            calls.push(path)
            if (path === "service/notifications:claim") return yield* claimAnswer(0)
            yield* answered.await
            return yield* settled
          }),
        push: undefined as never
      })
      const controlPlane = yield* serviceOver(client)
      const ends = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, epoch) => epoch),
        (epoch) => Effect.forkChild(controlPlane.complete({ session: "session_1", epoch }, { outcome: "skipped" }))
      )
      yield* TestClock.adjust(0)
      const before = calls.length
      assert.isAtLeast(before, 2)
      assert.isAtMost(before, 10)
      yield* controlPlane.claim({ permits: 50, requestId: "request_1", parkedAgents: [] })
      assert.strictEqual(calls.at(-1), "service/notifications:claim")
      yield* answered.open
      yield* Fiber.joinAll(ends)
      assert.lengthOf(calls, 101)
    })
  )
})

describe("contexts", () => {
  it.effect("are read each on its own: a damaged one leaves the others whole", () =>
    Effect.gen(function* () {
      const { fold: _, ...damaged } = sampleContext()
      const { controlPlane } = yield* setUp(
        Exit.succeed([
          { id: "good", context: sampleContext() },
          { id: "gone", broken: "task_missing" },
          { id: "damaged", context: damaged },
          { id: "empty" }
        ])
      )
      const contexts = yield* controlPlane.context(["good", "gone", "damaged", "empty"])
      assert.deepStrictEqual(contexts.get("good"), { context: sampleContext() })
      assert.deepStrictEqual(contexts.get("gone"), { broken: "task_missing" })
      for (const id of ["damaged", "empty"]) {
        const found = contexts.get(id)
        assert.match(found !== undefined && "broken" in found ? found.broken : "", /^damaged: /)
      }
    })
  )
})

describe("contexts of claimed work", () => {
  it.effect("are asked for with the epochs of its leases", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.succeed([]))
      yield* controlPlane.context(["n1", "n2"], [4, 7])
      yield* controlPlane.context(["n1"])
      const asked = yield* Queue.takeN(calls, 2)
      assert.deepStrictEqual(
        asked.map(({ args }) => args),
        [{ ids: ["n1", "n2"], epochs: [4, 7] }, { ids: ["n1"] }]
      )
    })
  )
})

describe("what is pushed", () => {
  it.effect("is read as it should be, and what cannot be is a failure among the others", () =>
    Effect.gen(function* () {
      const { controlPlane, pushed } = yield* setUp()
      const lost = Result.fail(new LeaseLost({ function: "x" }))
      const good = Result.succeed({ oldest: 1, newest: 2, newestId: "n" })
      yield* Queue.offerAll(pushed, [good, Result.succeed({ oldest: "yesterday" }), lost, good])
      const seen = yield* controlPlane.backlog.pipe(Stream.take(4), Stream.runCollect)
      assert.deepStrictEqual(seen[0], good)
      assert.isTrue(seen[1] !== undefined && Result.isFailure(seen[1]))
      assert.deepStrictEqual(seen[2], lost)
      assert.deepStrictEqual(seen[3], good)
    })
  )
})

describe("the pulse", () => {
  it.effect("carries presence, health, versions, place and interval", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(
        Exit.succeed({
          commands: { paused: false, restart: null, upgrade: null, underway: null },
          oldest: null,
          nextDueAt: null,
          rosterRevision: 1,
          now: 4_000,
          releasedLeases: 2
        })
      )
      const answer = yield* controlPlane.pulse({
        status: "online",
        reasons: [],
        health: "{}",
        openclawVersion: "2026.9.6"
      })
      assert.strictEqual(answer.releasedLeases, 2)
      assert.strictEqual(yield* controlPlane.now, 4_000)
      const { args } = yield* Queue.take(calls)
      assert.deepInclude(args, { runtimeId: "runtime_1", bootId: controlPlane.bootId, status: "online" })
      assert.deepInclude(args["infrastructure"] as object, { dropletId: "droplet_1", ipAddress: null, region: null })
      assert.strictEqual(args["intervalMs"], 60_000)
    })
  )
})
