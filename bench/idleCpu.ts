/** Processor time a minute and resident memory of an idle runtime with five agents. */
import { Effect } from "effect"
import { threadMillis } from "./cpu.ts"
import { residentMegabytes } from "./footprint.ts"
import { pushed, teamOf } from "./load.ts"
import { inPasses } from "./passes.ts"
import type { Pass } from "./passes.ts"
import { RUNS, secondsOf } from "./runs.ts"
import { setupOf } from "./subject.ts"

const AGENTS = 5
/** By then the work of the start has ended. */
const SETTLED = "20 seconds"
/** Each minute has one pulse. */
const SECONDS = secondsOf(60)

const pass: Pass = (subject) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(subject, { team: teamOf(AGENTS) })
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    yield* Effect.sleep(SETTLED)
    const before = threadMillis(runtime.pid)
    yield* Effect.sleep(`${SECONDS} seconds`)
    const used = threadMillis(runtime.pid) - before
    return [
      { name: `processor time of an idle runtime, ${AGENTS} agents`, unit: "ms/min", samples: [(used * 60) / SECONDS] },
      { name: `memory of an idle runtime, ${AGENTS} agents`, unit: "MB", samples: [residentMegabytes(runtime.pid)] }
    ]
  }).pipe(Effect.scoped)

/** Runs the measurement; about seven minutes by default. */
export const run = inPasses(pass, RUNS)
