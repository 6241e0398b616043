/**
 * The cost of traces: deliveries held with tracing off and on alternately, with a receiver that accepts everything at
 * once.
 */
import { createServer } from "node:http"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"
import { makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { hold, TASKS_PER_AGENT, tasksFor, teamOf } from "./load.ts"
import { interleaved, secondsOf } from "./runs.ts"

const SESSIONS = 100
const SECONDS = secondsOf(20)

const receiver = Effect.map(
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<Server>((resolve) => {
          const server = createServer((request, response) => {
            request.resume()
            request.on("end", () => response.writeHead(200).end())
          })
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
    ),
    (server) => Effect.sync(() => void server.close())
  ),
  (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
)

const held = (env: Record<string, string>) =>
  Effect.gen(function* () {
    const setup = yield* makeSetup({ team: teamOf(SESSIONS), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted." } })
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS),
      ...env
    })
    const tasks = yield* tasksFor(setup, SESSIONS, TASKS_PER_AGENT)
    return yield* hold(setup, [runtime], { tasks, sessions: SESSIONS, seconds: SECONDS })
  }).pipe(Effect.scoped)

/** Runs both alternately and compares each pair. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const endpoint = yield* receiver
    const { off, on } = yield* interleaved({ off: held({}), on: held({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }) })
    return [
      figureOf(
        `deliveries held for ${SECONDS} s, tracing off`,
        "1/s",
        off.map(({ rate }) => rate)
      ),
      figureOf(
        "the same with tracing on",
        "1/s",
        on.map(({ rate }) => rate)
      ),
      figureOf(
        "throughput with tracing on, of that with it off",
        "%",
        on.map(({ rate }, index) => (100 * rate) / off[index]!.rate),
        { atLeast: 85 }
      ),
      figureOf(
        "processor time of the runtime per delivery, tracing off",
        "ms",
        off.map(({ cpu }) => cpu["runtime"]!)
      ),
      figureOf(
        "the same with tracing on",
        "ms",
        on.map(({ cpu }) => cpu["runtime"]!)
      )
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
