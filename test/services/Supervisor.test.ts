import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Logger, Ref, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Lifecycle } from "../../src/services/Lifecycle.ts"
import { Supervisor } from "../../src/services/Supervisor.ts"

/** Keeps what is logged, cause included, as `LEVEL loop=name message cause`. */
const makeLog = () => {
  const lines: Array<string> = []
  const logger = Logger.map(Logger.formatStructured, ({ annotations, cause, level, message }) => {
    lines.push(`${level} loop=${String(annotations["loop"])} ${String(message)} ${cause ?? ""}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

const house = Supervisor.layer.pipe(Layer.provideMerge(Lifecycle.layerTest))

describe("Supervisor", () => {
  it.effect("logs the cause of a loop's death under its name and restarts it after a second", () => {
    const log = makeLog()
    return Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const starts = yield* Ref.make(0)
      yield* supervisor.run(
        "heart",
        Ref.updateAndGet(starts, (count) => count + 1).pipe(
          Effect.flatMap((count) => (count === 1 ? Effect.die(new Error("a bug of ours")) : Effect.never))
        )
      )
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* Ref.get(starts), 1)
      assert.lengthOf(log.lines, 1)
      assert.match(log.lines[0] ?? "", /^ERROR loop=heart heart died.*a bug of ours/s)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Ref.get(starts), 2)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(starts), 2)
    }).pipe(Effect.provide([house, log.layer]))
  })

  it.effect("restarts after a typed failure too", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const starts = yield* Ref.make(0)
      yield* supervisor.run(
        "heart",
        Ref.updateAndGet(starts, (count) => count + 1).pipe(
          Effect.flatMap((count) => (count === 1 ? Effect.fail("expected") : Effect.never))
        )
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Ref.get(starts), 2)
    }).pipe(Effect.provide([house, makeLog().layer]))
  )

  it.effect("waits longer after each death of the last minute, and gives up after five", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const lifecycle = yield* Lifecycle
      const starts = yield* Ref.make(0)
      const fatal = yield* Deferred.make<number>()
      yield* lifecycle.aborted.pipe(
        Effect.flatMap(({ exitCode }) => Deferred.succeed(fatal, exitCode)),
        Effect.forkChild
      )
      yield* supervisor.run(
        "heart",
        Effect.andThen(
          Ref.update(starts, (count) => count + 1),
          Effect.fail("again")
        )
      )
      const startsAfter = (millis: number) => Effect.andThen(TestClock.adjust(millis), Ref.get(starts))
      assert.strictEqual(yield* startsAfter(0), 1)
      assert.strictEqual(yield* startsAfter(1_000), 2)
      assert.strictEqual(yield* startsAfter(1_999), 2)
      assert.strictEqual(yield* startsAfter(1), 3)
      assert.strictEqual(yield* startsAfter(4_000), 4)
      assert.isFalse(yield* Deferred.isDone(fatal))
      assert.strictEqual(yield* startsAfter(8_000), 5)
      assert.strictEqual(yield* Deferred.await(fatal), 70)
    }).pipe(Effect.provide([house, makeLog().layer]))
  )

  it.effect("does not add up deaths that are more than a minute apart", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const lifecycle = yield* Lifecycle
      const starts = yield* Ref.make(0)
      const isAborted = yield* Ref.make(false)
      yield* lifecycle.aborted.pipe(Effect.andThen(Ref.set(isAborted, true)), Effect.forkChild)
      yield* supervisor.run(
        "heart",
        Ref.update(starts, (count) => count + 1).pipe(
          Effect.andThen(Effect.sleep("50 seconds")),
          Effect.andThen(Effect.fail("now and then"))
        )
      )
      yield* TestClock.adjust("20 minutes")
      assert.isAbove(yield* Ref.get(starts), 20)
      assert.isFalse(yield* Ref.get(isAborted))
    }).pipe(Effect.provide([house, makeLog().layer]))
  )

  it.effect("logs nothing when the scope ends a loop", () => {
    const log = makeLog()
    return Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const scope = yield* Scope.make()
      const isEnded = yield* Deferred.make<void>()
      yield* supervisor
        .run("heart", Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(isEnded, undefined))))
        .pipe(Scope.provide(scope))
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(isEnded)
      assert.deepStrictEqual(log.lines, [])
    }).pipe(Effect.provide([house, log.layer]))
  })

  it.effect("restarts a loop that interrupted itself", () => {
    const log = makeLog()
    return Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const starts = yield* Ref.make(0)
      yield* supervisor.run(
        "heart",
        Ref.updateAndGet(starts, (count) => count + 1).pipe(
          Effect.flatMap((count) => (count === 1 ? Effect.interrupt : Effect.never))
        )
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Ref.get(starts), 2)
      assert.lengthOf(log.lines, 1)
    }).pipe(Effect.provide([house, log.layer]))
  })

  it.effect("counts the deaths of each loop separately", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor
      const lifecycle = yield* Lifecycle
      const isAborted = yield* Ref.make(false)
      yield* lifecycle.aborted.pipe(Effect.andThen(Ref.set(isAborted, true)), Effect.forkChild)
      const threeDeaths = (starts: Ref.Ref<number>) =>
        Ref.updateAndGet(starts, (count) => count + 1).pipe(
          Effect.flatMap((count) => (count <= 3 ? Effect.fail("again") : Effect.never))
        )
      yield* supervisor.run("one", threeDeaths(yield* Ref.make(0)))
      yield* supervisor.run("two", threeDeaths(yield* Ref.make(0)))
      yield* TestClock.adjust("30 seconds")
      assert.isFalse(yield* Ref.get(isAborted))
    }).pipe(Effect.provide([house, makeLog().layer]))
  )

  it.effect("is whole while its loops run or wait for a restart, and not when one has ended", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor
      assert.isTrue(yield* supervisor.isWhole)
      const scope = yield* Scope.make()
      yield* supervisor.run("steady", Effect.never)
      yield* Scope.provide(supervisor.run("dying", Effect.fail("again")), scope)
      yield* TestClock.adjust(0)
      assert.isTrue(yield* supervisor.isWhole)
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* supervisor.isWhole)
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(yield* supervisor.isWhole)
    }).pipe(Effect.provide([house, makeLog().layer]))
  )
})
