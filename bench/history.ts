/** Documents read by a claim and by a completion, in a young account and after many delivered notifications. */
import { Effect } from "effect"
import { functions } from "../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { FunctionPath } from "../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { eventually, makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"

const PAST = 1_000
const MEASURED = 40

/** Runs the measurement: a few deliveries, many, and a few again. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const team = Array.from({ length: 20 }, (_, index) => ({
      slug: `agent-${index}`,
      name: `Agent ${index}`,
      role: "answers"
    }))
    const setup = yield* makeSetup({ team })
    yield* setup.script({ fallback: { text: "Noted." } })
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    const delivered = Effect.map(setup.health(runtime), (health) => Number(health["delivery"]["deliveredCount"]))
    let posted = 0
    const taskIds = yield* Effect.forEach(team, () => setup.newTask(), { concurrency: 4 })
    /** One after another, so that each claim takes one session and each completion answers one mention. */
    const deliver = (count: number, atOnce: number) =>
      Effect.gen(function* () {
        for (let done = 0; done < count; done += atOnce) {
          const before = yield* delivered
          yield* Effect.forEach(
            Array.from({ length: atOnce }, (_, index) => index),
            (index) => setup.post(taskIds[index]!, `@agent-${index} message ${posted++}`),
            { concurrency: 4 }
          )
          yield* eventually(delivered, (now) => now >= before + atOnce)
        }
      })
    const readsPerCall = Effect.gen(function* () {
      yield* Effect.promise(() => resetPlaneStats(setup.plane))
      yield* deliver(MEASURED, 1)
      const stats = (yield* Effect.promise(() => planeStats(setup.plane))).functions
      const of = (path: FunctionPath): number =>
        (stats[path]?.documentsRead ?? 0) / Math.max(1, stats[path]?.calls ?? 0)
      return { claim: of(functions.claim), complete: of(functions.complete) }
    })
    const young = yield* readsPerCall
    yield* deliver(PAST, team.length)
    const old = yield* readsPerCall
    const figure = (name: string, value: number): Figure => figureOf(name, "documents", [value])
    const growth = (name: string, from: number, to: number): Figure =>
      figureOf(name, "ratio", [to / from], { below: 1.05 })
    return [
      figure("read by a claim, young account", young.claim),
      figure(`read by a claim, ${PAST} messages later`, old.claim),
      figure("read by a completion, young account", young.complete),
      figure(`read by a completion, ${PAST} messages later`, old.complete),
      growth("documents read by a claim, old account to young", young.claim, old.claim),
      growth("documents read by a completion, old account to young", young.complete, old.complete)
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
