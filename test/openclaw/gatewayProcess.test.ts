import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { eventually } from "../process/setup.ts"
import { isRunning } from "../process/supervisedGateway.ts"
import { makeSupervisedSetup } from "./supervisedSetup.ts"

const team = [{ slug: "alpha", name: "Alpha One", role: "builds" }]

describe("a real gateway that the runtime starts", () => {
  it.live(
    "is started again if it is killed during a turn, is stopped if a killed runtime left it, and each delivery ends once",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSupervisedSetup({ team, agents: ["alpha"] })
        yield* setup.script({
          replace: true,
          fallback: { text: "NO_ACTION" },
          rules: [
            {
              matchSystem: "You are Alpha One",
              match: "the first question",
              actions: [{ hang: true }, { text: "First." }]
            },
            {
              matchSystem: "You are Alpha One",
              match: "the second question",
              actions: [{ hang: true }, { text: "Second." }]
            }
          ]
        })
        const runtime = yield* setup.startRuntime()
        const isAsked = (question: string) =>
          eventually(setup.modelRequests, (requests) =>
            requests.some(({ messages }) => JSON.stringify(messages).includes(question))
          )
        yield* setup.post("@alpha the first question")
        yield* isAsked("the first question")
        const first = setup.home.pid() ?? 0
        process.kill(first, "SIGKILL")
        assert.strictEqual(yield* setup.answer("Alpha One"), "First.")
        const second = setup.home.pid() ?? 0
        assert.notStrictEqual(second, first)
        assert.strictEqual((yield* setup.health(runtime))["gateway"].restarts, 1)

        yield* setup.post("@alpha the second question")
        yield* isAsked("the second question")
        yield* runtime.signal("SIGKILL")
        yield* runtime.exit
        assert.isTrue(isRunning(second))
        const next = yield* setup.startRuntime()
        assert.isFalse(isRunning(second))
        const replies = yield* eventually(setup.replies("Alpha One"), (all) => all.includes("Second."))
        assert.deepStrictEqual(replies, ["First.", "Second."])
        const mentions = yield* eventually(setup.mentions, (rows) => rows.every(({ state }) => state === "delivered"))
        assert.deepStrictEqual(
          mentions.map(({ outcome }) => outcome),
          ["replied", "replied"]
        )
        const last = setup.home.pid() ?? 0
        yield* next.signal("SIGTERM")
        assert.deepStrictEqual(yield* next.exit, { code: 0, signal: null })
        assert.isFalse(isRunning(last))
      }).pipe(Effect.scoped),
    { timeout: 400_000 }
  )

  it.live(
    "counts no attempt as silence if it is killed during three turns, although it continues the turn on its own",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSupervisedSetup({ team, agents: ["alpha"] })
        const hangs = { matchSystem: "You are Alpha One", match: "the question", actions: [{ hang: true }] }
        yield* setup.script({ replace: true, fallback: { text: "NO_ACTION" }, rules: [hangs, hangs, hangs] })
        // One silence would already end it with the fallback.
        yield* setup.startRuntime({ NO_RESPONSE_LIMIT: "1" })
        yield* setup.post("@alpha the question")
        for (let crash = 1; crash <= 3; crash += 1) {
          yield* eventually(setup.modelRequests, (requests) => {
            // The gateway's own continuation of the turn lacks the runtime's instructions.
            const ours = requests.filter(({ messages }) =>
              /You are Alpha One.*the question/s.test(JSON.stringify(messages))
            )
            return ours.length >= crash
          })
          const pid = setup.home.pid() ?? 0
          if (crash === 3) {
            const answers = { match: "the question", repeat: true, actions: [{ text: "Done." }] }
            yield* setup.script({ replace: true, fallback: { text: "NO_ACTION" }, rules: [answers] })
          }
          process.kill(pid, "SIGKILL")
          yield* eventually(Effect.sync(setup.home.pid), (now) => now !== null && now !== pid)
        }
        assert.strictEqual(yield* setup.answer("Alpha One"), "Done.")
        const [mention] = yield* eventually(setup.mentions, (rows) => rows.every(({ state }) => state === "delivered"))
        assert.strictEqual(mention?.outcome, "replied")
      }).pipe(Effect.scoped),
    // Four starts of the gateway.
    { timeout: 900_000 }
  )

  it.live(
    "finishes a turn that another client started, before the runtime restarts",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSupervisedSetup({ team, agents: ["alpha"] })
        yield* setup.script({
          replace: true,
          fallback: { text: "NO_ACTION" },
          // Longer than the ten seconds that the gateway has without the drain.
          rules: [{ match: "of another client", actions: [{ text: "The answer.", delayMs: 15_000 }] }]
        })
        const token = "a-token-that-is-given"
        // With a cache, the launcher of 2026.8.2 runs the gateway as its child, which it kills 2 s after SIGTERM.
        const runtime = yield* setup.startRuntime({ OPENCLAW_GATEWAY_TOKEN: token, NODE_COMPILE_CACHE: "" })
        const turn = yield* Effect.forkScoped(
          Effect.promise(async () => {
            const response = await fetch(`${setup.home.url}/v1/responses`, {
              method: "POST",
              headers: {
                authorization: `Bearer ${token}`,
                "content-type": "application/json",
                "x-openclaw-agent-id": "alpha",
                "x-openclaw-session-key": "agent:alpha:another"
              },
              body: JSON.stringify({ model: "openclaw", input: "a question of another client" })
            })
            return { status: response.status, text: await response.text() }
          })
        )
        yield* eventually(setup.modelRequests, (requests) =>
          requests.some(({ messages }) => JSON.stringify(messages).includes("of another client"))
        )
        const { accountId } = setup.account
        yield* Effect.promise(() => setup.person.mutation("app/runtimes:restart", { accountId }))
        const { status, text } = yield* Fiber.join(turn)
        assert.strictEqual(status, 200)
        assert.include(text, "The answer.")
        assert.deepStrictEqual(yield* runtime.exit, { code: 75, signal: null })
        assert.isNull(setup.home.pid())
      }).pipe(Effect.scoped),
    { timeout: 300_000 }
  )

  it.live(
    "is not started repeatedly with a broken configuration, and the reason is one line",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSupervisedSetup({ team, agents: ["alpha"] })
        setup.home.writeConfig({ gateway: { mode: "local" }, bogus: 1 })
        const runtime = yield* setup.startRuntime({}, { readyPath: "/livez" })
        const { gateway, reasons } = yield* eventually(setup.health(runtime), (health) =>
          health["reasons"].some((reason: string) => reason.includes("bogus"))
        )
        assert.match(
          reasons.find((reason: string) => reason.includes("bogus")),
          /^gateway-process: /
        )
        assert.strictEqual(gateway.restarts, 0)
      }).pipe(Effect.scoped),
    { timeout: 200_000 }
  )
})
