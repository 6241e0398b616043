import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planeStats, resetPlaneStats } from "../../bench/planeStats.ts"
import type { Launched } from "../../local/launcher.ts"
import { eventually, makeHouse } from "./house.ts"
import type { House } from "./house.ts"

const CLAIM = "service/notifications:claim"

/** Each agent answers a mention once, and skips the other answers. */
const script = {
  rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Here." }] }],
  fallback: { text: "NO_ACTION" }
}

const mention = (house: House) => Effect.map(house.notifications, (rows) => rows.find(({ type }) => type === "mention"))

const isDelivered = (row: { readonly state: string } | undefined) => row?.state === "delivered"

const repliesIn = (house: House, taskId: string) =>
  Effect.map(house.messages(taskId), (messages) =>
    messages.filter(({ kind }) => kind === "reply").map(({ content }) => content)
  )

/** How many requests the gateway got for the engineer. */
const turnsOf = (house: House) =>
  Effect.map(house.requests, (requests) => requests.filter(({ agent }) => agent === "engineer").length)

const killed = (runtime: Launched) => Effect.andThen(runtime.signal("SIGKILL"), runtime.exit)

describe("a claim", () => {
  it.live("that was stored but not answered is repeated, and its run is returned again as the same attempt", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script(script)
      yield* house.startRuntime({ DELIVERY_BACKOFF_BASE_MS: "1000", DELIVERY_BACKOFF_MAX_MS: "1000" })
      const taskId = yield* house.newTask()
      yield* house.planeFault({ kind: "drop", path: CLAIM, count: 1 })
      yield* house.post(taskId, "@engineer are you there?")
      const row = yield* eventually(mention(house), isDelivered)
      assert.deepInclude(row, { attempts: 1, outcome: "replied", error: null })
      assert.deepStrictEqual(yield* repliesIn(house, taskId), ["Here."])
      assert.strictEqual(yield* turnsOf(house), 1)
    }).pipe(Effect.scoped)
  )

  it.live("loses nothing if its process is killed after it was stored and before it was answered", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script(script)
      const first = yield* house.startRuntime()
      const taskId = yield* house.newTask()
      yield* house.planeFault({ kind: "delay", path: CLAIM, milliseconds: 600_000, count: 1 })
      yield* house.post(taskId, "@engineer are you there?")
      yield* eventually(mention(house), (row) => row?.state === "claimed")
      yield* killed(first)
      assert.strictEqual(yield* house.posts, 0)
      yield* house.startRuntime()
      const row = yield* eventually(mention(house), isDelivered)
      // Such a process cannot be distinguished from one that died during its turn, so the attempt counts.
      assert.deepInclude(row, { attempts: 2, outcome: "replied" })
      assert.deepStrictEqual(yield* repliesIn(house, taskId), ["Here."])
    }).pipe(Effect.scoped)
  )

  it.live("loses nothing if its process is killed as soon as it is answered", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script(script)
      let pid = 0
      const first = yield* house.startRuntime(
        { LOG_LEVEL: "debug" },
        { onLine: (line) => void (/claimed \(\w+\): [1-9]/.test(line) && process.kill(pid, "SIGKILL")) }
      )
      pid = first.pid
      // A turn that the process may still start cannot end before the kill.
      yield* house.gateway.signal("SIGSTOP")
      const taskId = yield* house.newTask()
      yield* house.post(taskId, "@engineer are you there?")
      assert.deepStrictEqual(yield* first.exit, { code: null, signal: "SIGKILL" })
      assert.strictEqual((yield* mention(house))?.state, "claimed")
      yield* house.gateway.signal("SIGCONT")
      yield* house.startRuntime()
      const row = yield* eventually(mention(house), isDelivered)
      assert.deepInclude(row, { attempts: 2, outcome: "replied" })
      assert.deepStrictEqual(yield* repliesIn(house, taskId), ["Here."])
    }).pipe(Effect.scoped)
  )

  it.live("of limit 0 is the last one: it releases all running turns at once, and their attempts do not count", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ hang: true }] }] })
      const runtime = yield* house.startRuntime({ DRAIN_TIMEOUT_MS: "200" })
      const taskId = yield* house.newTask()
      const agents = ["squad-lead", "engineer", "qa"]
      yield* house.post(taskId, agents.map((slug) => `@${slug}`).join(" "))
      yield* eventually(house.posts, (count) => count === agents.length)
      yield* eventually(house.health(runtime), (health) => health["delivery"]["inFlight"] === agents.length)
      yield* Effect.promise(() => resetPlaneStats(house.plane))
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const { functions } = yield* Effect.promise(() => planeStats(house.plane))
      const ends = ["claim", "release", "fail", "complete"].map(
        (name) => [name, functions[`service/notifications:${name}`]?.calls ?? 0] as const
      )
      assert.deepStrictEqual(Object.fromEntries(ends), { claim: 1, release: 0, fail: 0, complete: 0 })
      assert.include(runtime.output(), `released ${agents.length} runs`)
      const rows = yield* house.notifications
      assert.deepStrictEqual(
        rows.map(({ attempts, state }) => ({ attempts, state })),
        agents.map(() => ({ attempts: 0, state: "ready" }))
      )
    }).pipe(Effect.scoped)
  )
})
