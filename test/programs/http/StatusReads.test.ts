import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { makeStatusReads } from "../../../src/programs/http/statusPage/StatusReads.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"

const sum = { ...noUsage, attempts: 0, weightedTokens: 0, estimatedTokens: 0, cost: 0, unpricedTokens: 0 }

/** The reads over a control plane that counts its calls. */
const setUp = Effect.gen(function* () {
  const calls = yield* Ref.make(0)
  const counted = <A>(answer: A) =>
    Effect.as(
      Ref.update(calls, (count) => count + 1),
      answer
    )
  const services = Layer.mergeAll(
    Metrics.layer,
    Redactor.layer.pipe(Layer.provide(RuntimeConfig.layerTest())),
    Layer.mock(ControlPlane, {
      bootId: "boot",
      now: Effect.succeed(0),
      runs: () => counted([]),
      deadLetters: () => counted([]),
      usage: () =>
        counted({
          account: "Acme",
          by: "agent",
          from: "2026-03-01",
          to: "2026-03-01",
          timeZone: "UTC",
          lines: [],
          total: sum,
          budgets: [],
          held: [],
          isCut: false
        })
    })
  )
  const reads = yield* Effect.provideContext(makeStatusReads, yield* Layer.build(services))
  const page = Effect.all(
    [Stream.runDrain(reads.queue), Stream.runDrain(reads.letters), Stream.runDrain(reads.usage)],
    {
      concurrency: "unbounded"
    }
  )
  return { calls, open: Effect.forkChild(page) }
})

describe("the status page's reads", () => {
  it.effect("make at most seven calls a minute, for one page as for twenty", () =>
    Effect.gen(function* () {
      for (const pages of [1, 20]) {
        const { calls, open } = yield* setUp
        for (let n = 0; n < pages; n += 1) yield* open
        yield* TestClock.adjust("10 minutes")
        const made = yield* Ref.get(calls)
        assert.isAtLeast(made, 60)
        assert.isAtMost(made, 7 * 10 + 3)
      }
    })
  )

  it.effect("make none without a page, also after one has closed", () =>
    Effect.gen(function* () {
      const { calls, open } = yield* setUp
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Ref.get(calls), 0)
      const page = yield* open
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(page)
      assert.strictEqual(yield* Ref.get(calls), 3)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Ref.get(calls), 3)
    })
  )
})
