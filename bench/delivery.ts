/**
 * Deliveries under load: the rate held with 100 sessions and instant replies, and the processor time of each process
 * per delivery, with one runtime and with two; the latency from creation to POST at 10 sessions; nine fast sessions
 * next to a hung one.
 */
import { Effect } from "effect"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { createdToPost, hold, pushed, TASKS_PER_AGENT, tasksFor, teamOf } from "./load.ts"
import { planeStats } from "./planeStats.ts"
import { interleaved, secondsOf } from "./runs.ts"
import { here, setupOf } from "./subject.ts"

const SESSIONS = 100
/** Not shortened in comparisons, because the cost over a minute does not appear in a shorter time. */
const HELD_SECONDS = Number(process.env["BENCH_HELD_SECONDS"] ?? 60)
const COMPARED_SECONDS = secondsOf(20)
const PACED_SECONDS = secondsOf(20)

/** Milliseconds between messages: twenty a second, about a quarter of the capacity of two processors. */
const PACE = 50

const replies = { fallback: { text: "Noted." } }
const gatewayArgs = ["--max-concurrent", "200"]

/** One run in its own setup, so that the notifications of the previous run do not count. */
const heldBy = (runtimeCount: number, seconds: number) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(here, { team: teamOf(SESSIONS), gatewayArgs })
    yield* setup.script(replies)
    const runtimes = yield* Effect.forEach(
      Array.from({ length: runtimeCount }, (_, index) => index),
      (index) =>
        setup.startRuntime({
          RUNTIME_ID: `bench-${index}`,
          LOG_LEVEL: "error",
          DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS)
        })
    )
    const tasks = yield* tasksFor(setup, SESSIONS, TASKS_PER_AGENT)
    const held = yield* hold(setup, runtimes, { tasks, sessions: SESSIONS, seconds })
    const { notifications } = (yield* Effect.promise(() => planeStats(setup.plane))).documents
    return { ...held, rows: notifications ?? Number.NaN }
  }).pipe(Effect.scoped)

const throughput = Effect.gen(function* () {
  const { alone, one, two } = yield* interleaved({
    alone: heldBy(1, HELD_SECONDS),
    one: heldBy(1, COMPARED_SECONDS),
    two: heldBy(2, COMPARED_SECONDS)
  })
  const shared = two.map(({ rate }, run) => rate / one[run]!.rate)
  const cpuOf = (name: string): ReadonlyArray<number> => alone.map(({ cpu }) => cpu[name]!)
  const coreOf = (name: string): ReadonlyArray<number> => alone.map(({ cpu, rate }) => (cpu[name]! * rate) / 10)
  return [
    figureOf(
      `deliveries held for ${HELD_SECONDS} s, 100 sessions, instant replies`,
      "1/s",
      alone.map(({ rate }) => rate),
      { atLeast: 60 }
    ),
    figureOf(
      "the same over the slowest ten seconds of it",
      "1/s",
      alone.map(({ slowest }) => slowest)
    ),
    figureOf(
      "notifications in the account at its end, people's too",
      "rows",
      alone.map(({ rows }) => rows)
    ),
    figureOf("processor time of the runtime per delivery", "ms", cpuOf("runtime"), { below: 3.5 }),
    figureOf("processor time of the plane per delivery", "ms", cpuOf("plane")),
    figureOf("processor time of the scripted gateway per delivery", "ms", cpuOf("gateway")),
    figureOf("processor time of who posts per delivery", "ms", cpuOf("load")),
    figureOf("one core's share that the runtime took", "%", coreOf("runtime")),
    figureOf("one core's share that the plane took", "%", coreOf("plane")),
    figureOf("rate of two runtimes to that of one, same processors", "ratio", shared)
  ]
})

const percentilesOf = (runs: ReadonlyArray<ReadonlyArray<number>>, share: number): ReadonlyArray<number> =>
  runs.map((samples) => percentile(samples, share))

/** Three setups in short alternating stretches, so that all of them meet the same disturbances of the machine. */
const latencies = Effect.gen(function* () {
  const mode = Effect.fnUntraced(function* (sessions: number, fast: number) {
    const setup = yield* setupOf(here, { team: teamOf(sessions), gatewayArgs })
    const hung = { matchSystem: `You are Agent ${fast} `, repeat: true, actions: [{ hang: true }] }
    yield* setup.script({ ...replies, rules: fast < sessions ? [hung] : [] })
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error", DELIVERY_MAX_CONCURRENT_SESSIONS: "10" })
    yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, sessions)
    if (fast < sessions) yield* setup.post(tasks[fast]!, `@agent-${fast} hang`)
    const measure = (seconds: number) =>
      createdToPost(setup, runtime, { tasks, fast, count: Math.ceil((seconds * 1_000) / PACE), pace: PACE })
    yield* measure(3)
    return { measured: measure(PACED_SECONDS) }
  })
  const { alone, withHung, ten } = yield* interleaved({
    ten: (yield* mode(10, 10)).measured,
    alone: (yield* mode(9, 9)).measured,
    withHung: (yield* mode(10, 9)).measured
  })
  const [aloneP99, withHungP99] = [percentilesOf(alone, 0.99), percentilesOf(withHung, 0.99)]
  return [
    figureOf("created to POST with push, 10 sessions, p50 of each run", "ms", percentilesOf(ten, 0.5), { below: 15 }),
    figureOf("created to POST with push, 10 sessions, p99 of each run", "ms", percentilesOf(ten, 0.99), { below: 60 }),
    figureOf("nine fast sessions alone, p99 of each run", "ms", aloneP99),
    figureOf("nine fast sessions next to a hung one, p99 of each run", "ms", withHungP99),
    figureOf(
      "p99 next to a hung session to p99 alone, medians of the runs",
      "ratio",
      [percentile(withHungP99, 0.5) / percentile(aloneP99, 0.5)],
      { below: 1.2 }
    ),
    figureOf("the same of all runs' messages together", "ratio", [
      percentile(withHung.flat(), 0.99) / percentile(alone.flat(), 0.99)
    ])
  ]
}).pipe(Effect.scoped)

/** Runs the measurements one after another; about twenty minutes by default. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.all([throughput, latencies]).pipe(
    Effect.map((figures) => figures.flat()),
    Effect.runPromise
  )
