/**
 * Typical rates of accounts: processor time per delivery and latency from creation to POST, at 6 and at 50 messages a
 * second.
 */
import { Effect } from "effect"
import { threadMillis } from "./cpu.ts"
import { percentile } from "./figure.ts"
import { createdToPost, pushed, TASKS_PER_AGENT, tasksFor, teamOf } from "./load.ts"
import { inPasses } from "./passes.ts"
import type { Pass, Row } from "./passes.ts"
import { RUNS, secondsOf } from "./runs.ts"
import { setupOf } from "./subject.ts"

const AGENTS = 20

/** Messages a second; the duration of the warm-up and of the measurement, in seconds. */
const RATES = [
  { rate: 6, warmUp: 10, seconds: secondsOf(30) },
  { rate: 50, warmUp: 4, seconds: secondsOf(15) }
]

const pass: Pass = (subject) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(subject, { team: teamOf(AGENTS), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted." } })
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(AGENTS)
    })
    yield* pushed(setup, runtime)
    const rows: Array<Row> = []
    for (const { rate, seconds, warmUp } of RATES) {
      const tasks = yield* tasksFor(setup, AGENTS, TASKS_PER_AGENT)
      const send = (length: number) =>
        createdToPost(setup, runtime, {
          tasks,
          perAgent: TASKS_PER_AGENT,
          fast: AGENTS,
          count: Math.ceil(length * rate),
          pace: 1_000 / rate
        })
      yield* send(warmUp)
      const before = threadMillis(runtime.pid)
      const latencies = yield* send(seconds)
      const used = threadMillis(runtime.pid) - before
      rows.push(
        {
          name: `${rate} messages a second: processor time of the runtime per delivery`,
          unit: "ms",
          samples: [used / latencies.length]
        },
        {
          name: `${rate} messages a second: created to POST, p50 of each run`,
          unit: "ms",
          samples: [percentile(latencies, 0.5)]
        }
      )
    }
    return rows
  }).pipe(Effect.scoped)

/** Runs the measurement; about six minutes by default. */
export const run = inPasses(pass, RUNS)
