/**
 * Conflicts of mutations on the local plane in optimistic mode, where each takes as long as on a deployment: claims at
 * a steady load, and completions of many replies into one task at once. The runtime is the real one.
 */
import type { Value } from "convex/values"
import { Effect } from "effect"
import { functions } from "../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { eventually, makeSetup } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { deliveredBy, now, pushed, teamOf } from "./load.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"
import type { FunctionStats } from "./planeStats.ts"
import { RUNS, secondsOf } from "./runs.ts"

const AGENTS = 20
const MUTATION_MS = 40
const { claim, complete } = functions

/** Milliseconds between messages: ten a second. */
const PACE = 100
const messagesOfLoad = Math.ceil((secondsOf(30) * 1_000) / PACE)
/** Ten turns a second, of a second each, keep half of the permits busy. */
const STEADY_TURN_MS = 1_000
/** Long enough that the last turn of a burst starts before the first one ends. */
const BURST_TURN_MS = 2_000
const BURSTS = 5

type Functions = Readonly<Record<string, FunctionStats>>

/** A setup of 20 agents and a runtime with a permit for each, on a plane in optimistic mode. */
const contended = Effect.fnUntraced(function* (turnMs: number) {
  const setup = yield* makeSetup({
    team: teamOf(AGENTS),
    planeArgs: ["--mutation-ms", String(MUTATION_MS)],
    gatewayArgs: ["--max-concurrent", "200"]
  })
  yield* setup.script({ fallback: { text: "Noted.", delayMs: turnMs } })
  const runtime = yield* setup.startRuntime({
    LOG_LEVEL: "error",
    DELIVERY_MAX_CONCURRENT_SESSIONS: String(AGENTS)
  })
  yield* pushed(setup, runtime)
  const delivered = deliveredBy(setup, [runtime])
  const newest = Effect.delay(setup.notifications, "500 millis")
  /**
   * Counts until `work` and the deliveries that it causes have ended. Messages that join a notification share its
   * delivery.
   */
  const counted = <E>(work: Effect.Effect<unknown, E>) =>
    Effect.gen(function* () {
      const before = yield* delivered
      yield* Effect.promise(() => resetPlaneStats(setup.plane))
      yield* work
      yield* eventually(newest, (rows) => rows.every(({ state }) => state !== "ready" && state !== "claimed"))
      const deliveries = (yield* delivered) - before
      const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
      return { functions: functions as Functions, deliveries }
    })
  return { setup, counted }
})

/** Repeats a person's call that the plane refused after too many conflicts. */
const persistently = (setup: Setup, path: string, args: Record<string, Value>) =>
  Effect.tryPromise(() => setup.person.mutation(path, { accountId: setup.account.accountId, ...args })).pipe(
    Effect.retry({ times: 10 })
  )

const steady = Effect.gen(function* () {
  const { counted, setup } = yield* contended(STEADY_TURN_MS)
  const tasks = yield* Effect.forEach(
    Array.from({ length: AGENTS }, (_, index) => index),
    (index) => persistently(setup, "app/tasks:create", { title: `Task of agent ${index}` })
  )
  const begin = now()
  return yield* counted(
    Effect.forEach(
      Array.from({ length: messagesOfLoad }, (_, index) => index),
      (index) =>
        Effect.andThen(
          Effect.suspend(() => Effect.sleep(Math.max(0, begin + index * PACE - now()))),
          persistently(setup, "app/messages:post", {
            taskId: String(tasks[index % AGENTS]!.taskId),
            content: `@agent-${index % AGENTS} message ${index}`
          })
        ),
      { concurrency: "unbounded", discard: true }
    )
  )
}).pipe(Effect.scoped)

const bursts = Effect.gen(function* () {
  const { counted, setup } = yield* contended(BURST_TURN_MS)
  // On a blocked task an agent's reply wakes no other agent, so a burst ends. The task needs an assignee.
  const { taskId } = yield* persistently(setup, "app/tasks:create", {
    title: "Task of all",
    status: "blocked",
    blockedReason: "Waits for all agents.",
    assigneeIds: [setup.account.agents["agent-0"]!]
  })
  yield* eventually(setup.notifications, (rows) => rows.every(({ state }) => state !== "ready" && state !== "claimed"))
  const burst = (number: number) =>
    counted(persistently(setup, "app/messages:post", { taskId: String(taskId), content: `@all burst ${number}` }))
  const rounds: Array<Functions> = []
  for (let round = 0; round < BURSTS; round++) rounds.push((yield* burst(round)).functions)
  return rounds
}).pipe(Effect.scoped)

const sumOf = (runs: ReadonlyArray<Functions>, name: string, field: "calls" | "conflicts" | "givenUp"): number =>
  runs.reduce((sum, functions) => sum + (functions[name]?.[field] ?? 0), 0)

const conflictsPerCall = (runs: ReadonlyArray<Functions>, name: string): number =>
  sumOf(runs, name, "conflicts") / sumOf(runs, name, "calls")

const refusedShare = (runs: ReadonlyArray<Functions>, name: string): number =>
  (sumOf(runs, name, "givenUp") / sumOf(runs, name, "calls")) * 100

/** Conflicts and refusals of each function that had any, summed over all runs. */
const byFunction = (load: string, runs: ReadonlyArray<Functions>): ReadonlyArray<Figure> =>
  [...new Set(runs.flatMap((functions) => Object.keys(functions)))]
    .filter((name) => sumOf(runs, name, "conflicts") > 0)
    .toSorted()
    .flatMap((name) => [
      figureOf(`${load}: conflicts of ${name}, in ${sumOf(runs, name, "calls")} calls`, "conflicts", [
        sumOf(runs, name, "conflicts")
      ]),
      figureOf(`${load}: the same calls ending in 503`, "calls", [sumOf(runs, name, "givenUp")])
    ])

/** Runs the measurement; about six minutes by default. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const steadyRuns: Array<{ readonly functions: Functions; readonly deliveries: number }> = []
    const burst: Array<ReadonlyArray<Functions>> = []
    for (let run = 0; run < RUNS; run++) {
      steadyRuns.push(yield* steady)
      burst.push(yield* bursts)
    }
    const paced = steadyRuns.map(({ functions }) => functions)
    const intervals = paced.map((functions) => functions[claim]?.usage.readIntervals.max ?? Number.NaN)
    return [
      figureOf(
        `conflicts per claim, ${AGENTS} permits, 10 messages/s`,
        "ratio",
        paced.map((functions) => conflictsPerCall([functions], claim))
      ),
      figureOf(
        "conflicts of claims per delivery, the same load",
        "ratio",
        steadyRuns.map(({ deliveries, functions }) => sumOf([functions], claim, "conflicts") / deliveries)
      ),
      figureOf(
        "claims ending in 503, the same load",
        "%",
        paced.map((functions) => refusedShare([functions], claim))
      ),
      figureOf("read intervals of the largest claim, the same load", "intervals", intervals, { below: 2_000 }),
      figureOf(
        `conflicts per completion, ${AGENTS} replies into one task at once`,
        "ratio",
        burst.map((rounds) => conflictsPerCall(rounds, complete))
      ),
      figureOf(
        "completions ending in 503, the same bursts",
        "%",
        burst.map((rounds) => refusedShare(rounds, complete))
      ),
      ...byFunction("10/s", paced),
      ...byFunction("bursts", burst.flat())
    ]
  }).pipe(Effect.runPromise)
