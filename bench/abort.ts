/** How long a stopped run's request to the gateway stays open, with push and while push is down. */
import { Effect } from "effect"
import { eventually, makeHouse } from "../test/process/house.ts"
import type { House } from "../test/process/house.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { now, pushed, tasksFor, teamOf } from "./load.ts"
import { RUNS } from "./runs.ts"

const AGENTS = 5
const STOPS = 20 * RUNS
const POLL = 1_000

interface Request {
  readonly agent: string
  readonly input: unknown
  readonly closedAt: number
}

const requestsOf = (house: House) =>
  Effect.promise(async (): Promise<ReadonlyArray<Request>> => {
    const response = await fetch(`${house.gateway.url}/__local/requests`)
    return ((await response.json()) as { readonly requests: ReadonlyArray<Request> }).requests
  })

/** Milliseconds from sending a stop to the close of the run's request, which the gateway would never answer. */
const stopOne = Effect.fnUntraced(function* (house: House, task: string, index: number) {
  const { accountId } = house.account
  const text = `message ${index}.`
  yield* house.post(task, `@agent-${index % AGENTS} ${text}`)
  const isOurs = ({ input }: Request) => JSON.stringify(input).includes(text)
  yield* eventually(requestsOf(house), (requests) => requests.some(isOurs))
  const run = (yield* house.notifications).find(({ state }) => state === "claimed")!.id
  const from = now()
  yield* Effect.promise(() => house.person.mutation("app/runs:stop", { accountId, run }))
  const requests = yield* eventually(requestsOf(house), (all) =>
    all.filter(isOurs).every(({ closedAt }) => closedAt > 0)
  )
  return requests.findLast(isOurs)!.closedAt - from
})

const measure = (isPushed: boolean, stops: number) =>
  Effect.gen(function* () {
    const house = yield* makeHouse({ team: teamOf(AGENTS) })
    yield* house.script({ fallback: { hang: true } })
    if (!isPushed) yield* house.planeFault({ kind: "refuse", transport: "websocket" })
    const runtime = yield* house.startRuntime({ LOG_LEVEL: "error", DELIVERY_INTERVAL: String(POLL) })
    if (isPushed) yield* pushed(house, runtime)
    const tasks = yield* tasksFor(house, AGENTS)
    const samples: Array<number> = []
    for (let index = 0; index < stops; index++) samples.push(yield* stopOne(house, tasks[index % AGENTS]!, index))
    return samples
  }).pipe(Effect.scoped)

/** Runs the measurement: one stop after another, each of a turn that hangs in the gateway. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const withPush = yield* measure(true, STOPS)
    const withoutPush = yield* measure(false, Math.ceil(STOPS / 4))
    return [
      figureOf("stop sent to request closed, with push", "ms", withPush),
      figureOf("the same, 99th percentile", "ms", [percentile(withPush, 0.99)], { below: 1_000 }),
      figureOf(`the same without push, polls every ${POLL} ms, slowest`, "ms", [Math.max(...withoutPush)], {
        below: 2 * POLL
      })
    ]
  }).pipe(Effect.runPromise)
