/** Created to POST: from the moment a person's message is sent to the gateway's receipt of the turn's first request. */
import { Effect } from "effect"
import { eventually, makeHouse } from "../test/process/house.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"

const MESSAGES = 100

type Recorded = { readonly at: number; readonly input: string }

/** Runs the measurement: one message after another, each awaited, so that only the way is measured and no queue. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const house = yield* makeHouse()
    yield* house.script({
      fallback: { text: "NO_ACTION" },
      rules: [{ matchSystem: "You are Engineer", repeat: true, actions: [{ text: "Noted." }] }]
    })
    const runtime = yield* house.startRuntime({ LOG_LEVEL: "error" })
    yield* eventually(house.health(runtime), (health) => health["controlPlane"]["push"] === true)
    const sent = new Map<string, number>()
    const taskId = yield* house.newTask()
    for (let index = 0; index < MESSAGES; index++) {
      const content = `@engineer message number ${index}.`
      sent.set(content, performance.timeOrigin + performance.now())
      yield* house.post(taskId, content)
      yield* eventually(house.requests, (requests) => requests.some(({ input }) => input.includes(content)))
    }
    const recorded: ReadonlyArray<Recorded> = yield* house.requests
    const samples = [...sent].slice(10).flatMap(([content, at]) => {
      const request = recorded.find(({ input }) => input.includes(content))
      return request === undefined ? [] : [request.at - at]
    })
    return [
      figureOf("created to POST with push, p50 of single messages", "ms", samples),
      { ...figureOf("created to POST with push, p99", "ms", samples), median: percentile(samples, 0.99) }
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
