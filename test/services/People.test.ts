import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Queue, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { personFunctions } from "../../src/domain/people/PersonFunctions.ts"
import { PersonClient } from "../../src/layers/people/PersonClient.ts"
import type { PersonFailure } from "../../src/layers/people/PersonClient.ts"
import { People } from "../../src/services/People.ts"

const turn = (tool: string | null | undefined) => ({
  id: "n1",
  agentSlug: "engineer",
  taskId: "t1",
  taskTitle: "Fix it",
  state: "running",
  attempts: 1,
  at: 0,
  progress: tool === undefined ? null : { tool, stepSince: 0, lastActivityAt: 0, isStuck: false }
})

/** The people's functions over a deployment whose clock is a minute ahead. `first` is its first answer. */
const setUp = Effect.fnUntraced(function* (first: ReadonlyArray<object>) {
  const pushed = yield* Queue.unbounded<ReadonlyArray<object>>()
  const calls: Array<string> = []
  const failure = yield* Ref.make<PersonFailure | null>(null)
  const client = Layer.mock(PersonClient, {
    call: Effect.fnUntraced(function* (_, path) {
      calls.push(path)
      const failed = yield* Ref.get(failure)
      if (failed !== null) return yield* failed
      return path === personFunctions.watch ? { now: 60_000 } : first
    }),
    follow: (path) =>
      Stream.suspend(() => {
        calls.push(`follow ${path}`)
        return Stream.fromQueue(pushed)
      })
  })
  const people = yield* Effect.provide(People, Layer.provide(People.layer, client))
  const watches = () => calls.filter((path) => path === personFunctions.watch).length
  return { calls, failure, people, pushed, watches }
})

describe("what agents are doing", () => {
  it.effect("is known from one watch and one query if every turn is reported", () =>
    Effect.gen(function* () {
      const { calls, people } = yield* setUp([turn("exec")])
      assert.deepStrictEqual(yield* people.working, { turns: [turn("exec")], aheadMillis: 60_000 })
      assert.deepStrictEqual(calls, [personFunctions.watch, personFunctions.runningTurns])
    })
  )

  it.effect("waits for the reports of turns that no one watched before", () =>
    Effect.gen(function* () {
      const { people, pushed } = yield* setUp([turn(undefined)])
      const working = yield* Effect.forkChild(people.working)
      yield* Queue.offer(pushed, [turn(undefined)])
      yield* Queue.offer(pushed, [turn(null)])
      yield* TestClock.adjust(0)
      assert.deepStrictEqual((yield* Fiber.join(working)).turns, [turn(null)])
    })
  )

  it.effect("waits two seconds for a runtime that does not report", () =>
    Effect.gen(function* () {
      const { people, pushed } = yield* setUp([turn(undefined)])
      const working = yield* Effect.forkChild(people.working)
      yield* Queue.offer(pushed, [turn(undefined), turn(undefined)])
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(working.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.lengthOf((yield* Fiber.join(working)).turns, 2)
    })
  )

  it.effect("is watched every 30 s while it is followed, also after a failed call", () =>
    Effect.gen(function* () {
      const { failure, people, pushed, watches } = yield* setUp([])
      const seen: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(people.watching, ({ turns }) => Effect.sync(() => void seen.push(turns.length)))
      )
      yield* Queue.offer(pushed, [turn("exec")])
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(watches(), 1)
      yield* Ref.set(failure, new ControlPlaneUnavailable({ function: personFunctions.watch, detail: "ECONNREFUSED" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(watches(), 2)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(watches(), 4)
      yield* Queue.offer(pushed, [])
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(seen, [1, 0])
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(watches(), 4)
    })
  )
})
