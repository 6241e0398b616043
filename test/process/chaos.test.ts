import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { makeWorld } from "./chaosWorld.ts"
import type { World } from "./chaosWorld.ts"
import { restartable } from "./restartable.ts"
import { eventually } from "./setup.ts"

const REQUESTS = 40
/** Active turns of the frozen runtime, fewer than its permits. */
const HELD = 4
/** An open breaker waits 30 s and more, and a busy machine is slow. */
const PATIENCE = 300_000

/** Posts the requests in as many parts as there are kills, and kills at a random instant after each. */
const strike = Effect.fnUntraced(function* <E>(world: World, kills: number, kill: Effect.Effect<void, E>) {
  for (let count = 0, n = 0; count < kills; count++) {
    for (; n < Math.ceil((REQUESTS * (count + 1)) / kills); n++) yield* world.request(n)
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 300))
    yield* kill
  }
  yield* world.quiet
  yield* world.check(REQUESTS)
})

describe("a killed process", () => {
  it.live(
    "the runtime, at 30 random instants: every request is answered once, nothing is created twice",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        const runtime = yield* restartable(world.runtimeOf("chaos"))
        yield* strike(world, 30, runtime.killAndRestart)
        // A kill costs an attempt only during a turn, so not all kills were before or after turns.
        assert.isAbove(Math.max(...(yield* world.attempts)), 1, "no kill met a turn")
      }).pipe(Effect.scoped, Random.withSeed("runtime")),
    PATIENCE
  )

  it.live(
    "the plane, five times under load: nothing is lost or doubled",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        yield* restartable(world.runtimeOf("chaos"))
        yield* strike(world, 5, world.plane.killAndRestart)
      }).pipe(Effect.scoped, Random.withSeed("plane")),
    PATIENCE
  )

  it.live(
    "the gateway, five times under load: nothing is lost or doubled",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        yield* restartable(world.runtimeOf("chaos"))
        const { kill, start } = world.gateway
        yield* strike(world, 5, kill.pipe(Effect.andThen(Effect.sleep("200 millis")), Effect.andThen(start)))
      }).pipe(Effect.scoped, Random.withSeed("gateway")),
    PATIENCE
  )

  it.live(
    "two runtimes, one frozen during turns: the other takes over its runs, and each answer exists once",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        const lease = { DELIVERY_LEASE_MS: "3000" }
        const first = yield* world.runtimeOf("first", lease)
        const allHang = yield* world.hang(HELD)
        for (let n = 0; n < 20; n++) yield* world.request(n)
        // No other runtime runs, so these turns and their leases are the first one's.
        yield* allHang
        yield* first.signal("SIGSTOP")
        yield* Effect.addFinalizer(() => first.signal("SIGCONT"))
        yield* world.runtimeOf("second", lease)
        yield* world.quiet
        const takenOver = (yield* world.attempts).filter((attempts) => attempts > 1)
        assert.isAtLeast(takenOver.length, HELD)
        yield* first.signal("SIGCONT")
        yield* eventually(
          Effect.sync(() => first.output()),
          (output) => output.includes("lease_lost")
        )
        for (let n = 20; n < REQUESTS; n++) yield* world.request(n)
        yield* world.quiet
        yield* world.check(REQUESTS)
      }).pipe(Effect.scoped),
    PATIENCE
  )
})
