#!/usr/bin/env node
/**
 * `npm run soak -- --minutes 20`: mixed load and faults on a plane, a gateway and three runtimes. Two of the runtimes
 * keep running and are measured: memory after garbage collection, handles, timers and listeners must stay flat. The
 * third is killed from time to time. At the end the load stops, and the plane's file shows whether anything is lost or
 * doubled. The result is stored in bench/results; --kept shows the last one again, --write puts it into
 * docs/performance.md.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { Cause, Effect, Exit, Fiber, Schedule } from "effect"
import { machineNow } from "../machine.ts"
import { optionsOf, refuse } from "../options.ts"
import { writeSection } from "../page.ts"
import { chaos } from "./chaos.ts"
import { documentsIn, ledgerOf } from "./ledger.ts"
import { problemsOf, soakMarkdown } from "./report.ts"
import type { SoakResult } from "./report.ts"
import { filesOf, sampleOf } from "./sample.ts"
import type { Observed } from "./sample.ts"
import { people, strangers } from "./traffic.ts"
import type { Journal } from "./traffic.ts"
import { trendOf } from "./trend.ts"
import type { Trend } from "./trend.ts"
import { makeWorld } from "./world.ts"
import type { World } from "./world.ts"

const usage = "usage: npm run soak -- [--minutes N] [--seed N] [--json] [--kept] [--write]\n"
const { values } = optionsOf("soak", usage, {
  options: {
    minutes: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    kept: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
const minutes = Number(values.minutes)
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}
if (!(minutes > 0 && minutes < Infinity)) {
  refuse("soak", `--minutes is ${JSON.stringify(values.minutes)}: give a number above 0`, usage)
}
if (!/^\d+$/.test(values.seed)) refuse("soak", `--seed is ${JSON.stringify(values.seed)}: give a whole number`, usage)

/** Random numbers from a seed (mulberry32). The seed does not control the timing of the processes. */
const randomFrom = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const say = (line: string): void => {
  if (!values.json) process.stdout.write(`${line}\n`)
}

const SAMPLE_SECONDS = Math.max(2, Math.min(15, minutes))
const begin = performance.now()
const elapsed = (): number => (performance.now() - begin) / 1_000

const observe = async ({ launched, socket }: World["watched"][number]): Promise<Observed> => {
  const sample = await sampleOf(socket)
  const health = (await (await fetch(`${launched.url}/health`)).json()) as {
    readonly delivery: { readonly deliveredCount: number; readonly failureCount: number }
  }
  const { deliveredCount, failureCount } = health.delivery
  return { ...sample, at: elapsed(), files: filesOf(launched.pid), deliveries: deliveredCount + failureCount }
}

const MEGABYTE = 2 ** 20

/**
 * The quantities that must stay flat, and the growth an hour that still counts as flat: a day of it would be visible.
 */
const quantities: ReadonlyArray<readonly [name: string, unit: string, limit: number, of: (one: Observed) => number]> = [
  ["heap after collection", "MB", 5, ({ heap }) => heap / MEGABYTE],
  ["memory outside the heap", "MB", 5, ({ external }) => external / MEGABYTE],
  ["resident memory", "MB", 30, ({ resident }) => resident / MEGABYTE],
  ["handles", "", 10, ({ handles }) => handles],
  ["sockets", "", 10, ({ sockets }) => sockets],
  ["file descriptors", "", 10, ({ files }) => files],
  ["timers", "", 15, ({ timers }) => timers],
  ["listeners of the process", "", 1, ({ listeners }) => listeners],
  ["listener warnings", "", 0, ({ warnings }) => warnings],
  ["event emitters", "", 60, ({ emitters }) => emitters],
  ["event targets (abort signals)", "", 60, ({ signals }) => signals],
  ["promises", "", 300, ({ promises }) => promises]
]

const rowStates = (world: World, taskId?: string): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(() =>
    world.person.query("app/notifications:list", {
      accountId: world.account.accountId,
      limit: 500,
      ...(taskId === undefined ? {} : { taskId })
    })
  ).pipe(
    Effect.map((rows: ReadonlyArray<{ readonly recipientType: string; readonly state: string }>) =>
      rows.filter(({ recipientType }) => recipientType === "agent").map(({ state }) => state)
    )
  )

const open = new Set(["ready", "claimed"])

/** Waits until no notification is open, at most ten minutes: a breaker that opened at the end waits up to five. */
const rest = (world: World, journal: Journal) =>
  Effect.gen(function* () {
    let left: ReadonlyArray<string> = journal.tasks
    const look = Effect.gen(function* () {
      const busy = yield* Effect.filter(left, (taskId) =>
        Effect.map(rowStates(world, taskId), (states) => states.some((state) => open.has(state)))
      )
      left = busy
      const others = yield* rowStates(world)
      return busy.length === 0 && others.every((state) => !open.has(state))
    })
    return yield* look.pipe(
      Effect.repeat({ schedule: Schedule.spaced("3 seconds"), until: (isQuiet) => isQuiet }),
      Effect.timeoutOrElse({ duration: "10 minutes", orElse: () => Effect.succeed(false) })
    )
  })

const soak = Effect.gen(function* () {
  const machine = machineNow()
  const random = randomFrom(Number(values.seed))
  const world = yield* makeWorld(random)
  const journal: Journal = { certain: new Set(), perhaps: new Set(), tasks: [], counts: new Map() }
  const mishaps = new Map<string, number>()
  const samples = new Map<string, Array<Observed>>(world.watched.map(({ id }) => [id, []]))
  const watcher = Effect.gen(function* () {
    for (const one of world.watched) {
      const observed = yield* Effect.promise(() => observe(one))
      samples.get(one.id)!.push(observed)
      say(
        `${observed.at.toFixed(0).padStart(5)} s  ${one.id.padEnd(9)} heap ${(observed.heap / MEGABYTE).toFixed(1)} MB, ` +
          `resident ${(observed.resident / MEGABYTE).toFixed(0)} MB, handles ${observed.handles}, timers ${observed.timers}, ` +
          `emitters ${observed.emitters}, promises ${observed.promises}, deliveries ${observed.deliveries}`
      )
    }
    yield* Effect.sleep(`${SAMPLE_SECONDS} seconds`)
  }).pipe(Effect.forever)
  const load = yield* Effect.forkScoped(
    Effect.all([people(world, random, journal), strangers(world, random), watcher], { concurrency: "unbounded" })
  )
  const faults = yield* Effect.forkScoped(chaos(world, random, mishaps))
  // The soak ends if a watched runtime exits.
  yield* Effect.forEach(
    world.watched,
    ({ id, launched }) =>
      Effect.flatMap(launched.exit, (ending) => Effect.die(new Error(`${id} ended: ${JSON.stringify(ending)}`))),
    { concurrency: "unbounded", discard: true }
  ).pipe(Effect.timeoutOrElse({ duration: `${minutes} minutes`, orElse: () => Effect.void }))
  yield* Fiber.interrupt(load)
  yield* Fiber.interrupt(faults)
  say("the load ends, waiting for open notifications")
  world.model.isBusy = false
  for (const process of [world.plane, world.gateway, world.mortal]) {
    const running = yield* process.running
    if (running === undefined) yield* process.start
    else yield* running.signal("SIGCONT")
  }
  yield* Effect.promise(async () => {
    await fetch(`${world.gatewayUrl}/__local/faults`, { method: "DELETE" })
    const headers = { authorization: `Convex ${world.adminKey}` }
    await fetch(`${world.planeUrl}/__local/faults`, { method: "DELETE", headers })
  })
  const isQuiet = yield* rest(world, journal)
  const restedAfter = elapsed() - minutes * 60
  for (const one of world.watched) samples.get(one.id)!.push(yield* Effect.promise(() => observe(one)))
  const warnings = world.watched.flatMap(({ id, launched }) =>
    launched
      .output()
      .split("\n")
      .filter((line) => /Defect|uncaught|unhandled|ExceededWarning/i.test(line))
      .map((line) => `${id}: ${line.slice(0, 300)}`)
  )
  for (const { launched } of world.watched) yield* launched.signal("SIGTERM")
  const exits = yield* Effect.forEach(world.watched, ({ launched }) => launched.exit, { concurrency: 2 })
  yield* world.mortal.kill
  const plane = yield* world.plane.running
  yield* plane!.signal("SIGTERM")
  yield* plane!.exit
  const ledger = ledgerOf(documentsIn(world.data), journal)
  const trends = world.watched.map(({ id }) => ({
    id,
    trends: quantities.map(([name, unit, limit, of]): Trend =>
      trendOf(
        name,
        unit,
        limit,
        samples.get(id)!.map((one) => [one.at, of(one)] as const)
      )
    )
  }))
  return {
    at: new Date().toISOString(),
    minutes,
    seed: Number(values.seed),
    machine,
    isQuiet,
    restedAfter,
    exits: exits.map(({ code }) => code),
    load: Object.fromEntries(journal.counts),
    mishaps: Object.fromEntries([...mishaps].toSorted()),
    ledger,
    trends,
    warnings,
    samples: Object.fromEntries(samples)
  }
}).pipe(Effect.scoped)

const file = join(import.meta.dirname, "..", "results", "soak.json")

const measure = async (): Promise<SoakResult> => {
  const exit = await Effect.runPromiseExit(soak)
  if (Exit.isFailure(exit)) {
    process.stderr.write(`soak: ${Cause.pretty(exit.cause)}\n`)
    return process.exit(1)
  }
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(exit.value, null, 2)}\n`)
  return exit.value
}

const result = values.kept ? (JSON.parse(readFileSync(file, "utf8")) as SoakResult) : await measure()
process.stdout.write(`${values.json ? JSON.stringify(result) : soakMarkdown(result)}\n`)
if (values.write) writeSection("soak", soakMarkdown(result))
process.exit(problemsOf(result).length === 0 ? 0 : 1)
