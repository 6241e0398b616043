/** The cost of heartbeats: a runtime and a plane with as many heartbeats as 1,000 agents at 15 minutes have. */
import { Effect } from "effect"
import { eventually } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
import { cpuMillis } from "./cpu.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { residentMegabytes } from "./footprint.ts"
import { pushed, teamOf } from "./load.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"
import { here, setupOf } from "./subject.ts"

/** An account has at most 200 agents. 67 agents at one minute have as many heartbeats as 1,000 at 15 minutes. */
const AGENTS = 67
const MINUTES = 2
/** Heartbeats are spread over a part of their interval, so only whole intervals give the average. */
const SECONDS = MINUTES * 60

const setHeartbeats = (setup: Setup, heartbeat: number) =>
  Effect.forEach(
    Object.values(setup.account.agents),
    (agentId) =>
      Effect.promise(() =>
        setup.person.mutation("app/agents:update", { accountId: setup.account.accountId, agentId, heartbeat })
      ),
    { concurrency: 8, discard: true }
  )

/** A runtime with that many agents, measured over whole intervals after each agent's first heartbeat. */
const measured = (agents: number, heartbeatMinutes: number) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(here, { team: teamOf(agents), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "HEARTBEAT_OK" } })
    yield* setHeartbeats(setup, heartbeatMinutes)
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    const ended = Effect.map(setup.health(runtime), ({ heartbeats }) => Number(heartbeats.outcomes.ok ?? 0))
    if (agents > 1) yield* eventually(ended, (count) => count >= agents)
    yield* Effect.promise(() => resetPlaneStats(setup.plane))
    const before = { ended: yield* ended, runtime: cpuMillis(runtime.pid), plane: cpuMillis(setup.plane.pid) }
    yield* Effect.sleep(`${SECONDS} seconds`)
    const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
    const costs = Object.entries(functions).filter(([name]) => name.startsWith("service/"))
    return {
      heartbeats: (yield* ended) - before.ended,
      runtimeMillis: cpuMillis(runtime.pid) - before.runtime,
      planeMillis: cpuMillis(setup.plane.pid) - before.plane,
      megabytes: residentMegabytes(runtime.pid),
      calls: costs.reduce((sum, [, { calls }]) => sum + calls, 0),
      documents: costs.reduce((sum, [, { documentsRead }]) => sum + documentsRead, 0)
    }
  }).pipe(Effect.scoped)

/** Runs the measurements one after another; about seven minutes. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const idle = yield* measured(1, 1_440)
    const busy = yield* measured(AGENTS, 1)
    const one = (name: string, unit: string, value: number, below?: number): Figure =>
      figureOf(name, unit, [value], below === undefined ? undefined : { below })
    const each = (of: (side: typeof busy) => number): number => (of(busy) - of(idle)) / busy.heartbeats
    const share = (busy.runtimeMillis - idle.runtimeMillis) / (SECONDS * 10)
    return [
      one("heartbeats, as many as 1,000 agents at 15 minutes have", "1/s", busy.heartbeats / SECONDS),
      one("take of a core more than an idle runtime, turns included", "%", share, 3),
      one(
        "processor time of the runtime for one",
        "ms",
        each(({ runtimeMillis }) => runtimeMillis)
      ),
      one(
        "processor time of the plane for one",
        "ms",
        each(({ planeMillis }) => planeMillis)
      ),
      one(
        "control-plane calls for one, subscription updates included",
        "",
        each(({ calls }) => calls)
      ),
      one(
        "documents read for one",
        "",
        each(({ documents }) => documents)
      ),
      one("memory of that runtime more than of an idle one", "MB", busy.megabytes - idle.megabytes)
    ]
  }).pipe(Effect.runPromise)
