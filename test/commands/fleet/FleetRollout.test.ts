import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { followRollout } from "../../../src/commands/fleet/FleetRollout.ts"
import { ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { fleetFunctions } from "../../../src/domain/fleet/FleetFunctions.ts"
import type { Rollout } from "../../../src/domain/fleet/Rollout.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { Fleet } from "../../../src/services/Fleet.ts"

const rolloutIn = (state: Rollout["state"]): Rollout => ({
  id: "r",
  kind: "upgrade",
  runtimeVersion: "1.1.0",
  openclawVersion: null,
  state,
  wave: 0,
  waves: [],
  deadlineMs: 1_800_000,
  observeMs: 300_000,
  startedAt: 0,
  steppedAt: 0,
  endedAt: null,
  log: [{ at: 0, text: `it is ${state}` }]
})

const outage = new ControlPlaneUnavailable({ function: fleetFunctions.rollout, detail: "ECONNREFUSED" })

/** Follows a rollout whose calls are answered in this order, the last one for ever. */
const follow = Effect.fnUntraced(function* (...answers: ReadonlyArray<Rollout["state"] | ControlPlaneUnavailable>) {
  const printed: Array<string> = []
  let calls = 0
  const query = (path: string) => {
    if (path !== fleetFunctions.rollout) return Effect.succeed({ accounts: [], next: null })
    const answer = answers[Math.min(calls++, answers.length - 1)]!
    return typeof answer === "string" ? Effect.succeed(rolloutIn(answer)) : Effect.fail(answer)
  }
  const fiber = yield* Effect.forkChild(
    followRollout(false).pipe(
      Effect.provide([
        Layer.mock(Fleet, { query: query as Fleet["Service"]["query"] }),
        Redactor.layer.pipe(Layer.provide(RuntimeConfig.layerTest({})))
      ]),
      Effect.provideService(Console.Console, { ...console, log: (text: string) => void printed.push(text) })
    )
  )
  yield* TestClock.adjust("1 hour")
  return { exit: yield* Fiber.await(fiber), printed, calls: () => calls }
})

describe("the command that follows a rollout", () => {
  it.effect("prints each change, and continues while the deployment does not answer for a moment", () =>
    Effect.gen(function* () {
      const { exit, printed } = yield* follow("running", outage, outage, "running", outage, "done")
      assert.isTrue(Exit.isSuccess(exit))
      const lines = printed.filter((line) => line.includes("  it is ") && !line.includes("\n"))
      assert.deepStrictEqual(
        lines.map((line) => line.split("  ")[1]),
        ["it is running", "it is done"]
      )
    })
  )

  it.effect("ends if the deployment does not answer the first call", () =>
    Effect.gen(function* () {
      const { calls, exit } = yield* follow(outage)
      assert.deepStrictEqual(exit, Exit.fail(outage))
      assert.strictEqual(calls(), 1)
    })
  )

  it.effect("ends if the deployment does not answer for more than five minutes", () =>
    Effect.gen(function* () {
      const { exit } = yield* follow("running", outage)
      assert.deepStrictEqual(exit, Exit.fail(outage))
    })
  )
})
