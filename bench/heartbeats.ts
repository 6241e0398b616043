/**
 * What heartbeats cost a runtime: the memory and processor time of 1,000 agents' fibers at 15 minutes, those of a whole
 * process that beats as often, and the way from a change of the roster to the new agent's fiber.
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { NewAgent } from "../local/account.ts"
import { launch } from "../local/launcher.ts"
import { eventually, makeHouse } from "../test/process/house.ts"
import type { House } from "../test/process/house.ts"
import { cpuMillis } from "./cpu.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"

const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 30)
/** Heartbeats of a process are spread over a part of their interval: only whole intervals tell the average. */
const INTERVAL_SECONDS = 60
const fibers = fileURLToPath(new URL("heartbeatFibers.ts", import.meta.url))

const now = (): number => performance.timeOrigin + performance.now()

/** Resident memory in MB, on Linux. */
const residentMegabytes = (pid: number): number => {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return Number(kilobytes ?? Number.NaN) / 1_024
}

/** The share of one core that a process takes while the clock runs on. */
const coreShare = (pid: number, seconds: number) =>
  Effect.gen(function* () {
    const [before, from] = [cpuMillis(pid), now()]
    yield* Effect.sleep(`${seconds} seconds`)
    return ((cpuMillis(pid) - before) / (now() - from)) * 100
  })

/** The program of heartbeats alone, over a control plane that answers from memory. */
const fibersOf = (agents: number) =>
  Effect.gen(function* () {
    const child = yield* launch({
      name: `fibers-${agents}`,
      command: process.execPath,
      args: ["--expose-gc", fibers, String(agents)],
      readyTimeout: 60_000
    })
    const share = yield* coreShare(child.pid, SECONDS)
    return { megabytes: Number(child.ready["megabytes"]), share }
  }).pipe(Effect.scoped)

const team = (size: number): ReadonlyArray<NewAgent> =>
  Array.from({ length: size }, (_, index) => ({ slug: `agent-${index}`, name: `Agent ${index}`, role: "answers" }))

const setHeartbeats = (house: House, heartbeat: number) =>
  Effect.forEach(
    Object.values(house.account.agents),
    (agentId) =>
      Effect.promise(() =>
        house.person.mutation("app/agents:update", { accountId: house.account.accountId, agentId, heartbeat })
      ),
    { concurrency: 8, discard: true }
  )

/** A whole runtime with that many agents, beating every so many minutes once the first beats are over. */
const processOf = (agents: number, minutes: number) =>
  Effect.gen(function* () {
    const house = yield* makeHouse({ team: team(agents), gatewayArgs: ["--max-concurrent", "200"] })
    yield* house.script({ fallback: { text: "HEARTBEAT_OK" } })
    yield* setHeartbeats(house, minutes)
    const runtime = yield* house.startRuntime({ LOG_LEVEL: "error" })
    const beats = Effect.map(house.health(runtime), ({ heartbeats }) => Number(heartbeats.outcomes.ok ?? 0))
    if (agents > 1) yield* eventually(beats, (count) => count >= agents)
    const before = yield* beats
    const share = yield* coreShare(runtime.pid, INTERVAL_SECONDS)
    return { megabytes: residentMegabytes(runtime.pid), share, rate: ((yield* beats) - before) / INTERVAL_SECONDS }
  }).pipe(Effect.scoped)

/** Milliseconds from the person's call that adds an agent to its fiber, as the runtime's log tells it. */
const rosterToFiber = Effect.gen(function* () {
  const added = Array.from({ length: 12 }, (_, index) => `newcomer-${index}`)
  const house = yield* makeHouse({ gatewayArgs: ["--agents", ["squad-lead", "engineer", "qa", ...added].join(",")] })
  const seen = new Map<string, number>()
  const runtime = yield* house.startRuntime(
    { LOG_LEVEL: "debug" },
    {
      onLine: (line) => {
        const slug = /heartbeats of ([a-z0-9-]+) are kept/.exec(line)?.[1]
        if (slug !== undefined) seen.set(slug, now())
      }
    }
  )
  yield* eventually(house.health(runtime), (health) => health["controlPlane"]["push"] === true && seen.size === 3)
  const samples: Array<number> = []
  for (const slug of added) {
    const from = now()
    yield* Effect.promise(() =>
      house.person.mutation("app/agents:create", {
        accountId: house.account.accountId,
        slug,
        name: slug,
        role: "helps",
        heartbeat: 1_440
      })
    )
    yield* eventually(
      Effect.sync(() => seen.get(slug)),
      (at) => at !== undefined
    )
    samples.push((seen.get(slug) ?? Number.NaN) - from)
  }
  return figureOf("roster change to the new agent's fiber, with push", "ms", samples.slice(2), { below: 100 })
}).pipe(Effect.scoped)

/** Runs the measurements one after another; about three minutes. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const one = (name: string, unit: string, value: number, below?: number): Figure =>
      figureOf(name, unit, [value], below === undefined ? undefined : { below })
    const change = yield* rosterToFiber
    const none = yield* fibersOf(1)
    const thousand = yield* fibersOf(1_000)
    // An account holds 200 agents at most: 67 at one minute beat as often as 1,000 at 15.
    const idle = yield* processOf(1, 1_440)
    const busy = yield* processOf(67, INTERVAL_SECONDS / 60)
    return [
      change,
      one("1,000 agents' fibers add to the heap", "MB", thousand.megabytes - none.megabytes, 60),
      one("and take of a core while first beats come, without network", "%", thousand.share - none.share, 3),
      one("a process that beats as often as 1,000 agents at 15 minutes", "1/s", busy.rate),
      one("takes more of a core than an idle one, turns included", "%", busy.share - idle.share, 3),
      one("and holds more resident memory, garbage included", "MB", busy.megabytes - idle.megabytes)
    ]
  }).pipe(Effect.runPromise)
