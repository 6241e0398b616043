/**
 * The agents' endpoints: the cost of a call in addition to the control plane's own time, and the effect of refused
 * calls on deliveries.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { launch } from "../local/launcher.ts"
import { functions } from "../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { httpAccessIn } from "../test/actingModel.ts"
import { eventually, makeSetup } from "../test/process/setup.ts"
import { cpuMillis } from "./cpu.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { createdToPost, pushed, tasksFor, teamOf } from "./load.ts"
import { interleaved, secondsOf } from "./runs.ts"

const CALLS = 300
const SECONDS = secondsOf(20)
const SESSIONS = 10
/** Milliseconds between messages. */
const PACE = 50
const REFUSALS_A_SECOND = 500
const bystander = fileURLToPath(new URL("bystander.ts", import.meta.url))
const flood = fileURLToPath(new URL("flood.ts", import.meta.url))

interface Turn {
  readonly agent: string
  readonly at: number
  readonly input: string
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const from = performance.now()
  await work()
  return performance.now() - from
}

/** The same read through the endpoint and directly from the plane, alternately, so that drift affects both. */
const callCost = Effect.gen(function* () {
  const setup = yield* makeSetup()
  yield* setup.script({
    fallback: { text: "NO_ACTION" },
    rules: [{ matchSystem: "You are Engineer", actions: [{ hang: true }] }]
  })
  yield* setup.startRuntime({ LOG_LEVEL: "error", OPENCLAW_CLIENT_TOOLS_ENABLED: "false" })
  const taskId = yield* setup.newTask()
  yield* setup.post(taskId, "@engineer wait.")
  const turns = yield* eventually(setup.requests as Effect.Effect<ReadonlyArray<Turn>>, (all) =>
    all.some(({ agent }) => agent === "engineer")
  )
  const access = httpAccessIn(turns.find(({ agent }) => agent === "engineer")!.input)
  const { accountId, serviceToken } = setup.account
  const throughRuntime = async () => {
    const { status } = await access.call("/agent/task-load", { taskId })
    if (status !== 200) throw new Error(`the endpoint answered ${status}`)
  }
  const straight = async () => {
    const response = await fetch(`${setup.plane.url}/api/query`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        path: functions.loadTask,
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
      figureOf("endpoint beyond the plane's own time, p50", "ms", cost, { below: 10 })
    ]
  })
}).pipe(Effect.scoped)

/** Makes refused calls during `work`. Returns its result and the number of refused calls a second. */
const whileRefusing = <A, E, R>(url: string, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const child = yield* launch({
      name: "flood",
      command: process.execPath,
      args: [flood, url, String(REFUSALS_A_SECOND)]
    })
    // Its start costs processor time that the refused calls do not.
    yield* Effect.sleep("500 millis")
    const result = yield* work
    yield* child.signal("SIGTERM")
    yield* child.exit
    const { rate, refused } = JSON.parse(child.output().trimEnd().split("\n").at(-1)!) as {
      readonly rate: number
      readonly refused: number
    }
    return { rate, refused, result }
  }).pipe(Effect.scoped)

/**
 * Deliveries without refused calls, with calls that the runtime refuses, and with as many that another process refuses,
 * alternately. The third shows how much of the second is only the load on two processors.
 */
const refusals = Effect.gen(function* () {
  const setup = yield* makeSetup({ team: teamOf(SESSIONS) })
  yield* setup.script({ fallback: { text: "Noted." } })
  const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
  yield* pushed(setup, runtime)
  const tasks = yield* tasksFor(setup, SESSIONS)
  const measure = (count: number) => createdToPost(setup, runtime, { tasks, fast: SESSIONS, count, pace: PACE })
  yield* measure(100)
  const count = Math.ceil((SECONDS * 1_000) / PACE)
  const other = yield* launch({ name: "bystander", command: process.execPath, args: [bystander] })
  const { elsewhere, flooded, quiet } = yield* interleaved({
    quiet: Effect.map(measure(count), (result) => ({ rate: 0, refused: 0, result })),
    elsewhere: whileRefusing(other.ready.url, measure(count)),
    flooded: whileRefusing(runtime.url, measure(count))
  })
  // Measured separately, because a busy machine hides it in the ratio: the processor time of refused calls without
  // deliveries.
  const before = cpuMillis(runtime.pid)
  const { refused } = yield* whileRefusing(runtime.url, Effect.sleep("4 seconds"))
  const cost = (cpuMillis(runtime.pid) - before) / refused
  const of = (runs: typeof quiet, share: number): ReadonlyArray<number> =>
    runs.map(({ result }) => percentile(result, share))
  const ratios = (runs: typeof quiet, to: typeof quiet, share: number): ReadonlyArray<number> =>
    of(runs, share).map((value, run) => value / of(to, share)[run]!)
  return [
    figureOf("created to POST, no call refused, p50 of each run", "ms", of(quiet, 0.5)),
    figureOf("created to POST, while calls are refused, p50 of each run", "ms", of(flooded, 0.5)),
    figureOf(
      "calls refused with 401 during this",
      "1/s",
      flooded.map(({ rate }) => rate)
    ),
    figureOf("created to POST with refusals to without, p50 of paired runs", "ratio", ratios(flooded, quiet, 0.5), {
      below: 1.2
    }),
    figureOf("created to POST with refusals to without, p99 of paired runs", "ratio", ratios(flooded, quiet, 0.99)),
    figureOf("the same calls at another process to none, p50 of paired runs", "ratio", ratios(elsewhere, quiet, 0.5)),
    figureOf("refused here to refused there, p50 of paired runs", "ratio", ratios(flooded, elsewhere, 0.5)),
    figureOf("processor time of a refused call", "ms", [cost])
  ]
}).pipe(Effect.scoped)

/** Runs both measurements. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.all([callCost, refusals]).pipe(
    Effect.map((figures) => figures.flat()),
    Effect.runPromise
  )
