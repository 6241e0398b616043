/**
 * The benefit of the shipped form if only the runtime limits the rate: deliveries a second, warm, with a plane and a
 * gateway that answer after a millisecond, from source and as shipped.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { launch } from "../local/launcher.ts"
import { eventually } from "../test/process/setup.ts"
import { threadMillis } from "./cpu.ts"
import { now, pushed, teamOf } from "./load.ts"
import { inPasses } from "./passes.ts"
import type { Pass, Row } from "./passes.ts"
import { AGENTS } from "./replay.ts"
import { RUNS, secondsOf } from "./runs.ts"
import { setupOf } from "./subject.ts"
import type { Form, Subject } from "./subject.ts"

/** By then code is compiled and pools are filled. */
const WARM_UP = "10 seconds"
const SECONDS = secondsOf(15)
const replayPlane = fileURLToPath(new URL("replayPlane.ts", import.meta.url))

const warm = (subject: Subject) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(subject, { team: teamOf(AGENTS), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted.", delayMs: 1 } })
    const plane = yield* launch({ name: "replay", command: process.execPath, args: [replayPlane, setup.plane.url] })
    const runtime = yield* setup.startRuntime({
      CONVEX_URL: plane.url,
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(AGENTS)
    })
    yield* pushed(setup, runtime)
    const taskId = yield* setup.newTask()
    const completed = Effect.promise(async () => {
      const response = await fetch(`${plane.url}/__completed`)
      return ((await response.json()) as { readonly completed: number }).completed
    })
    // The first message is the one that is copied. Each of the next ones makes a runtime claim that waits for a push.
    yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(setup.post(taskId, "@agent-0 please look at this."), Effect.sleep("1 second")))
    )
    yield* eventually(completed, (count) => count > AGENTS)
    yield* Effect.sleep(WARM_UP)
    const [before, cpuBefore, from] = [yield* completed, threadMillis(runtime.pid), now()]
    yield* Effect.sleep(`${SECONDS} seconds`)
    const count = (yield* completed) - before
    return { rate: (count * 1_000) / (now() - from), cpu: (threadMillis(runtime.pid) - cpuBefore) / count }
  }).pipe(Effect.scoped)

const pass: Pass = ({ root }) =>
  Effect.gen(function* () {
    const source = yield* warm({ root, form: "source" })
    const shipped = yield* warm({ root, form: "shipped" })
    const rows = (form: Form, { cpu, rate }: typeof source): ReadonlyArray<Row> => {
      const how = form === "source" ? "from source" : "as shipped"
      return [
        { name: `deliveries, warm, fakes that answer in 1 ms, ${how}`, unit: "1/s", samples: [rate] },
        { name: `processor time of the runtime per delivery, ${how}`, unit: "ms", samples: [cpu] }
      ]
    }
    return [
      ...rows("source", source),
      ...rows("shipped", shipped),
      {
        name: "rate as shipped to that from source",
        unit: "ratio",
        samples: [shipped.rate / source.rate],
        goal: { atLeast: 0.9 }
      }
    ]
  })

/** Runs the measurement; about six minutes by default. */
export const run = inPasses(pass, RUNS)
