/** How soon people see in their terminal what others write. */
import { Effect } from "effect"
import { identityOf } from "../local/person.ts"
import { followed } from "../test/process/following.ts"
import { eventually, makeSetup } from "../test/process/setup.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { RUNS } from "./runs.ts"

const MESSAGES = 20 * RUNS

/** `thread --follow` shows another person's messages, posted one after another with a pause between them. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const setup = yield* makeSetup()
    const env = {
      CONVEX_URL: setup.plane.url,
      CONVEX_DEPLOY_KEY: setup.plane.adminKey,
      MISSION_CONTROL_IDENTITY: JSON.stringify(identityOf("Pat"))
    }
    const task = yield* setup.newTask()
    const { chunks } = yield* followed(env, "thread", task, "--follow")
    const shown = (text: string) =>
      Effect.map(
        eventually(
          Effect.sync(() => chunks.find((chunk) => chunk.text.includes(text))),
          (found) => found !== undefined
        ),
        (found) => found?.at ?? Number.NaN
      )
    yield* setup.post(task, "It has connected.")
    yield* shown("It has connected.")
    const samples: Array<number> = []
    for (let message = 0; message < MESSAGES; message++) {
      yield* Effect.sleep("50 millis")
      const sentAt = performance.now()
      yield* setup.post(task, `This is message ${message}.`)
      samples.push((yield* shown(`This is message ${message}.`)) - sentAt)
    }
    return [
      figureOf("message sent to shown by thread --follow", "ms", samples),
      figureOf("the same, 95th percentile", "ms", [percentile(samples, 0.95)], { below: 200 })
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
