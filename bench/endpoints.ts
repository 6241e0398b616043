/** The agents' endpoints: what a call costs beyond the control plane's own time, and what refused calls do to deliveries. */
import { Agent, request } from "node:http"
import { Effect } from "effect"
import { httpAccessIn } from "../test/actingModel.ts"
import { eventually, makeHouse } from "../test/process/house.ts"
import type { House } from "../test/process/house.ts"
import { cpuMillis } from "./cpu.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"

const CALLS = 300
const BLOCKS = 4
const MESSAGES_A_BLOCK = 20
const REFUSALS_A_SECOND = 500

interface Turn {
  readonly agent: string
  readonly at: number
  readonly input: string
  readonly instructions: string
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const from = performance.now()
  await work()
  return performance.now() - from
}

/** The same read by the endpoint and straight from the plane, in turns, so that drift meets both. */
const callCost = Effect.gen(function* () {
  const house = yield* makeHouse()
  yield* house.script({
    fallback: { text: "NO_ACTION" },
    rules: [{ matchSystem: "You are Engineer", actions: [{ hang: true }] }]
  })
  yield* house.startRuntime({ LOG_LEVEL: "error", OPENCLAW_CLIENT_TOOLS_ENABLED: "false" })
  const taskId = yield* house.newTask()
  yield* house.post(taskId, "@engineer wait.")
  const turns = yield* eventually(house.requests as Effect.Effect<ReadonlyArray<Turn>>, (all) =>
    all.some(({ agent }) => agent === "engineer")
  )
  const access = httpAccessIn(turns.find(({ agent }) => agent === "engineer")!.instructions)
  const { accountId, serviceToken } = house.account
  const throughRuntime = async () => {
    const { status } = await access.call("/agent/task-load", { taskId })
    if (status !== 200) throw new Error(`the endpoint answered ${status}`)
  }
  const straight = async () => {
    const response = await fetch(`${house.plane.url}/api/query`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        path: "service/tasks:load",
        format: "convex_encoded_json",
        args: [{ accountId, serviceToken, taskId }]
      })
    })
    const body = (await response.json()) as { readonly status?: string }
    if (body.status !== "success") throw new Error(`the plane answered ${JSON.stringify(body)}`)
  }
  return yield* Effect.promise(async () => {
    const own: Array<number> = []
    const plane: Array<number> = []
    for (let index = 0; index < CALLS; index++) {
      own.push(await timed(throughRuntime))
      plane.push(await timed(straight))
    }
    const after = <A>(samples: ReadonlyArray<A>) => samples.slice(50)
    const cost = after(own).map((millis) => millis - percentile(after(plane), 0.5))
    return [
      figureOf("endpoint task-load, whole call", "ms", after(own)),
      figureOf("the same read straight from the plane", "ms", after(plane)),
      figureOf("endpoint beyond the plane's own time, p50", "ms", cost)
    ]
  })
}).pipe(Effect.scoped)

/** Sends refused calls at a steady rate until told to stop; answers how many were refused. */
const flood = (url: string) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 50 })
  let refused = 0
  let sent = 0
  const from = performance.now()
  const tick = setInterval(() => {
    // By the time that has passed: a late timer must not lower the rate.
    for (; sent < ((performance.now() - from) / 1_000) * REFUSALS_A_SECOND; sent++) {
      const outgoing = request(
        `${url}/agent/task-load`,
        {
          method: "POST",
          agent,
          headers: {
            "content-type": "application/json",
            "content-length": 2,
            "x-openclaw-session-key": "agent:engineer:nobody",
            "x-mission-control-capability": "A".repeat(43)
          }
        },
        (response) => {
          response.resume()
          if (response.statusCode === 401) refused += 1
        }
      )
      outgoing.on("error", () => {})
      outgoing.end("{}")
    }
  }, 10)
  return () => {
    clearInterval(tick)
    agent.destroy()
    return refused
  }
}

const deliverBlock = Effect.fnUntraced(function* (house: House, taskId: string, name: string) {
  const sent = new Map<string, number>()
  for (let index = 0; index < MESSAGES_A_BLOCK; index++) {
    const content = `@engineer ${name} number ${index}.`
    sent.set(content, performance.timeOrigin + performance.now())
    yield* house.post(taskId, content)
    yield* eventually(house.requests, (requests) => requests.some(({ input }) => input.includes(content)))
  }
  const recorded = yield* house.requests
  return [...sent].slice(2).flatMap(([content, at]) => {
    const found = recorded.find(({ input }) => input.includes(content))
    return found === undefined ? [] : [found.at - at]
  })
})

/** Blocks of deliveries without and with refused calls, in turns. */
const refusals = Effect.gen(function* () {
  const house = yield* makeHouse()
  yield* house.script({
    fallback: { text: "NO_ACTION" },
    rules: [{ matchSystem: "You are Engineer", repeat: true, actions: [{ text: "Noted." }] }]
  })
  const runtime = yield* house.startRuntime({ LOG_LEVEL: "error" })
  yield* eventually(house.health(runtime), (health) => health["controlPlane"]["push"] === true)
  const quiet: Array<number> = []
  const flooded: Array<number> = []
  const rates: Array<number> = []
  for (let block = 0; block < BLOCKS; block++) {
    const taskId = yield* house.newTask()
    yield* deliverBlock(house, taskId, `warm ${block}`)
    quiet.push(...(yield* deliverBlock(house, taskId, `quiet ${block}`)))
    const from = performance.now()
    const stop = flood(runtime.url)
    flooded.push(...(yield* deliverBlock(house, taskId, `flooded ${block}`)))
    rates.push(stop() / ((performance.now() - from) / 1_000))
  }
  // What the ratio cannot tell on a busy machine: the processor time of refusals alone, deliveries at rest.
  const before = cpuMillis(runtime.pid)
  const stopAlone = flood(runtime.url)
  yield* Effect.sleep("4 seconds")
  const alone = stopAlone()
  const cost = (cpuMillis(runtime.pid) - before) / alone
  const ratio = percentile(flooded, 0.5) / percentile(quiet, 0.5)
  return [
    figureOf("created to POST, p50, nobody refused", "ms", quiet),
    figureOf("created to POST, p50, while calls are refused", "ms", flooded),
    figureOf("calls refused with 401 meanwhile", "calls/s", rates),
    figureOf("delivery latency with refusals to without", "ratio", [ratio]),
    figureOf("processor time of a refused call", "ms", [cost])
  ]
}).pipe(Effect.scoped)

/** Runs both measurements. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.all([callCost, refusals]).pipe(
    Effect.map((figures) => figures.flat()),
    Effect.runPromise
  )
