/**
 * Calls of an account without activity, with all loops running. They are counted for fifteen minutes, in which each
 * agent has one heartbeat, and extrapolated to a day.
 */
import { Effect } from "effect"
import { makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { pushed } from "./load.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"

const MINUTES = Number(process.env["BENCH_MINUTES"] ?? 15)

/** Runs the measurement. The plane's own crons do not count. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const setup = yield* makeSetup()
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    yield* Effect.sleep("3 seconds")
    yield* Effect.promise(() => resetPlaneStats(setup.plane))
    yield* Effect.sleep(`${MINUTES} minutes`)
    const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
    const perDay = (calls: number): number => (calls * 24 * 60) / MINUTES
    const counted = Object.entries(functions).map(([name, { byOrigin }]) => ({
      name,
      calls: byOrigin.client + byOrigin.subscription + byOrigin.scheduled
    }))
    const all = perDay(counted.reduce((sum, { calls }) => sum + calls, 0))
    return [
      // 1,500 and 200 for each of the three agents.
      figureOf("calls of an idle account with three agents", "a day", [all], { below: 2_101 }),
      ...counted
        .filter(({ calls }) => calls > 0)
        .map(({ calls, name }) => figureOf(`of these \`${name}\``, "a day", [perDay(calls)]))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
