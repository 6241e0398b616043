/** How long a stopped run's request to the gateway stays open, with push and while push is down. */
import { Effect } from "effect"
import { eventually, makeSetup } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
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

const requestsOf = (setup: Setup) =>
  Effect.promise(async (): Promise<ReadonlyArray<Request>> => {
    const response = await fetch(`${setup.gateway.url}/__local/requests`)
    return ((await response.json()) as { readonly requests: ReadonlyArray<Request> }).requests
  })

/** Milliseconds from sending a stop to the close of the run's request, which the gateway would never answer. */
const stopOne = Effect.fnUntraced(function* (setup: Setup, task: string, index: number) {
  const { accountId } = setup.account
  const text = `message ${index}.`
  yield* setup.post(task, `@agent-${index % AGENTS} ${text}`)
  const isOurs = ({ input }: Request) => JSON.stringify(input).includes(text)
  yield* eventually(requestsOf(setup), (requests) => requests.some(isOurs))
  const run = (yield* setup.notifications).find(({ state }) => state === "claimed")!.id
  const from = now()
  yield* Effect.promise(() => setup.person.mutation("app/runs:stop", { accountId, run }))
  const requests = yield* eventually(requestsOf(setup), (all) =>
    all.filter(isOurs).every(({ closedAt }) => closedAt > 0)
  )
  return requests.findLast(isOurs)!.closedAt - from
})

const measure = (isPushed: boolean, stops: number) =>
  Effect.gen(function* () {
    const setup = yield* makeSetup({ team: teamOf(AGENTS) })
    yield* setup.script({ fallback: { hang: true } })
    if (!isPushed) yield* setup.planeFault({ kind: "refuse", transport: "websocket" })
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error", DELIVERY_INTERVAL: String(POLL) })
    if (isPushed) yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, AGENTS)
    const samples: Array<number> = []
    for (let index = 0; index < stops; index++) samples.push(yield* stopOne(setup, tasks[index % AGENTS]!, index))
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
