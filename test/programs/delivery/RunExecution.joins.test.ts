import { assert, describe, it } from "@effect/vitest"
import { Effect, Ref } from "effect"
import { TurnRefused, TurnSilent } from "../../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import type { Turn } from "../../../src/services/Turns.ts"
import { sampleContext, sampleEvent, sampleTask } from "../../domain/delivery/sampleContext.ts"
import { deliverOnce, heartbeatOnce, only, passive, quiet, said } from "./runHouse.ts"

const event = sampleEvent({ index: 1 })

/** A turn which this message joins before it ends. */
const joins =
  (end: ReturnType<typeof said> | TurnFailure) =>
  ({ joining }: Turn) => {
    if (joining === undefined) return Effect.die("no message can join")
    const ended = "_tag" in end ? Effect.fail(end) : Effect.succeed(end)
    return Effect.andThen(Ref.set(joining.joined, [event]), ended)
  }
const silent = new TurnSilent({ detail: "no text" })

describe("a delivery that a message joined", () => {
  it.effect("stores how many messages its turn showed", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce({ run: joins(said("Both done.")) })
      assert.deepInclude(only(stored, "complete").outcome, { outcome: "replied", joined: 1 })
    }).pipe(quiet)
  )

  it.effect("owes an answer to the message, although it owed none before", () =>
    Effect.gen(function* () {
      const alone = yield* deliverOnce({ run: () => Effect.fail(silent) }, { context: passive })
      assert.strictEqual(alone.outcome, "skipped")
      const { stored } = yield* deliverOnce({ run: joins(silent) }, { context: passive })
      assert.deepInclude(only(stored, "fail").failure, { silence: true, joined: 1 })
    }).pipe(quiet)
  )

  it.effect("may decline the answer to the message with NO_ACTION", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce({ run: joins(said("NO_ACTION")) }, { context: passive })
      assert.deepInclude(only(stored, "complete").outcome, { outcome: "skipped", reason: "NO_ACTION", joined: 1 })
    }).pipe(quiet)
  )

  it.effect("counts its attempt, failures and silences as the first, whatever came before", () =>
    Effect.gen(function* () {
      const late = { attempt: 3, failures: 2, silences: 2 }
      const settings = { deliveryMaxAttempts: 3, noResponseLimit: 3 }
      const alone = yield* deliverOnce({ run: () => Effect.fail(silent), settings }, { run: late })
      assert.notProperty(only(alone.stored, "fail").failure, "retryInMillis")
      const { stored } = yield* deliverOnce({ run: joins(silent), settings }, { run: late })
      const { retryInMillis } = only(stored, "fail").failure
      // Not the backoff of a third failure.
      assert.isAtMost(retryInMillis ?? Infinity, 5_000)
    }).pipe(quiet)
  )

  it.effect("is retried after a refusal like that of an earlier attempt", () =>
    Effect.gen(function* () {
      const refused = new TurnRefused({ detail: "HTTP 400: too long", status: 400 })
      const lastError = { class: "TurnRefused", message: "HTTP 400: too long", at: 1 }
      const context = { earlier: { attempts: 1, effects: [], lastError } }
      const alone = yield* deliverOnce({ run: () => Effect.fail(refused) }, { context })
      assert.notProperty(only(alone.stored, "fail").failure, "retryInMillis")
      const { stored } = yield* deliverOnce({ run: joins(refused) }, { context })
      assert.property(only(stored, "fail").failure, "retryInMillis")
    }).pipe(quiet)
  )

  it.effect("accepts the message although the task was done at the claim", () =>
    Effect.gen(function* () {
      const task = sampleTask({ status: "done" })
      const context = sampleContext({ task, events: [sampleEvent({ type: "mention" })] })
      const { stored } = yield* deliverOnce({ run: joins(said("Both done.")) }, { context })
      assert.deepInclude(only(stored, "complete").outcome, { refused: [], joined: 1 })
    }).pipe(quiet)
  )

  it.effect("shows the message between the session's marks, without the runtime's secrets", () =>
    Effect.gen(function* () {
      const { turns } = yield* deliverOnce({})
      const text = turns[0]?.joining?.text([event]) ?? ""
      assert.include(text, `--- new messages ${sampleContext().fenceMark} ---`)
    }).pipe(quiet)
  )
})

describe("a heartbeat", () => {
  it.effect("is joined by no message", () =>
    Effect.gen(function* () {
      const { turns } = yield* heartbeatOnce({})
      assert.notProperty(turns[0], "joining")
    }).pipe(quiet)
  )
})
