/**
 * One message in an otherwise idle account: the times from its sending to the gateway's receipt of its turn, with a
 * near and a distant plane; the calls and documents of its delivery; the documents that a completion reads.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { launch } from "../local/launcher.ts"
import { functions } from "../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { arrivalsByAgent, deliveredBy, forgetArrivals, now, pushed, teamOf } from "./load.ts"
import { inPasses } from "./passes.ts"
import type { Pass, Row } from "./passes.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"
import type { PlaneStats } from "./planeStats.ts"
import { RUNS } from "./runs.ts"
import { setupOf } from "./subject.ts"
import type { Subject } from "./subject.ts"
import { tapTo } from "./tap.ts"
import type { Passed } from "./tap.ts"

const AGENTS = 5
const LARGE_TEAM = 20
/** Messages of a thread, including the measured one. */
const THREAD = 25
const WARM_UP = 3
/** Measured messages of a pass, for each distance. */
const MESSAGES = 8
/** Each of the two setups is quiet for the second half of its own wait and for the whole wait of the other. */
const QUIET = "2500 millis"
/** One way; the round trip takes twice this. */
const FAR_MILLIS = 15
const proxy = fileURLToPath(new URL("delayProxy.ts", import.meta.url))

/** A runtime that reaches its plane through a tap, and its messages. */
const loneSetup = (subject: Subject, delay: number) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(subject, { team: teamOf(AGENTS) })
    yield* setup.script({ fallback: { text: "Noted." } })
    const far =
      delay === 0
        ? setup.plane
        : yield* launch({
            name: "proxy",
            command: process.execPath,
            args: [proxy, new URL(setup.plane.url).port, String(delay)]
          })
    const { passed, url } = yield* tapTo(far.url)
    const runtime = yield* setup.startRuntime({ CONVEX_URL: url, LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    const tasks = yield* Effect.forEach(Array.from({ length: WARM_UP + MESSAGES }), () =>
      Effect.tap(setup.newTask(), (taskId) =>
        Effect.forEach(Array.from({ length: THREAD - 1 }), (_, index) => setup.post(taskId, `Remark ${index}.`))
      )
    )
    let used = 0
    const deliver = Effect.fnUntraced(function* (task: number) {
      const before = yield* deliveredBy(setup, [runtime])
      yield* forgetArrivals(setup)
      yield* Effect.promise(() => resetPlaneStats(setup.plane))
      passed.length = 0
      const agent = `agent-${task % AGENTS}`
      const sentAt = now()
      yield* setup.post(tasks[task]!, `@${agent} please look at this.`)
      const postedAt = now()
      yield* Effect.sleep(QUIET)
      const stats = yield* Effect.promise(() => planeStats(setup.plane))
      const arrivals = (yield* arrivalsByAgent(setup)).get(agent) ?? []
      if ((yield* deliveredBy(setup, [runtime])) !== before + 1 || arrivals.length !== 1) {
        throw new Error(`one message made ${arrivals.length} turns, or was not delivered in time`)
      }
      return { sentAt, postedAt, arrivedAt: arrivals[0]!.at, passed: [...passed], stats }
    })
    /** A message in a thread that the agent's session has not seen. */
    const deliverFirst = Effect.suspend(() => deliver(used++))
    /** The next one in the same thread, of which only the new messages are read. */
    const deliverNext = Effect.suspend(() => deliver(used - 1))
    return { deliverFirst, deliverNext }
  })

type Delivered = {
  readonly sentAt: number
  readonly postedAt: number
  readonly arrivedAt: number
  readonly passed: ReadonlyArray<Passed>
  readonly stats: PlaneStats
}

/** Milliseconds from the message's sending to the first event of this kind. */
const since = ({ passed, sentAt }: Delivered, what: Passed["what"], path: RegExp): number | undefined => {
  const first = passed.find((each) => each.what === what && path.test(each.path))
  return first === undefined ? undefined : first.at - sentAt
}

const waterfall = (distance: string, messages: ReadonlyArray<Delivered>): ReadonlyArray<Row> => {
  const row = (name: string, of: (message: Delivered) => number | undefined): ReadonlyArray<Row> => {
    const samples = messages.map(of).filter((millis) => millis !== undefined)
    return samples.length === 0 ? [] : [{ name: `lone message, plane ${distance}: ${name}`, unit: "ms", samples }]
  }
  return [
    ...row("sent to posted", (message) => message.postedAt - message.sentAt),
    ...row("sent to push received", (message) => since(message, "pushed", /^/)),
    ...row("sent to claim sent", (message) => since(message, "sent", /:claim$/)),
    ...row("sent to claim answered", (message) => since(message, "answered", /:claim$/)),
    ...row("sent to context answered", (message) => since(message, "answered", /:context$/)),
    ...row("sent to POST at the gateway", (message) => message.arrivedAt - message.sentAt),
    ...row("sent to completion answered", (message) => since(message, "answered", /:complete\w*$/))
  ]
}

/** Functions that the delivery calls; a person's calls and scheduled calls do not count. */
const ofDelivery = (stats: PlaneStats) =>
  Object.entries(stats.functions).filter(([name]) => name.startsWith("service/") && name !== functions.pulse)

const documents = (stats: PlaneStats): number =>
  ofDelivery(stats).reduce((sum, [, { documentsRead }]) => sum + documentsRead, 0)

const costs = (messages: ReadonlyArray<Delivered>): ReadonlyArray<Row> => {
  const count = (stats: PlaneStats): number =>
    ofDelivery(stats).reduce((sum, [, { byOrigin }]) => sum + byOrigin.client, 0)
  const every = (of: (stats: PlaneStats) => number): ReadonlyArray<number> => messages.map(({ stats }) => of(stats))
  const names = [...new Set(messages.flatMap(({ stats }) => ofDelivery(stats).map(([name]) => name)))].toSorted()
  return [
    {
      name: "calls and pushes of a lone delivery",
      unit: "calls",
      samples: every((stats) => count(stats) + stats.transitions),
      goal: { below: 3.5 }
    },
    { name: "of these pushes", unit: "pushes", samples: every(({ transitions }) => transitions) },
    {
      name: `documents read by a lone delivery, ${AGENTS} agents, thread of ${THREAD} that is new to the agent`,
      unit: "documents",
      samples: every(documents),
      goal: { below: 45.5 }
    },
    ...names.flatMap((name): ReadonlyArray<Row> => [
      {
        name: `of these by \`${name}\``,
        unit: "documents",
        samples: every((stats) => stats.functions[name]?.documentsRead ?? 0)
      },
      {
        name: `runs of \`${name}\``,
        unit: "runs",
        samples: every((stats) => stats.functions[name]?.calls ?? 0)
      }
    ])
  ]
}

const completions = (subject: Subject) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(subject, { team: teamOf(LARGE_TEAM) })
    yield* setup.script({ fallback: { text: "Noted." } })
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    const samples: Array<number> = []
    for (let message = 0; message < 3; message++) {
      const taskId = yield* setup.newTask()
      yield* Effect.promise(() => resetPlaneStats(setup.plane))
      yield* setup.post(taskId, `@agent-${message} please look at this.`)
      yield* Effect.sleep("1 second")
      const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
      const ends = Object.entries(functions).filter(([name]) => /:complete\w*$/.test(name))
      const calls = ends.reduce((sum, [, stats]) => sum + stats.calls, 0)
      samples.push(ends.reduce((sum, [, stats]) => sum + stats.documentsRead, 0) / calls)
    }
    const row: Row = {
      name: `documents read by a completion, ${LARGE_TEAM} agents`,
      unit: "documents",
      samples,
      goal: { below: 16.5 }
    }
    return row
  }).pipe(Effect.scoped)

const pass: Pass = (subject) =>
  Effect.gen(function* () {
    const completion = yield* completions(subject)
    const [near, far] = yield* Effect.all([loneSetup(subject, 0), loneSetup(subject, FAR_MILLIS)])
    const messages = { near: [] as Array<Delivered>, far: [] as Array<Delivered>, next: [] as Array<Delivered> }
    for (let message = -WARM_UP; message < MESSAGES; message++) {
      const here = yield* near.deliverFirst
      const there = yield* far.deliverFirst
      if (message < 0) continue
      messages.near.push(here)
      messages.far.push(there)
      messages.next.push(yield* near.deliverNext)
    }
    return [
      ...waterfall("at hand", messages.near),
      ...waterfall("30 ms away (there and back)", messages.far),
      ...costs([...messages.near, ...messages.far]),
      {
        name: "documents read by the next delivery in the same thread",
        unit: "documents",
        samples: messages.next.map(({ stats }) => documents(stats)),
        goal: { below: 45.5 }
      },
      completion
    ]
  }).pipe(Effect.scoped)

/** Runs the measurement; about six minutes by default. */
export const run = inPasses(pass, RUNS)
