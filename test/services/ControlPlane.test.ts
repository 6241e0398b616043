import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Latch, Layer, Logger, Option, Queue, Result, Stream, Struct } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable, LeaseLost, TokenRefused } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { ClaimRequest } from "../../src/domain/delivery/Claim.ts"
import type { ClaimAnswer } from "../../src/domain/delivery/Run.ts"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import type { Arguments } from "../../src/layers/ConvexClient.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { sampleContext, sampleRun } from "../domain/delivery/sampleContext.ts"
import { sampleHeartbeatRun } from "../domain/heartbeats/sampleHeartbeat.ts"

interface Call {
  readonly kind: "query" | "mutation"
  readonly path: string
  readonly args: Arguments
}

const fence = { run: "notification_1", session: "session_1", epoch: 7 }
const lease = { session: "session_1", epoch: 7 }
const request: ClaimRequest = { number: 1, limit: 3, heartbeatLimit: 1, held: [], abandoned: [], recoverUnnamed: false }
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

const claimAnswer = (changes: Partial<ClaimAnswer> = {}) =>
  Exit.succeed({
    runs: [],
    spent: [],
    heldBack: 0,
    hasMore: false,
    hasMoreHeartbeats: false,
    nextDueAt: null,
    oldest: null,
    now: 0,
    ...changes
  })
const stored = Exit.succeed({ messageId: null, now: 0 })

describe("a claim", () => {
  it.effect("sends its number, its limits and the leases of this process, and is not repeated", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.fail(away))
      const claim = { ...request, number: 5, held: [sampleRun()], abandoned: [{ session: "session_2", epoch: 3 }] }
      assert.deepStrictEqual(yield* Effect.flip(controlPlane.claim(claim)), away)
      const { args, kind, path } = yield* Queue.take(calls)
      assert.strictEqual(kind, "mutation")
      assert.strictEqual(path, functions.claim)
      assert.deepStrictEqual(args, {
        protocol: PROTOCOL,
        runtimeId: "runtime_1",
        bootId: controlPlane.bootId,
        number: 5,
        limit: 3,
        heartbeatLimit: 1,
        leaseMs: 90_000,
        maxAttempts: 8,
        maxTurns: 40,
        held: [lease],
        abandoned: [{ session: "session_2", epoch: 3 }],
        recoverUnnamed: false
      })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Queue.size(calls), 0)
    })
  )

  it.effect("sets the control plane's clock, by which all later times are sent", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const failed = Exit.succeed({ state: "ready", now: 5_010_000 })
      const { calls, controlPlane } = yield* setUp(claimAnswer({ now: 5_000_000 }), failed)
      yield* controlPlane.claim(request)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* controlPlane.now, 5_010_000)
      yield* controlPlane.fail(fence, { class: "ConnectionLost", error: "reset", silence: false, retryInMillis: 7_000 })
      yield* Queue.take(calls)
      assert.strictEqual((yield* Queue.take(calls)).args["nextAttemptAt"], 5_017_000)
    })
  )

  it.effect("with an answer of an unexpected shape is unavailable, so that it is repeated", () =>
    Effect.gen(function* () {
      const { controlPlane } = yield* setUp(Exit.succeed({ runs: "none" }))
      const failure = yield* Effect.flip(controlPlane.claim(request))
      assert.strictEqual(failure._tag, "ControlPlaneUnavailable")
      assert.include("detail" in failure ? failure.detail : "", "does not have the shape")
    })
  )

  it.effect("returns runs of both kinds, each decoded separately: a damaged one does not affect the others", () =>
    Effect.gen(function* () {
      const { events: _, ...damaged } = sampleContext()
      const broken = { ...Struct.omit(sampleRun(), ["context"]), id: "gone", broken: "task_missing" }
      const { controlPlane } = yield* setUp(
        claimAnswer({
          runs: [
            sampleRun(),
            sampleHeartbeatRun(),
            broken,
            { ...sampleRun(), id: "damaged", context: damaged },
            { ...sampleHeartbeatRun(), id: "damaged heartbeat", context: "none" },
            { id: "no run at all" }
          ]
        })
      )
      const { runs } = yield* controlPlane.claim(request)
      assert.deepStrictEqual(runs.slice(0, 3), [sampleRun(), sampleHeartbeatRun(), broken])
      assert.deepStrictEqual(
        runs.slice(3).map((run) => [run.kind, run.id, "broken" in run && run.broken.startsWith("damaged: ")]),
        [
          ["notification", "damaged", true],
          ["heartbeat", "damaged heartbeat", true]
        ]
      )
      for (const run of runs.slice(3)) assert.notProperty(run, "context")
    }).pipe(Effect.provide(Logger.layer([])))
  )
})

describe("a renewal", () => {
  it.effect("names all leases in one call, which is not repeated, and returns the lost ones", () =>
    Effect.gen(function* () {
      const answer = { lost: [lease], news: [], hasUnnamed: true, now: 4_000 }
      const { calls, controlPlane } = yield* setUp(Exit.succeed(answer), Exit.fail(away))
      const other = { session: "session_2", epoch: 1 }
      assert.deepStrictEqual(yield* controlPlane.renew([sampleRun(), other]), answer)
      assert.deepStrictEqual((yield* Queue.take(calls)).args, {
        runtimeId: "runtime_1",
        bootId: controlPlane.bootId,
        leaseMs: 90_000,
        leases: [lease, other]
      })
      assert.strictEqual(yield* controlPlane.now, 4_000)
      assert.deepStrictEqual(yield* Effect.flip(controlPlane.renew([other])), away)
    })
  )
})

const spent = {
  ...noUsage,
  inputTokens: 1,
  outputTokens: 2,
  rounds: 1,
  unanswered: 0,
  contextTokens: 1,
  model: null,
  price: null,
  isDelta: true,
  steps: [{ kind: "tool" as const, tool: "task_load", durationMs: 5, error: null }],
  stepsLeftOut: 0
}

describe("an outcome", () => {
  it.effect("is repeated unchanged until the control plane answers", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.fail(away), Exit.fail(away), Exit.fail(away), stored)
      const fiber = yield* Effect.forkChild(
        controlPlane.complete(fence, {
          outcome: "replied",
          turn: "answered",
          reply: "Done.",
          refused: [{ event: 1, reason: "task archived" }],
          usage: spent
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
        turn: "answered",
        reply: "Done.",
        refused: [{ event: 1, reason: "task archived" }],
        usage: spent,
        settings: { maxHops: 12, quietTimeMs: 60_000, quietLimitMs: 300_000 }
      })
    })
  )

  it.effect("fails after two minutes", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.fail(away))
      const fiber = yield* Effect.forkChild(
        Effect.flip(controlPlane.complete(fence, { outcome: "skipped", turn: "none" }))
      )
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(yield* Fiber.join(fiber), away)
      // The wait grows to five seconds, so that a plane that comes back is not stormed.
      assert.isBelow(yield* Queue.size(calls), 60)
    })
  )

  it.effect("waits while a token is being replaced, and is stored when the new one is accepted", () =>
    Effect.gen(function* () {
      const refused = Exit.fail(new TokenRefused({ function: functions.complete, detail: "revoked" }))
      const { controlPlane } = yield* setUp(refused, refused, refused, stored)
      const fiber = yield* Effect.forkChild(controlPlane.complete(fence, { outcome: "skipped", turn: "none" }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    })
  )

  it.effect("is not repeated when the lease is lost", () =>
    Effect.gen(function* () {
      const lost = new LeaseLost({ function: functions.complete })
      const { calls, controlPlane } = yield* setUp(Exit.fail(lost), stored)
      assert.deepStrictEqual(
        yield* Effect.flip(controlPlane.complete(fence, { outcome: "skipped", turn: "none" })),
        lost
      )
      assert.strictEqual(yield* Queue.size(calls), 1)
    })
  )

  it.effect("of a failure keeps its retry time while it is repeated, and has none when it is final", () =>
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

  it.effect("of a release has time, class and limit of a shared failure, and nothing without one", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.succeed({ state: "ready", now: 0 }))
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

  it.effect("of a heartbeat sends the agent's status and message, and returns when the next one is due", () =>
    Effect.gen(function* () {
      const { calls, controlPlane } = yield* setUp(Exit.succeed({ dueAt: 9_000, messageId: "message_1", now: 4_000 }))
      const message = { taskId: "task_1", content: "Done." }
      const report = { status: "idle", currentTaskId: null, message }
      assert.strictEqual((yield* controlPlane.updateAgentHeartbeat(fence, report)).dueAt, 9_000)
      assert.deepStrictEqual((yield* Queue.take(calls)).args, {
        ...fence,
        ...report,
        settings: { maxHops: 12, quietTimeMs: 60_000, quietLimitMs: 300_000 }
      })
    })
  )

  it.effect("sends only the fence of its run, as a tool's change does", () =>
    Effect.gen(function* () {
      const linked = { taskId: "task_1", prNumber: 7, changed: true, github: "off" }
      const { calls, controlPlane } = yield* setUp(Exit.succeed({ state: "ready", now: 0, messageId: null, ...linked }))
      const whole = { ...sampleRun(), ...fence }
      yield* controlPlane.release(whole)
      yield* controlPlane.complete(whole, { outcome: "skipped", turn: "none" })
      yield* controlPlane.fail(whole, { class: "Defect", error: "bug", silence: false })
      yield* controlPlane.linkPullRequest(whole, { taskId: "task_1", prNumber: 7 })
      const sent = yield* Queue.takeN(calls, 4)
      for (const { args } of sent) {
        assert.deepInclude(args, fence)
        for (const name of ["id", "attempt", "context"]) assert.notProperty(args, name)
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
            if (path === functions.claim) return yield* claimAnswer()
            yield* answered.await
            return yield* stored
          }),
        push: undefined as never
      })
      const controlPlane = yield* serviceOver(client)
      const ends = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, epoch) => epoch),
        (epoch) => Effect.forkChild(controlPlane.complete({ ...fence, epoch }, { outcome: "skipped", turn: "none" }))
      )
      yield* TestClock.adjust(0)
      const before = calls.length
      assert.isAtLeast(before, 2)
      assert.isAtMost(before, 10)
      yield* controlPlane.claim(request)
      assert.strictEqual(calls.at(-1), functions.claim)
      yield* answered.open
      yield* Fiber.joinAll(ends)
      assert.lengthOf(calls, 101)
    })
  )
})

describe("contexts", () => {
  it.effect("are decoded separately: a damaged one does not affect the others", () =>
    Effect.gen(function* () {
      const { events: _, ...damaged } = sampleContext()
      const { controlPlane } = yield* setUp(
        Exit.succeed([
          { id: "good", context: sampleContext(), state: "delivered", outcome: "replied" },
          { id: "gone", broken: "task_missing" },
          { id: "damaged", context: damaged },
          { id: "empty" }
        ])
      )
      const contexts = yield* controlPlane.context(["good", "gone", "damaged", "empty"])
      assert.deepStrictEqual(contexts.get("good"), {
        context: sampleContext(),
        state: "delivered",
        outcome: "replied"
      })
      assert.deepStrictEqual(contexts.get("gone"), { broken: "task_missing" })
      for (const id of ["damaged", "empty"]) {
        const found = contexts.get(id)
        assert.match(found !== undefined && "broken" in found ? found.broken : "", /^damaged: /)
      }
    })
  )
})

describe("a pushed result", () => {
  it.effect("is decoded, and an unreadable one is a failure among the others", () =>
    Effect.gen(function* () {
      const { controlPlane, pushed } = yield* setUp()
      const lost = Result.fail(new LeaseLost({ function: "x" }))
      const good = Result.succeed({ count: 2, recalled: [], news: [] })
      yield* Queue.offerAll(pushed, [good, Result.succeed({ count: "two" }), lost, good])
      const seen = yield* controlPlane.wakes.pipe(Stream.take(4), Stream.runCollect)
      assert.deepStrictEqual(seen[0], good)
      assert.isTrue(seen[1] !== undefined && Result.isFailure(seen[1]))
      assert.deepStrictEqual(seen[2], lost)
      assert.deepStrictEqual(seen[3], good)
    })
  )
})

describe("the pulse", () => {
  it.effect("sends presence, health, versions, infrastructure and interval", () =>
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
      assert.strictEqual(args["protocol"], PROTOCOL)
      assert.deepInclude(args["infrastructure"] as object, { dropletId: "droplet_1", ipAddress: null, region: null })
      assert.strictEqual(args["intervalMs"], 60_000)
    })
  )
})
