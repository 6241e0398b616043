import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planeStats, resetPlaneStats } from "../../bench/planeStats.ts"
import type { Launched } from "../../local/launcher.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const CLAIM = "service/notifications:claim"

/** Each agent answers a mention once, and skips the other answers. */
const script = {
  rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Here." }] }],
  fallback: { text: "NO_ACTION" }
}

const mention = (setup: Setup) => Effect.map(setup.notifications, (rows) => rows.find(({ type }) => type === "mention"))

const isDelivered = (row: { readonly state: string } | undefined) => row?.state === "delivered"

const repliesIn = (setup: Setup, taskId: string) =>
  Effect.map(setup.messages(taskId), (messages) =>
    messages.filter(({ kind }) => kind === "reply").map(({ content }) => content)
  )

/** How many requests the gateway got for the engineer. */
const turnsOf = (setup: Setup) =>
  Effect.map(setup.requests, (requests) => requests.filter(({ agent }) => agent === "engineer").length)

const killed = (runtime: Launched) => Effect.andThen(runtime.signal("SIGKILL"), runtime.exit)

describe("a claim", () => {
  it.live("that was stored but not answered is repeated, and its run is returned again as the same attempt", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script(script)
      yield* setup.startRuntime({ DELIVERY_BACKOFF_BASE_MS: "1000", DELIVERY_BACKOFF_MAX_MS: "1000" })
      const taskId = yield* setup.newTask()
      yield* setup.planeFault({ kind: "drop", path: CLAIM, count: 1 })
      yield* setup.post(taskId, "@engineer are you there?")
      const row = yield* eventually(mention(setup), isDelivered)
      assert.deepInclude(row, { attempts: 1, outcome: "replied", error: null })
      assert.deepStrictEqual(yield* repliesIn(setup, taskId), ["Here."])
      assert.strictEqual(yield* turnsOf(setup), 1)
    }).pipe(Effect.scoped)
  )

  it.live("loses nothing if its process is killed after it was stored and before it was answered", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script(script)
      const first = yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      yield* setup.planeFault({ kind: "delay", path: CLAIM, milliseconds: 600_000, count: 1 })
      yield* setup.post(taskId, "@engineer are you there?")
      yield* eventually(mention(setup), (row) => row?.state === "claimed")
      yield* killed(first)
      assert.strictEqual(yield* setup.posts, 0)
      yield* setup.startRuntime()
      const row = yield* eventually(mention(setup), isDelivered)
      // Such a process cannot be distinguished from one that died during its turn, so the attempt counts.
      assert.deepInclude(row, { attempts: 2, outcome: "replied" })
      assert.deepStrictEqual(yield* repliesIn(setup, taskId), ["Here."])
    }).pipe(Effect.scoped)
  )

  it.live("loses nothing if its process is killed as soon as it is answered", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script(script)
      let pid = 0
      const first = yield* setup.startRuntime(
        { LOG_LEVEL: "debug" },
        { onLine: (line) => void (/claimed \(\w+\): [1-9]/.test(line) && process.kill(pid, "SIGKILL")) }
      )
      pid = first.pid
      // A turn that the process may still start cannot end before the kill.
      yield* setup.gateway.signal("SIGSTOP")
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      assert.deepStrictEqual(yield* first.exit, { code: null, signal: "SIGKILL" })
      assert.strictEqual((yield* mention(setup))?.state, "claimed")
      yield* setup.gateway.signal("SIGCONT")
      yield* setup.startRuntime()
      const row = yield* eventually(mention(setup), isDelivered)
      assert.deepInclude(row, { attempts: 2, outcome: "replied" })
      assert.deepStrictEqual(yield* repliesIn(setup, taskId), ["Here."])
    }).pipe(Effect.scoped)
  )

  it.live("of limit 0 is the last one: it releases all running turns at once, and their attempts do not count", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ hang: true }] }] })
      const runtime = yield* setup.startRuntime({ DRAIN_TIMEOUT_MS: "200" })
      const taskId = yield* setup.newTask()
      const agents = ["squad-lead", "engineer", "qa"]
      yield* setup.post(taskId, agents.map((slug) => `@${slug}`).join(" "))
      yield* eventually(setup.posts, (count) => count === agents.length)
      yield* eventually(setup.health(runtime), (health) => health["delivery"]["inFlight"] === agents.length)
      yield* Effect.promise(() => resetPlaneStats(setup.plane))
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
      const ends = ["claim", "release", "fail", "complete"].map(
        (name) => [name, functions[`service/notifications:${name}`]?.calls ?? 0] as const
      )
      assert.deepStrictEqual(Object.fromEntries(ends), { claim: 1, release: 0, fail: 0, complete: 0 })
      assert.include(runtime.output(), `released ${agents.length} runs`)
      const rows = yield* setup.notifications
      assert.deepStrictEqual(
        rows.map(({ attempts, state }) => ({ attempts, state })),
        agents.map(() => ({ attempts: 0, state: "ready" }))
      )
    }).pipe(Effect.scoped)
  )
})
