/** Calls that renew leases: a hundred turns that take longer than the measurement. */
import { Effect } from "effect"
import { eventually } from "../test/process/setup.ts"
import { pushed, tasksFor, teamOf } from "./load.ts"
import { inPasses } from "./passes.ts"
import type { Pass } from "./passes.ts"
import { planeStats, resetPlaneStats } from "./planeStats.ts"
import { setupOf } from "./subject.ts"

const SESSIONS = 100
const MINUTES = 5

const pass: Pass = (subject) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(subject, { team: teamOf(SESSIONS), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted.", delayMs: (MINUTES + 3) * 60_000 } })
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS)
    })
    yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, SESSIONS)
    yield* Effect.forEach(tasks, (taskId, index) => setup.post(taskId, `@agent-${index} take your time.`), {
      concurrency: 4
    })
    yield* eventually(setup.posts, (posts) => posts >= SESSIONS)
    yield* Effect.promise(() => resetPlaneStats(setup.plane))
    yield* Effect.sleep(`${MINUTES} minutes`)
    const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
    const renewals = Object.entries(functions)
      .filter(([name]) => /renew/i.test(name))
      .reduce((sum, [, { calls }]) => sum + calls, 0)
    yield* runtime.signal("SIGKILL")
    return [
      {
        name: `renewals, ${SESSIONS} turns that run`,
        unit: "a minute",
        samples: [renewals / MINUTES],
        goal: { below: 4.5 }
      }
    ]
  }).pipe(Effect.scoped)

/** Runs the measurement; about six minutes by default. */
export const run = inPasses(pass, 1)
