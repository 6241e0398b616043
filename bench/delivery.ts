/**
 * Deliveries under load: the rate held with 100 sessions and instant replies, the processor time of each process per
 * delivery, the way from created to POST at 10 sessions, and nine fast sessions beside a hung one.
 */
import { Effect } from "effect"
import type { NewAgent } from "../local/account.ts"
import { eventually, makeHouse } from "../test/process/house.ts"
import type { House } from "../test/process/house.ts"
import { cpuMillis } from "./cpu.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"

const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 10)

const team = (size: number): ReadonlyArray<NewAgent> =>
  Array.from({ length: size }, (_, index) => ({ slug: `agent-${index}`, name: `Agent ${index}`, role: "answers" }))

/** Twenty messages a second, about a quarter of what two processors carry. */
const PACE = "50 millis"

const now = (): number => performance.timeOrigin + performance.now()

const replies = { fallback: { text: "Noted." } }

/** A task for each agent, so that a message concerns one agent alone. */
const tasksFor = (house: House, size: number) =>
  Effect.forEach(
    Array.from({ length: size }, (_, index) => index),
    (index) => house.newTask(`Task of agent ${index}`),
    { concurrency: 8 }
  )

const deliveredCount = (house: House, runtime: { readonly url: string }) =>
  Effect.promise(async () => {
    const health: any = await (await fetch(`${runtime.url}/health`)).json()
    return Number(health.delivery.deliveredCount)
  })

/** Posts as fast as the deliveries go, a bounded number ahead, for SECONDS; answers the deliveries a second. */
const throughput = (sessions: number) =>
  Effect.gen(function* () {
    const house = yield* makeHouse({ team: team(sessions), gatewayArgs: ["--max-concurrent", "200"] })
    yield* house.script(replies)
    const runtime = yield* house.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(Math.min(100, sessions))
    })
    const tasks = yield* tasksFor(house, sessions)
    const processes = { runtime: runtime.pid, plane: house.plane.pid, gateway: house.gateway.pid }
    let posted = 0
    const post = Effect.suspend(() => {
      const index = posted++ % sessions
      return house.post(tasks[index]!, `@agent-${index} message ${posted}`)
    })
    yield* post
    yield* eventually(deliveredCount(house, runtime), (count) => count >= 1)
    const cpuBefore = Object.entries(processes).map(([name, pid]) => [name, cpuMillis(pid)] as const)
    const from = now()
    const before = yield* deliveredCount(house, runtime)
    // Asked seldom: an answer to each message was a quarter of the runtime's processor time.
    let seen = before
    const watcher = deliveredCount(house, runtime).pipe(
      Effect.tap((count) => Effect.sync(() => (seen = count))),
      Effect.andThen(Effect.sleep("200 millis")),
      Effect.forever
    )
    yield* Effect.forkScoped(watcher)
    const writer = Effect.gen(function* () {
      while (now() - from < SECONDS * 1_000) {
        if (posted - seen > sessions * 2) yield* Effect.sleep("20 millis")
        else yield* post
      }
    })
    yield* Effect.all([writer, writer, writer, writer], { concurrency: 4 })
    const delivered = (yield* deliveredCount(house, runtime)) - before
    const took = now() - from
    const cpu = cpuBefore.map(
      ([name, millis]) => [name, (cpuMillis(processes[name as "runtime"]) - millis) / delivered] as const
    )
    yield* eventually(deliveredCount(house, runtime), (count) => count >= posted)
    return { rate: (delivered * 1_000) / took, cpu: Object.fromEntries(cpu) }
  }).pipe(Effect.scoped)

/** Milliseconds from each message's sending to the gateway's receipt of its turn, `rounds` messages to each session. */
const createdToPost = (sessions: number, rounds: number, options: { readonly hangs: boolean }) =>
  Effect.gen(function* () {
    const house = yield* makeHouse({ team: team(sessions), gatewayArgs: ["--max-concurrent", "200"] })
    yield* house.script({
      ...replies,
      ...(options.hangs
        ? { rules: [{ matchSystem: `You are Agent ${sessions - 1} `, repeat: true, actions: [{ hang: true }] }] }
        : {})
    })
    const runtime = yield* house.startRuntime({ LOG_LEVEL: "error", DELIVERY_MAX_CONCURRENT_SESSIONS: "10" })
    yield* eventually(house.health(runtime), (health) => health["controlPlane"]["push"] === true)
    const tasks = yield* tasksFor(house, sessions)
    const fast = options.hangs ? sessions - 1 : sessions
    if (options.hangs) yield* house.post(tasks[fast]!, `@agent-${fast} hang`)
    const sent = new Map<string, number>()
    // A steady stream and no bursts: what is measured is the way, not a queue of our own making.
    for (let index = 0; index < rounds * fast; index++) {
      const content = `@agent-${index % fast} message ${index}.`
      sent.set(content, now())
      yield* Effect.all([house.post(tasks[index % fast]!, content), Effect.sleep(PACE)], { concurrency: 2 })
    }
    yield* eventually(deliveredCount(house, runtime), (count) => count >= rounds * fast)
    const requests = yield* house.requests
    return [...sent].flatMap(([content, at]) => {
      const request = requests.find(({ input }) => input.includes(content))
      return request === undefined ? [] : [request.at - at]
    })
  }).pipe(Effect.scoped)

/** Runs the measurements one after another. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const loaded = yield* throughput(100)
    const at10 = yield* createdToPost(10, 20, { hangs: false })
    const alone = yield* createdToPost(9, 20, { hangs: false })
    const beside = yield* createdToPost(10, 20, { hangs: true })
    const one = (name: string, unit: string, value: number): Figure => ({
      name,
      unit,
      median: value,
      spread: [value, value]
    })
    return [
      one(`deliveries held for ${SECONDS} s, 100 sessions, instant replies`, "1/s", loaded.rate),
      ...Object.entries(loaded.cpu).map(([name, millis]) =>
        one(`processor time of the ${name} per delivery`, "ms", millis)
      ),
      figureOf("created to POST, 10 sessions, p50", "ms", at10),
      one("created to POST, 10 sessions, p99", "ms", percentile(at10, 0.99)),
      one("nine fast sessions alone, p99", "ms", percentile(alone, 0.99)),
      one("nine fast sessions beside a hung one, p99", "ms", percentile(beside, 0.99))
    ]
  }).pipe(Effect.runPromise)
