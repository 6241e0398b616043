/**
 * Posts messages to the agents and measures their deliveries. The measurement disturbs little: it reads counters a few
 * times a second, and arrivals once, after the load.
 */
import { Effect, Ref } from "effect"
import type { NewAgent } from "../local/account.ts"
import type { Launched } from "../local/launcher.ts"
import { eventually } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
import { cpuMillis } from "./cpu.ts"

/** Milliseconds since the epoch, with fractions, like the gateway's arrivals. */
export const now = (): number => performance.timeOrigin + performance.now()

const NEW_YEAR = "0 0 1 1 *"

/** Agents without heartbeats, which would be turns that no message caused. */
export const teamOf = (size: number): ReadonlyArray<NewAgent> =>
  Array.from({ length: size }, (_, index) => ({
    slug: `agent-${index}`,
    name: `Agent ${index}`,
    role: "answers",
    heartbeat: NEW_YEAR
  }))

/**
 * Tasks of one agent each, so that a message concerns one agent only: task `i` is for agent `i % size`. With several
 * tasks for each agent, messages that wait for the same agent stay apart; on one task they would share a turn.
 */
export const tasksFor = (setup: Setup, size: number, perAgent = 1) =>
  Effect.forEach(
    Array.from({ length: size * perAgent }, (_, index) => index),
    (index) => setup.newTask(`Task of agent ${index % size}`),
    { concurrency: 8 }
  )

/** Successful deliveries of all these runtimes. */
export const deliveredBy = (setup: Setup, runtimes: ReadonlyArray<Launched>) =>
  Effect.forEach(runtimes, (runtime) => setup.health(runtime), { concurrency: 4 }).pipe(
    Effect.map((healths) => healths.reduce((sum, health) => sum + Number(health["delivery"]["deliveredCount"]), 0))
  )

/** For `hold`. */
export const TASKS_PER_AGENT = 8

/** Waits until every message has been delivered; fails if two of them shared a turn. */
const allDelivered = (delivered: ReturnType<typeof deliveredBy>, count: number) =>
  eventually(delivered, (found) => found >= count).pipe(
    Effect.timeoutOrElse({
      duration: "1 minute",
      orElse: () =>
        Effect.flatMap(delivered, (found) => Effect.die(`${count} messages were posted, ${found} turns delivered`))
    })
  )

/** Waits until pushes reach the runtime. */
export const pushed = (setup: Setup, runtime: Launched) =>
  eventually(setup.health(runtime), (health) => health["controlPlane"]["push"] === true)

const arrivalsAt = (setup: Setup, method: "GET" | "DELETE") =>
  Effect.promise(async () => {
    const response = await fetch(`${setup.gateway.url}/__local/arrivals`, { method })
    const { arrivals } = (await response.json()) as {
      readonly arrivals: ReadonlyArray<{ readonly at: number; readonly agent: string }>
    }
    return arrivals
  })

/** Deletes the arrivals so far. */
export const forgetArrivals = (setup: Setup) => Effect.asVoid(arrivalsAt(setup, "DELETE"))

/** Times at which the gateway received turns of this agent, oldest first. */
export const arrivalsByAgent = (setup: Setup) =>
  Effect.map(arrivalsAt(setup, "GET"), (arrivals) => Map.groupBy(arrivals, ({ agent }) => agent))

/** The result of one stretch of load. */
export type Held = {
  /** Deliveries a second over the whole stretch. */
  readonly rate: number
  /** The same over its slowest ten seconds, or over all of a shorter stretch. */
  readonly slowest: number
  readonly delivered: number
  /** Milliseconds of processor time a delivery, by process. `load` is the process that posts. */
  readonly cpu: Readonly<Record<string, number>>
}

/**
 * Posts as fast as deliveries end, two messages ahead for each session, after a warm-up of the same number. Waits for the
 * rest at the end.
 */
export const hold = (
  setup: Setup,
  runtimes: ReadonlyArray<Launched>,
  options: {
    readonly tasks: ReadonlyArray<string>
    readonly sessions: number
    readonly seconds: number
  }
) =>
  Effect.gen(function* () {
    const { sessions, tasks } = options
    const ahead = sessions * 2
    const from = yield* deliveredBy(setup, runtimes)
    const delivered = yield* Ref.make(0)
    const watched = deliveredBy(setup, runtimes).pipe(Effect.tap((count) => Ref.set(delivered, count - from)))
    const processes: Record<string, number> = { plane: setup.plane.pid, gateway: setup.gateway.pid }
    for (const [index, { pid }] of runtimes.entries()) processes[index === 0 ? "runtime" : `runtime ${index + 1}`] = pid
    const cpuNow = () => {
      const own = process.cpuUsage()
      return [
        ...Object.entries(processes).map(([name, pid]) => [name, cpuMillis(pid)] as const),
        ["load", (own.user + own.system) / 1_000] as const
      ]
    }
    let posted = 0
    const isOver = yield* Ref.make(false)
    const writer = Effect.gen(function* () {
      while (!(yield* Ref.get(isOver))) {
        if (posted - (yield* Ref.get(delivered)) >= ahead) {
          yield* Effect.sleep("10 millis")
          continue
        }
        const index = posted++
        yield* setup.post(tasks[index % tasks.length]!, `@agent-${index % sessions} message ${posted}`)
      }
    })
    const measured = Effect.gen(function* () {
      yield* eventually(Effect.andThen(watched, Ref.get(delivered)), (count) => count >= ahead)
      const before = yield* Ref.get(delivered)
      const cpuBefore = cpuNow()
      const begin = now()
      const marks = [{ at: begin, count: before }]
      while (now() - begin < options.seconds * 1_000) {
        yield* Effect.sleep("250 millis")
        yield* watched
        marks.push({ at: now(), count: yield* Ref.get(delivered) })
      }
      const last = marks.at(-1)!
      const count = last.count - before
      const cpuAfter = cpuNow()
      yield* Ref.set(isOver, true)
      const rateFrom = (first: (typeof marks)[number], to: (typeof marks)[number]): number =>
        ((to.count - first.count) * 1_000) / (to.at - first.at)
      const windows = marks.flatMap((first) => {
        const to = marks.find(({ at }) => at >= first.at + 10_000)
        return to === undefined ? [] : [rateFrom(first, to)]
      })
      const rate = rateFrom(marks[0]!, last)
      return {
        rate,
        slowest: Math.min(rate, ...windows),
        delivered: count,
        cpu: Object.fromEntries(
          cpuAfter.map(([name, millis], index) => [name, (millis - (cpuBefore[index]?.[1] ?? Number.NaN)) / count])
        )
      } satisfies Held
    })
    const [held] = yield* Effect.all([measured, writer, writer, writer, writer], { concurrency: 5 })
    yield* allDelivered(deliveredBy(setup, runtimes), from + posted)
    return held
  })

/**
 * Milliseconds from sending each message to the gateway's receipt of its turn: `count` messages at an even pace to the
 * first `fast` agents in turn. The sender never waits for a delivery, so that a slow one delays no later message.
 */
export const createdToPost = (
  setup: Setup,
  runtime: Launched,
  options: {
    readonly tasks: ReadonlyArray<string>
    readonly fast: number
    readonly count: number
    readonly pace: number
    /** As for `tasksFor`. */
    readonly perAgent?: number
  }
) =>
  Effect.gen(function* () {
    const { perAgent = 1, tasks } = options
    const size = tasks.length / perAgent
    yield* forgetArrivals(setup)
    const before = yield* deliveredBy(setup, [runtime])
    const sent = Array.from({ length: options.fast }, () => [] as Array<number>)
    const begin = now()
    yield* Effect.forEach(
      Array.from({ length: options.count }, (_, index) => index),
      (index) =>
        Effect.gen(function* () {
          yield* Effect.sleep(Math.max(0, begin + index * options.pace - now()))
          const agent = index % options.fast
          sent[agent]!.push(now())
          const task = agent + size * (Math.floor(index / options.fast) % perAgent)
          yield* setup.post(tasks[task]!, `@agent-${agent} message ${index}.`)
        }),
      { concurrency: "unbounded", discard: true }
    )
    yield* allDelivered(deliveredBy(setup, [runtime]), before + options.count)
    const arrived = yield* arrivalsByAgent(setup)
    return sent.flatMap((moments, agent) => {
      const arrivals = arrived.get(`agent-${agent}`) ?? []
      if (arrivals.length !== moments.length) {
        throw new Error(`agent-${agent} was sent ${moments.length} messages and ran ${arrivals.length} turns`)
      }
      return moments.map((at, index) => arrivals[index]!.at - at)
    })
  })
