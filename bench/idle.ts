/** Calls of an account in which nothing happens, all loops on: counted for some minutes and reckoned to a day. */
import { Effect } from "effect"
import { eventually, makeHouse } from "../test/process/house.ts"
import type { Figure } from "./figure.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"

const MINUTES = Number(process.env["BENCH_MINUTES"] ?? 2)

/** Runs the measurement; crons of the plane itself are no calls of ours. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const house = yield* makeHouse()
    const runtime = yield* house.startRuntime({ LOG_LEVEL: "error" })
    yield* eventually(house.health(runtime), (health) => health["controlPlane"]["push"] === true)
    yield* Effect.sleep("3 seconds")
    yield* Effect.promise(() => resetPlaneStats(house.plane))
    yield* Effect.sleep(`${MINUTES} minutes`)
    const stats = yield* Effect.promise(() => planeStats(house.plane))
    const perDay = (calls: number): number => (calls * 24 * 60) / MINUTES
    const counted = Object.entries(stats).map(([name, { byOrigin }]) => ({
      name,
      calls: byOrigin.client + byOrigin.subscription + byOrigin.scheduled
    }))
    const figure = (name: string, value: number): Figure => ({
      name,
      unit: "a day",
      median: value,
      spread: [value, value]
    })
    return [
      figure("calls of an idle account with three agents", perDay(counted.reduce((sum, { calls }) => sum + calls, 0))),
      ...counted.filter(({ calls }) => calls > 0).map(({ calls, name }) => figure(name, perDay(calls)))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
