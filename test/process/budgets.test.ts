import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import type { Script } from "../../local/model/script.ts"
import { makeWorld } from "./chaosWorld.ts"
import { restartable } from "./restartable.ts"
import { eventually } from "./setup.ts"
import type { NotificationRow } from "./setup.ts"

/** The cost of each request, reported or estimated. */
const REQUEST = 10_000
const LIMIT = 20 * REQUEST
const MENTIONS = 24
const PERMITS = 2
/** Runs of two runtimes, and those of a killed one that are not rescued yet. */
const IN_FLIGHT = 3 * PERMITS

type Row = NotificationRow & { readonly held: { readonly reason: string } | null }

const usage = { input: REQUEST, output: 0 }
/** Two requests a turn: a creation, then the answer. */
const script: Script = {
  replace: true,
  rules: [
    {
      match: '"tool":"task_create","success":true',
      repeat: true,
      capture: { n: "request number (\\d+)" },
      actions: [{ delayMs: 150, text: "Answer {{n}}", usage }]
    },
    {
      match: "mentioned you",
      repeat: true,
      capture: { n: "request number (\\d+)" },
      actions: [{ delayMs: 150, toolCalls: [{ name: "task_create", args: { title: "Follow-up {{n}}" } }], usage }]
    }
  ],
  fallback: { text: "NO_ACTION", usage }
}

describe("a budget that two runtimes use up while they are killed -9", () => {
  it.live(
    "is exceeded by at most one request of each active run, and holds the rest until it is raised",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        const { account, gateway, notifications, person } = world
        const { accountId } = account
        const url = (yield* gateway.running)!.url
        yield* Effect.promise(() => fetch(`${url}/__local/script`, { method: "POST", body: JSON.stringify(script) }))
        const set = (limit: number) =>
          Effect.promise(() =>
            person.mutation("app/budgets:set", { accountId, period: "lifetime", unit: "tokens", limit })
          )
        yield* set(LIMIT)
        for (let n = 0; n < MENTIONS; n++) yield* world.request(n)
        const env = { DELIVERY_MAX_CONCURRENT_SESSIONS: String(PERMITS) }
        const runtimes = [
          yield* restartable(world.runtimeOf("one", env)),
          yield* restartable(world.runtimeOf("two", env))
        ]
        for (let kill = 0; kill < 4; kill++) {
          yield* Effect.sleep(yield* Random.nextIntBetween(100, 500))
          yield* runtimes[kill % 2]!.killAndRestart
        }
        const mentions = Effect.map(notifications, (rows) =>
          (rows as ReadonlyArray<Row>).filter(({ type }) => type === "mention")
        )
        const isHeld = ({ held }: Row) => held?.reason.includes("is used") === true
        const held = (yield* eventually(mentions, (rows) =>
          rows.every((row) => row.state === "delivered" || (row.state === "ready" && isHeld(row)))
        )).filter(isHeld)
        assert.isAbove(held.length, 0)
        const budgets: ReadonlyArray<{ readonly limit: number; readonly spent: number }> = yield* Effect.promise(() =>
          person.query("app/budgets:list", { accountId })
        )
        const spent = budgets.find(({ limit }) => limit === LIMIT)!.spent
        assert.isAtLeast(spent, LIMIT)
        assert.isAtMost(spent, LIMIT + IN_FLIGHT * REQUEST)
        const { count } = yield* Effect.promise(
          async () => (await (await fetch(`${url}/__local/requests`)).json()) as { readonly count: number }
        )
        assert.isAtMost(count * REQUEST, LIMIT + IN_FLIGHT * REQUEST, "requests that the gateway was sent")

        yield* set(100 * LIMIT)
        yield* world.quiet
        const ended = yield* mentions
        const outcomes = new Map(ended.map(({ id, outcome }) => [id, outcome]))
        assert.deepStrictEqual(
          held.map(({ id }) => outcomes.get(id)),
          held.map(() => "replied")
        )
        for (const { outcome } of ended) assert.include(["replied", "stopped"], outcome)
        for (let n = 0; n < MENTIONS; n++) {
          const messages = yield* world.thread(n)
          const answers = messages.filter(({ kind }) => ["reply", "fallback", "note"].includes(kind))
          assert.strictEqual(answers.length, 1, `answers to request ${n}: ${JSON.stringify(answers)}`)
        }
      }).pipe(Effect.scoped, Random.withSeed("budgets")),
    600_000
  )
})
