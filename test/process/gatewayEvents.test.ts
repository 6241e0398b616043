import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Launched } from "../../local/launcher.ts"
import type { Action } from "../../local/model/script.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"
import { stopInOpenClaw } from "./stopInOpenClaw.ts"

/** The session of each request, oldest first. */
const sessionsOf = ({ requests }: Setup) =>
  Effect.map(requests, (all) => all.map((request) => (request as unknown as { readonly session: string }).session))

const untilLogged = (runtime: Launched, line: string) =>
  eventually(
    Effect.sync(() => runtime.output()),
    (output) => output.includes(line)
  )

/** A runtime that follows its turns, and a request to the engineer that the model treats as scripted. */
const requested = Effect.fnUntraced(function* (actions: ReadonlyArray<Action>) {
  const setup = yield* makeSetup()
  yield* setup.script({ rules: [{ match: "the first request", actions }], fallback: { text: "Here." } })
  const runtime = yield* setup.startRuntime({ LOG_LEVEL: "debug" })
  yield* untilLogged(runtime, "the gateway's events are connected")
  const taskId = yield* setup.newTask()
  yield* setup.post(taskId, "@engineer the first request")
  const run = Effect.map(setup.notifications, (rows) => rows.find(({ type }) => type === "mention"))
  return { setup, runtime, taskId, run }
})

const overflow: Action = {
  status: 400,
  body: { error: { code: "context_length_exceeded", message: "maximum context length is 128000 tokens" } }
}

describe("the gateway's events", () => {
  it.live("end a run as stopped that a person stops in OpenClaw, for good, and the next request is answered", () =>
    Effect.gen(function* () {
      const { run, setup, taskId } = yield* requested([{ text: "too late", delayMs: 60_000 }])
      const [sessionKey = ""] = yield* eventually(sessionsOf(setup), (all) => all.length === 1)
      yield* stopInOpenClaw({ url: setup.gateway.url, token: "" }, sessionKey)
      const row = yield* eventually(run, (found) => found?.outcome !== null)
      assert.deepInclude(row, { state: "delivered", outcome: "stopped" })
      const [, note] = yield* setup.messages(taskId)
      assert.include(note?.content, "Engineer was stopped in OpenClaw.")
      yield* setup.post(taskId, "@engineer the second request")
      yield* eventually(setup.messages(taskId), (all) => all.some(({ content }) => content === "Here."))
      // The reply also notifies the squad lead, whose request may already be there.
      const requests = (yield* setup.requests).filter(({ agent }) => agent === "engineer")
      assert.lengthOf(requests, 2)
      assert.include(requests[1]?.input, `Stopped runs, which you must not continue`)
      assert.include(requests[1]?.input, row?.id)
    }).pipe(Effect.scoped)
  )

  it.live("replace a session that is too long with a new one at the next attempt", () =>
    Effect.gen(function* () {
      const { run, setup } = yield* requested([overflow])
      const row = yield* eventually(run, (found) => found?.outcome !== null)
      assert.deepInclude(row, { outcome: "replied", attempts: 2 })
      const [first = "", second] = yield* sessionsOf(setup)
      assert.strictEqual(second, `${first}:g2`)
    }).pipe(Effect.scoped)
  )

  it.live("may be absent: the same end is not explained, and its retry runs in the same session", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({
        rules: [{ match: "the first request", actions: [overflow] }],
        fallback: { text: "Here." }
      })
      yield* setup.startRuntime({ OPENCLAW_GATEWAY_EVENTS: "false" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer the first request")
      yield* eventually(setup.messages(taskId), (all) => all.some(({ content }) => content === "Here."))
      const [first, second] = yield* sessionsOf(setup)
      assert.strictEqual(second, first)
    }).pipe(Effect.scoped)
  )
})
