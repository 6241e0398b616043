/**
 * How soon the status page shows an event of the gateway, what the gateway's events cost the runtime while 20 turns run,
 * with and without an open page, and how many calls report progress. Needs Chromium, like the page's tests.
 */
import { Effect, Random } from "effect"
import { chromium } from "playwright-core"
import { eventually, makeSetup } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { hold, now, pushed, TASKS_PER_AGENT, tasksFor, teamOf } from "./load.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"
import { interleaved, RUNS, secondsOf } from "./runs.ts"

const EVENTS = 20 * RUNS
const SESSIONS = 20
const SECONDS = secondsOf(40)
/** A turn has two requests of this length. */
const ROUND_MILLIS = 2_500
/** How often the text of each running turn grows, as measured on the real gateway. */
const TEXT_MILLIS = 500
const LINE = "This line is one of several that the model writes while a turn runs.\n"

const RUN = { runId: "resp_live" }
const MESSAGE = {
  role: "assistant",
  provider: "fake",
  model: "fake-1",
  usage: { input: 100, output: 10 },
  __openclaw: RUN
}

const openPage = (url: string) =>
  Effect.gen(function* () {
    const browser = yield* Effect.acquireRelease(
      Effect.promise(() =>
        chromium.launch({
          executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
          args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        })
      ),
      (browser) => Effect.promise(() => browser.close())
    )
    const page = yield* Effect.promise(() => browser.newPage())
    yield* Effect.promise(() => page.goto(url))
    return page
  })

/** Milliseconds from sending each event of a running turn to the gateway until the text of the page has it. */
const eventToPage = Effect.gen(function* () {
  const setup = yield* makeSetup({ team: teamOf(1) })
  yield* setup.script({ fallback: { hang: true } })
  const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error", DRAIN_TIMEOUT_MS: "1000" })
  yield* pushed(setup, runtime)
  yield* setup.post(yield* setup.newTask(), "@agent-0 a turn that does not end")
  const page = yield* openPage(runtime.url)
  yield* Effect.promise(() => page.locator("#running li").waitFor())
  yield* Effect.promise(() =>
    page.evaluate(`{
      window.seen = []
      const list = document.getElementById("running")
      new MutationObserver(() => seen.push([performance.timeOrigin + performance.now(), list.textContent]))
        .observe(list, { childList: true, characterData: true, subtree: true })
    }`)
  )
  const sent: Array<{ readonly at: number; readonly text: string }> = []
  for (let index = 1; index <= EVENTS; index++) {
    yield* Effect.sleep(yield* Random.nextIntBetween(200, 400))
    // Tools reach the page with its whole state, model calls in an event of their own.
    const isTool = index % 2 === 0
    const item = { kind: "tool", phase: "start", toolCallId: `call_${index}`, name: `tool_${index}_` }
    sent.push({ at: now(), text: isTool ? item.name : `${(index + 1) / 2} model call` })
    yield* isTool
      ? setup.gatewayEvent("agent", { ...RUN, stream: "item", data: item })
      : setup.gatewayEvent("session.message", { message: MESSAGE })
  }
  const seenAt = (text: string) =>
    Effect.map(
      eventually(
        Effect.promise(() => page.evaluate("seen") as Promise<ReadonlyArray<readonly [number, string]>>),
        (all) => all.some(([, shown]) => shown.includes(text))
      ),
      (all) => all.find(([, shown]) => shown.includes(text))![0]
    )
  return yield* Effect.forEach(sent, ({ at, text }) => Effect.map(seenAt(text), (seen) => seen - at))
}).pipe(Effect.scoped)

/** Lets the text of all running turns grow. */
const writes = (setup: Setup) =>
  Effect.gen(function* () {
    for (let lines = 1; ; lines = (lines % 10) + 1) {
      yield* Effect.sleep(TEXT_MILLIS)
      yield* setup.gatewayEvent("agent", { ...RUN, stream: "assistant", data: { text: LINE.repeat(lines) } })
    }
  })

/** Reads the page's events as an open page does. */
const readsPage = (url: string) =>
  Effect.forkScoped(
    Effect.ignore(
      Effect.tryPromise(async (signal) => {
        const { body } = await fetch(`${url}/status/events`, { signal })
        for await (const _ of body!);
      })
    )
  )

const script = {
  rules: [
    {
      match: "",
      repeat: true,
      perSession: true,
      actions: [
        { toolCalls: [{ name: "task_list", args: {} }], delayMs: ROUND_MILLIS },
        { text: "Noted.", delayMs: ROUND_MILLIS }
      ]
    }
  ]
}

/** Milliseconds of the runtime's processor time for a delivery, with 20 turns at once. */
const held = (hasEvents: boolean, hasPage = false) =>
  Effect.gen(function* () {
    const setup = yield* makeSetup({ team: teamOf(SESSIONS) })
    yield* setup.script(script)
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS),
      OPENCLAW_GATEWAY_EVENTS: String(hasEvents)
    })
    const tasks = yield* tasksFor(setup, SESSIONS, TASKS_PER_AGENT)
    if (hasPage) yield* readsPage(runtime.url)
    yield* Effect.forkScoped(writes(setup))
    const { cpu } = yield* hold(setup, [runtime], { tasks, sessions: SESSIONS, seconds: SECONDS })
    return cpu["runtime"]!
  }).pipe(Effect.scoped)

const PROGRESS = "service/runs:progress"
const PROGRESS_SECONDS = secondsOf(60)
/** Viewers call again before their watch ends after 60 s. */
const WATCH_SECONDS = 30

/** Calls a minute that report the progress of 20 running turns, whose tools change all the time. */
const progressCalls = Effect.gen(function* () {
  const setup = yield* makeSetup({ team: teamOf(SESSIONS) })
  yield* setup.script({ fallback: { hang: true } })
  const runtime = yield* setup.startRuntime({
    LOG_LEVEL: "error",
    DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS),
    DRAIN_TIMEOUT_MS: "1000"
  })
  yield* pushed(setup, runtime)
  const tasks = yield* tasksFor(setup, SESSIONS)
  for (const [index, task] of tasks.entries()) yield* setup.post(task, `@agent-${index} a turn that does not end`)
  yield* eventually(setup.posts, (count) => count === SESSIONS)
  const changes = Effect.gen(function* () {
    for (let index = 0; ; index++) {
      yield* Effect.sleep("1 second")
      const data = { kind: "tool", phase: "start", toolCallId: `call_${index}`, name: `tool_${index}` }
      yield* setup.gatewayEvent("agent", { ...RUN, stream: "item", data })
    }
  })
  yield* Effect.forkScoped(changes)
  const calls = Effect.gen(function* () {
    yield* Effect.promise(() => resetPlaneStats(setup.plane))
    yield* Effect.sleep(`${PROGRESS_SECONDS} seconds`)
    const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
    return ((functions[PROGRESS]?.calls ?? 0) * 60) / PROGRESS_SECONDS
  })
  const unwatched = yield* calls
  const { accountId } = setup.account
  yield* Effect.promise(() => setup.person.mutation("app/agents:watch", { accountId })).pipe(
    Effect.andThen(Effect.sleep(`${WATCH_SECONDS} seconds`)),
    Effect.forever,
    Effect.forkScoped
  )
  return { unwatched, watched: yield* calls }
}).pipe(Effect.scoped)

/** Runs the measurement. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const delays = yield* eventToPage
    const { off, on, watched } = yield* interleaved({ off: held(false), on: held(true), watched: held(true, true) })
    const { unwatched, watched: reported } = yield* progressCalls
    const toOff = (samples: ReadonlyArray<number>) => samples.map((cpu, index) => cpu / off[index]!)
    const turns = `${SESSIONS} turns of ${(2 * ROUND_MILLIS) / 1_000} s at once`
    return [
      figureOf("event at the gateway to its text on the status page", "ms", delays),
      figureOf("the same, 95th percentile", "ms", [percentile(delays, 0.95)], { below: 500 }),
      figureOf(`processor time of the runtime per delivery, ${turns}, events off`, "ms", off),
      figureOf("the same with events on", "ms", on),
      figureOf("the same with events on and an open status page", "ms", watched),
      figureOf("processor time with events on to off, paired runs", "ratio", toOff(on), { below: 1.25 }),
      figureOf("the same with an open status page", "ratio", toOff(watched)),
      figureOf(`calls that report the progress of ${SESSIONS} turns while no one watches`, "1/min", [unwatched], {
        below: 1
      }),
      figureOf("the same while a person watches", "1/min", [reported]),
      figureOf("the same per watched turn", "1/min", [reported / SESSIONS], { below: 6.01 })
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
