import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { AccountModel } from "./accountModel.ts"
import { Dice } from "./dice.ts"
import { park, pushChanges, WATCHDOG_MILLIS } from "./memoryConvex.ts"
import { MemoryGateway } from "./memoryGateway.ts"
import { startProcess } from "./runtimeProcess.ts"
import { World } from "./world.ts"

const POLL_MILLIS = 15_000

/** An idle runtime that only push or poll can wake: its pulse and its agent's next heartbeat are far away. */
const makeWorld = Effect.gen(function* () {
  const scope = yield* Scope.make()
  const account = new AccountModel({
    agents: [
      {
        id: "a_engineer",
        slug: "engineer",
        name: "Engineer",
        isOrchestrator: false,
        canReview: false,
        heartbeat: 1_440
      }
    ],
    scope: "agent"
  })
  const world = new World({
    account,
    profile: { controlPlane: 0, process: 0, gateway: 0 },
    faultDice: new Dice("faults"),
    gatewayDice: new Dice("gateway"),
    clock: yield* Clock.Clock,
    scope,
    isTraced: false
  })
  world.isCalm = true
  const process = yield* startProcess({
    world,
    gateway: new MemoryGateway(world, new Dice("events")),
    runtimeId: "r1",
    name: "r1#1",
    seed: "process",
    settings: { deliveryInterval: Duration.millis(POLL_MILLIS), healthCheckInterval: Duration.hours(1) },
    onEnd: () => Effect.void
  })
  yield* TestClock.adjust("5 minutes")
  const write = Effect.suspend(() => {
    account.createTask(world.now, ["a_engineer"])
    return pushChanges(world)
  })
  return {
    world,
    process,
    write,
    states: () => [...account.queue.notifications.values()].map(({ state }) => state),
    claims: () => account.counts.get(functions.claim) ?? 0,
    end: Effect.gen(function* () {
      yield* world.crash(process)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      // Fibers that are left give up in their own time.
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(closing)
    })
  }
})

describe("a push that is parked", () => {
  it.live("is noticed, and polling takes over until it is back", () =>
    Effect.gen(function* () {
      const { claims, end, process, states, world, write } = yield* makeWorld
      yield* write
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(states(), ["delivered"])

      const before = claims()
      const parkedFor = 10 * 60_000
      yield* park(world, process, parkedFor)
      yield* write
      yield* TestClock.adjust(Duration.millis(WATCHDOG_MILLIS - 1_000))
      assert.deepStrictEqual(states(), ["delivered", "ready"])
      assert.strictEqual(claims(), before)
      yield* TestClock.adjust(Duration.millis(1_000 + POLL_MILLIS + 4_000))
      assert.deepStrictEqual(states(), ["delivered", "delivered"])

      // The push stays parked: only polls find new work.
      yield* write
      yield* TestClock.adjust(Duration.millis(POLL_MILLIS + 4_000))
      assert.deepStrictEqual(states(), ["delivered", "delivered", "delivered"])

      yield* TestClock.adjust(Duration.millis(parkedFor))
      const polled = claims()
      yield* TestClock.adjust(Duration.millis(4 * POLL_MILLIS))
      assert.strictEqual(claims(), polled)
      yield* end
    }).pipe(Effect.provide(TestClock.layer()))
  )
})
