/**
 * How soon a person's message is part of the agent's running turn, and what that costs in calls: turns of several rounds,
 * with a message at a random moment of the second one, and without.
 */
import { Effect, Random } from "effect"
import { eventually, makeSetup } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { pushed } from "./load.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"
import { RUNS } from "./runs.ts"

const JOIN = "service/notifications:join"
const ROUND_MILLIS = 300
/** Calls of tools before the text. */
const ROUNDS = 5

const round = { toolCalls: [{ name: "task_list", args: {} }], delayMs: ROUND_MILLIS }
const script = {
  rules: [
    {
      matchSystem: "You are Squad Lead",
      repeat: true,
      perSession: true,
      actions: [...Array.from({ length: ROUNDS }, () => round), { text: "Done." }]
    }
  ],
  fallback: { text: "NO_ACTION" }
}

/** One turn on a new task, with a second message or without. */
const turn = Effect.fnUntraced(function* (setup: Setup, word: string | null) {
  const taskId = yield* setup.newTask()
  const before = yield* setup.posts
  yield* Effect.promise(() => resetPlaneStats(setup.plane))
  yield* setup.post(taskId, "@squad-lead work on this")
  yield* eventually(setup.posts, (count) => count === before + 2)
  let sent = 0
  if (word !== null) {
    yield* Effect.sleep(yield* Random.nextIntBetween(0, ROUND_MILLIS))
    sent = yield* setup.posts
    yield* setup.post(taskId, `work on ${word}, too`)
  }
  yield* eventually(setup.messages(taskId), (all) => all.some(({ kind }) => kind === "reply"))
  const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
  const calls = Object.entries(functions)
    .filter(([path]) => path.startsWith("service/"))
    .reduce((sum, [, { byOrigin }]) => sum + byOrigin.client + byOrigin.subscription, 0)
  const requests = yield* setup.requests
  const shown = word === null ? -1 : requests.findIndex(({ input }) => JSON.stringify(input).includes(word))
  return { calls, joins: functions[JOIN]?.calls ?? 0, rounds: shown + 1 - sent }
})

/** Runs the measurement. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const setup = yield* makeSetup()
    yield* setup.script(script)
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    const alone: Array<Effect.Success<ReturnType<typeof turn>>> = []
    const joined: Array<Effect.Success<ReturnType<typeof turn>>> = []
    for (let index = 0; index < RUNS; index++) {
      alone.push(yield* turn(setup, null))
      joined.push(yield* turn(setup, `word${index}`))
    }
    const of = (turns: typeof alone, key: keyof (typeof alone)[number]) => turns.map((each) => each[key])
    return [
      figureOf("requests from a posted message to the one that contains it", "requests", of(joined, "rounds"), {
        below: 2
      }),
      figureOf("calls to join in a turn without new messages", "calls", of(alone, "joins"), { below: 1 }),
      figureOf("calls of such a turn and its pushes", "calls", of(alone, "calls")),
      figureOf("calls of a turn that a message joins", "calls", of(joined, "calls"))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
