import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planeStats } from "../../bench/planeStats.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const JOIN = "service/notifications:join"
const FIRST = "fix the login button"
const SECOND = "and the logout button"

/** The first round calls a tool while the person writes; the request with the message is answered so. */
const scriptOf = (second: object) => ({
  rules: [
    { match: SECOND, actions: [second] },
    { match: SECOND, repeat: true, actions: [{ text: "Both done." }] },
    { match: FIRST, actions: [{ toolCalls: [{ name: "task_list", args: {} }], delayMs: 1_000 }] },
    { match: FIRST, repeat: true, actions: [{ text: "First done." }] }
  ],
  fallback: { text: "NO_ACTION" }
})

/** Starts a turn, and posts the second message while the model works on its first request. */
const interject = Effect.fnUntraced(function* (setup: Setup) {
  const taskId = yield* setup.newTask()
  yield* setup.post(taskId, `@squad-lead ${FIRST}`)
  yield* eventually(setup.posts, (count) => count === 1)
  yield* setup.post(taskId, `@squad-lead ${SECOND}`)
  return taskId
})

const contentsOf = (setup: Setup, taskId: string) =>
  Effect.map(setup.messages(taskId), (messages) => messages.map(({ content }) => content))

const thread = [`@squad-lead ${FIRST}`, `@squad-lead ${SECOND}`, "Both done."]

describe("a message for a running turn", () => {
  it.live("is in its next request, and one reply answers both", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script(scriptOf({ text: "Both done." }))
      yield* setup.startRuntime()
      const taskId = yield* interject(setup)
      assert.deepStrictEqual(yield* eventually(contentsOf(setup, taskId), (all) => all.length === 3), thread)
      const [row, ...more] = yield* setup.notifications
      assert.deepInclude(row, { outcome: "replied", attempts: 1 })
      assert.deepStrictEqual(more, [])
      assert.strictEqual(yield* setup.posts, 2)
      const calls = (yield* Effect.promise(() => planeStats(setup.plane))).functions[JOIN]?.calls
      assert.strictEqual(calls, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is answered once with the request if the runtime is killed after the message joined", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script(scriptOf({ hang: true }))
      const runtime = yield* setup.startRuntime({ DELIVERY_MAX_ATTEMPTS: "2" })
      const taskId = yield* interject(setup)
      yield* eventually(setup.posts, (count) => count === 2)
      yield* runtime.signal("SIGKILL")
      yield* runtime.exit
      yield* setup.startRuntime({ DELIVERY_MAX_ATTEMPTS: "2" })
      assert.deepStrictEqual(yield* eventually(contentsOf(setup, taskId), (all) => all.length === 3), thread)
      const [row, ...more] = yield* setup.notifications
      assert.deepInclude(row, { outcome: "replied", attempts: 2 })
      assert.deepStrictEqual(more, [])
    }).pipe(Effect.scoped)
  )

  it.live("gets a separate turn if it joined, but the answer to the call was lost and the turn ended without it", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script(scriptOf({ text: "Second done." }))
      yield* setup.startRuntime()
      yield* setup.planeFault({ kind: "drop", path: JOIN })
      const taskId = yield* interject(setup)
      const all = yield* eventually(contentsOf(setup, taskId), (found) => found.length === 4)
      assert.deepStrictEqual(all, [...thread.slice(0, 2), "First done.", "Second done."])
      const rows = yield* setup.notifications
      assert.deepStrictEqual(
        rows.map(({ outcome }) => outcome),
        ["replied", "replied"]
      )
    }).pipe(Effect.scoped)
  )
})
