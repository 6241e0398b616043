import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { makeWorld } from "./chaosWorld.ts"
import type { World } from "./chaosWorld.ts"
import { restartable } from "./restartable.ts"

const STOPS = 30
const PATIENCE = 600_000

interface Stopped {
  readonly n: number
  readonly run: string
  readonly outcome: string
  /** What existed when the stop was answered. */
  readonly before: string
}

/** All that the request's run may have written. */
const writtenBy = Effect.fnUntraced(function* ({ account, person, thread }: World, n: number) {
  const { accountId } = account
  const tasks: ReadonlyArray<{ readonly title: string }> = yield* Effect.promise(() =>
    person.query("app/tasks:list", { accountId, limit: 500 })
  )
  const followUps = tasks.map(({ title }) => title).filter((title) => title === `Follow-up ${n}`)
  const messages = (yield* thread(n)).map(({ content, kind }) => `${kind}: ${content}`)
  return JSON.stringify([followUps, messages])
})

/** Stops the request's run a moment after it was made, and kills something in between. */
const strike = Effect.fnUntraced(function* <E>(world: World, n: number, kill: Effect.Effect<void, E>) {
  const { account, notifications, person } = world
  yield* world.request(n)
  const known = new Set((yield* notifications).map(({ id }) => id))
  yield* Effect.sleep(yield* Random.nextIntBetween(0, 150))
  const run = (yield* notifications).filter(({ id, type }) => type === "mention" && known.has(id))[0]!.id
  if (yield* Random.nextBoolean) yield* kill
  // The call is repeated if the plane was just killed, as a web application does.
  const stop = Effect.promise(async (): Promise<{ readonly outcome: string }> => {
    for (;;) {
      try {
        return await person.mutation("app/runs:stop", { accountId: account.accountId, run, reason: "enough" })
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  })
  const { outcome } = yield* stop
  const before = yield* writtenBy(world, n)
  if (yield* Random.nextBoolean) yield* kill
  return { n, run, outcome, before } satisfies Stopped
})

const strikeAll = Effect.fnUntraced(function* <E>(world: World, kill: Effect.Effect<void, E>) {
  const stops: Array<Stopped> = []
  for (let n = 0; n < STOPS; n++) stops.push(yield* strike(world, n, kill))
  yield* world.quiet
  const rows = yield* world.notifications
  for (const { before, n, outcome, run } of stops) {
    const row = rows.find(({ id }) => id === run)
    assert.deepInclude(row, { state: "delivered", outcome }, `request ${n}`)
    if (outcome === "stopped")
      assert.strictEqual(yield* writtenBy(world, n), before, `request ${n} wrote after its stop`)
  }
  const stopped = stops.filter(({ outcome }) => outcome === "stopped")
  // How many stops hit a turn depends on the machine's speed.
  assert.isAtLeast(stopped.length, STOPS / 10, "some stops were to meet a turn")
  // The next request of each agent is answered, so no session stays occupied.
  for (let n = STOPS; n < STOPS + 6; n++) yield* world.request(n)
  yield* world.quiet
  const later = (yield* world.notifications).filter(
    ({ id, type }) => type === "mention" && !rows.some((row) => row.id === id)
  )
  assert.deepStrictEqual(
    later.map(({ outcome }) => outcome),
    Array.from({ length: 6 }, () => "replied")
  )
})

describe("a stop at a random instant of a turn", () => {
  it.live(
    "writes nothing afterwards and frees the session, with the runtime killed -9 around it",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        const runtime = yield* restartable(world.runtimeOf("stops"))
        yield* strikeAll(world, runtime.killAndRestart)
      }).pipe(Effect.scoped, Random.withSeed("stops of a runtime")),
    PATIENCE
  )

  it.live(
    "writes nothing afterwards and frees the session, with the plane killed -9 around it",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        yield* restartable(world.runtimeOf("stops"))
        yield* strikeAll(world, world.plane.killAndRestart)
      }).pipe(Effect.scoped, Random.withSeed("stops of a plane")),
    PATIENCE
  )
})
