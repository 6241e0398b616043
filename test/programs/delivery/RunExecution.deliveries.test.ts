import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import type { DeliveryContext, NotificationEvent } from "../../../src/domain/delivery/DeliveryContext.ts"
import type { NotificationRun } from "../../../src/domain/delivery/Run.ts"
import { ProviderFailed, TurnAmbiguous, TurnSilent } from "../../../src/domain/delivery/TurnFailure.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import {
  brokenRun,
  engineer,
  lead,
  sampleContext,
  sampleEvent,
  sampleMessage,
  sampleRun,
  sampleTask
} from "../../domain/delivery/sampleContext.ts"
import {
  deliverOnce,
  executeOnce,
  failsWith,
  gatewaySecret,
  noTurn,
  only,
  passive,
  quiet,
  runHouse,
  said,
  spent,
  spoke
} from "./runHouse.ts"

/** What an agent wrote that concerns only the assigned. */
const fromAgent: Partial<NotificationEvent> = { actor: { ...engineer, id: "agent_other", slug: "other" } }

describe("a delivery", () => {
  it.effect("stores the reply and the usage", () =>
    Effect.gen(function* () {
      const { outcome, spendings, summary, stored } = yield* deliverOnce({
        run: () => Effect.succeed(said("All done."))
      })
      assert.deepStrictEqual(only(stored, "complete").outcome, {
        outcome: "replied",
        turn: "answered",
        reply: "All done.",
        refused: []
      })
      assert.deepStrictEqual(spendings, [spent])
      assert.strictEqual(outcome, "replied")
      assert.strictEqual(summary.successCount, 1)
    }).pipe(quiet)
  )

  it.effect("stores whether the prompt was a full text or a delta", () =>
    Effect.gen(function* () {
      const { spendings } = yield* deliverOnce({}, { context: { delta: { fullText: 1, unchanged: [] } } })
      assert.deepStrictEqual(spendings, [{ ...spent, isDelta: true }])
    }).pipe(quiet)
  )

  it.effect("marks a truncated reply", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce({ run: () => Effect.succeed(said("Half", { isTruncated: true })) })
      assert.isTrue(only(stored, "complete").outcome.truncated)
    }).pipe(quiet)
  )

  it.effect("cuts a reply that no document can store, and removes secrets from it", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce({
        run: () => Effect.succeed(said(`The token is ${gatewaySecret}. ${"x".repeat(400_000)}`))
      })
      const { reply = "" } = only(stored, "complete").outcome
      assert.isAtMost(reply.length, 200_000)
      assert.notInclude(reply, gatewaySecret)
      assert.include(reply, "the reply had")
    }).pipe(quiet)
  )

  it.effect("shows the model no token of the runtime, but the run's capability and what people pasted", () =>
    Effect.gen(function* () {
      const serviceToken = `mc_service_testaccount1_${"0".repeat(64)}`
      const pasted = `ghp_${"aB3dE5".repeat(6)}`
      const content = `Use ${pasted}, not ${gatewaySecret} or ${serviceToken}.`
      const { turns } = yield* deliverOnce(
        { settings: { clientToolsEnabled: false } },
        {
          context: {
            agent: { ...sampleContext().agent, role: `Keeper of ${gatewaySecret}` },
            events: [sampleEvent({ message: sampleMessage({ content }) })],
            task: sampleTask({ description: content })
          }
        }
      )
      const { input, instructions } = turns[0]!.prompt
      for (const secret of [gatewaySecret, "0".repeat(16)]) assert.notInclude(input + instructions, secret)
      assert.lengthOf(input.match(new RegExp(pasted, "g")) ?? [], 2)
      assert.include(instructions, "Keeper of <redacted>")
      assert.match(input, /mc_run_[\w-]{43}/)
    }).pipe(quiet)
  )

  it.effect("leaves no part of a secret where a reply is cut", () =>
    Effect.gen(function* () {
      for (let before = 199_900; before < 200_000; before += 7) {
        const text = `${"x".repeat(before)} ${gatewaySecret} ${"y".repeat(500)}`
        const { stored } = yield* deliverOnce({ run: () => Effect.succeed(said(text)) })
        const { reply = "" } = only(stored, "complete").outcome
        assert.notInclude(reply, gatewaySecret.slice(0, 8))
      }
    }).pipe(quiet)
  )

  it.effect("ends as acted after tool calls without a text, with a note if an answer was owed", () =>
    Effect.gen(function* () {
      const silent = spoke({ _tag: "Silent", reason: "empty text" }, { effects: ["task_status", "task_status"] })
      const owed = yield* deliverOnce({ run: () => Effect.succeed(silent) })
      const { note, outcome } = only(owed.stored, "complete").outcome
      assert.strictEqual(outcome, "acted")
      assert.strictEqual(note, "Engineer ended without a text. Done: task_status.")
      const notOwed = yield* deliverOnce({ run: () => Effect.succeed(silent) }, { context: passive })
      assert.deepStrictEqual(only(notOwed.stored, "complete").outcome, {
        outcome: "acted",
        turn: "answered",
        refused: []
      })
    }).pipe(quiet)
  )

  it.effect("is skipped if a passive notification gets NO_ACTION", () =>
    Effect.gen(function* () {
      const { outcome, stored } = yield* deliverOnce(
        { run: () => Effect.succeed(spoke({ _tag: "NothingToAdd", token: "NO_ACTION" })) },
        { context: passive }
      )
      assert.strictEqual(only(stored, "complete").outcome.outcome, "skipped")
      assert.strictEqual(only(stored, "complete").outcome.reason, "NO_ACTION")
      assert.strictEqual(outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("is skipped without a turn if the policy refuses every event, with the reason of each", () =>
    Effect.gen(function* () {
      const { end, stored } = yield* deliverOnce(noTurn, { context: { task: sampleTask({ status: "archived" }) } })
      assert.deepStrictEqual(only(stored, "complete").outcome, {
        outcome: "skipped",
        turn: "none",
        reason: "task archived",
        refused: [{ event: 0, reason: "task archived" }]
      })
      assert.deepInclude(end, { kind: "notification", outcome: "skipped", isStored: true, dueInMillis: null })
    }).pipe(quiet)
  )

  it.effect("answers several events with one turn, and owes an answer if one of them needs it", () =>
    Effect.gen(function* () {
      const update = sampleEvent({ actor: lead, message: sampleMessage({ id: "m1", content: "words of the lead" }) })
      const mention = sampleEvent({
        index: 1,
        type: "mention",
        message: sampleMessage({ id: "m2", content: "words of a person" })
      })
      const { stored, turns } = yield* deliverOnce({}, { context: { events: [update, mention], thread: [] } })
      assert.lengthOf(turns, 1)
      const { input } = turns[0]!.prompt
      assert.isBelow(input.indexOf("words of the lead"), input.indexOf("words of a person"))
      assert.include(input, "Give one answer to all of them.")
      assert.include(input, "An answer is required here.")
      assert.deepInclude(only(stored, "complete").outcome, { outcome: "replied", refused: [] })
    }).pipe(quiet)
  )

  it.effect("applies the policy to each event, and runs the turn for accepted ones only", () =>
    Effect.gen(function* () {
      const { stored, turns } = yield* deliverOnce(
        {},
        {
          context: {
            recipientIsAssignee: false,
            events: [
              sampleEvent({ message: sampleMessage({ id: "m1", content: "words of a person" }) }),
              sampleEvent({
                ...fromAgent,
                index: 1,
                message: sampleMessage({ id: "m2", content: "words of an agent" })
              })
            ],
            thread: []
          }
        }
      )
      assert.deepStrictEqual(
        only(stored, "complete").outcome.refused?.map(({ event }) => event),
        [1]
      )
      const { input } = turns[0]!.prompt
      assert.include(input, "words of a person")
      assert.notInclude(input, "words of an agent")
      assert.notInclude(input, "one answer to all")
    }).pipe(quiet)
  )

  it.effect("owes no answer if the policy refuses the event that needs it", () =>
    Effect.gen(function* () {
      const chat: Partial<DeliveryContext> = {
        task: sampleTask({ status: "done" }),
        events: [sampleEvent(), sampleEvent({ index: 1, ...passive.events?.[0] })]
      }
      const silence = spoke({ _tag: "NothingToAdd", token: "NO_ACTION" })
      const { stored } = yield* deliverOnce({ run: () => Effect.succeed(silence) }, { context: chat })
      assert.strictEqual(only(stored, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("is skipped without a turn if its task was removed", () =>
    Effect.gen(function* () {
      const { stored } = yield* executeOnce(noTurn, brokenRun("task_missing"))
      assert.deepStrictEqual(only(stored, "complete").outcome, {
        outcome: "skipped",
        turn: "none",
        reason: "task_missing"
      })
    }).pipe(quiet)
  )

  it.effect("gives the turn its run's fence, and the session's mark, the same in each attempt", () =>
    Effect.gen(function* () {
      const { execute, turns } = yield* runHouse()
      yield* execute(sampleRun())
      yield* execute(sampleRun({}, { attempt: 2 }))
      const [first, second] = turns
      assert.deepStrictEqual(first?.fence, { run: "notification_1", session: "session_1", epoch: 7 })
      const { fenceMark } = sampleContext()
      for (const turn of [first, second]) assert.include(turn?.prompt.input, `--- request ${fenceMark} ---`)
      assert.strictEqual(first?.prompt.instructions, second?.prompt.instructions)
    }).pipe(quiet)
  )
})

describe("a turn at the hop limit", () => {
  const warningsAt = Effect.fnUntraced(function* (hops: number, text: string) {
    const lines: Array<unknown> = []
    const logger = Logger.map(Logger.formatStructured, ({ annotations, level, message }) => {
      if (level === "WARN") lines.push({ message, hops: annotations["hops"] })
    })
    const { notification } = sampleContext()
    yield* deliverOnce(
      { run: () => Effect.succeed(said(text)), settings: { maxAgentHops: 3 } },
      { context: { ...passive, notification: { ...notification, hops } } }
    ).pipe(Effect.provide(Logger.layer([logger])))
    return lines
  })

  it.effect("is logged if it has a text, of which no agent is notified", () =>
    Effect.gen(function* () {
      const message = "hop limit reached: no agent is notified of this turn until a person writes in the thread"
      assert.deepStrictEqual(yield* warningsAt(3, "Over to you."), [{ message, hops: 3 }])
      assert.deepStrictEqual(yield* warningsAt(2, "Over to you."), [])
      assert.deepStrictEqual(yield* warningsAt(3, "NO_ACTION"), [])
    })
  )
})

describe("a session's history", () => {
  const turn = (least: number) => ({
    run: () => Effect.succeed({ ...said("Done."), requestTokens: { first: least, least } }),
    settings: { sessionTokenLimit: 100_000 }
  })
  const isLong = (options: Parameters<typeof deliverOnce>[0]) =>
    Effect.map(deliverOnce(options), ({ stored }) => only(stored, "complete").outcome.isHistoryLong === true)

  it.effect("is too long if the gateway says so; the sum over the calls of a request may be larger", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* isLong({ ...turn(400_000), historyTokens: 100_001 }))
      assert.isFalse(yield* isLong({ ...turn(400_000), historyTokens: 40_000 }))
      assert.isFalse(yield* isLong(turn(400_000)))
      // Without the question.
      assert.isFalse(yield* isLong({ ...turn(100_000), historyTokens: 400_000 }))
      assert.isFalse(yield* isLong({ ...turn(400_000), historyTokens: 400_000, settings: { sessionTokenLimit: 0 } }))
    }).pipe(quiet)
  )
})

describe("silence", () => {
  const silent = failsWith(new TurnSilent({ detail: "empty text" }))
  const ambiguous = failsWith(new TurnAmbiguous({ detail: "internal error" }))

  it.effect("is counted and retried if an answer is owed", () =>
    Effect.gen(function* () {
      const { summary, stored } = yield* deliverOnce(silent)
      const { failure } = only(stored, "fail")
      assert.isTrue(failure.silence)
      assert.isAtLeast(failure.retryInMillis ?? -1, 500)
      assert.notProperty(failure, "rotate")
      assert.strictEqual(summary.silences, 1)
    }).pipe(quiet)
  )

  it.effect("includes NO_ACTION if an answer is owed, unless it is owed to messages only", () =>
    Effect.gen(function* () {
      const declined = { run: () => Effect.succeed(said("> **NO_ACTION**")) }
      const assignment = sampleEvent({ type: "assignment", message: null })
      const { stored } = yield* deliverOnce(declined, { context: { events: [assignment] } })
      assert.isTrue(only(stored, "fail").failure.silence)
      const thanks = sampleEvent({ message: sampleMessage({ content: "thanks, all good" }) })
      const closed = yield* deliverOnce(declined, { context: { events: [thanks] } })
      assert.deepInclude(only(closed.stored, "complete").outcome, { outcome: "skipped", reason: "NO_ACTION" })
    }).pipe(quiet)
  )

  it.effect("skips a passive notification at once", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce(silent, { context: passive })
      assert.strictEqual(only(stored, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("that is ambiguous is retried after a minute at least, once if no answer is owed", () =>
    Effect.gen(function* () {
      const owed = yield* deliverOnce(ambiguous)
      assert.isAtLeast(only(owed.stored, "fail").failure.retryInMillis ?? -1, 60_000)
      const first = yield* deliverOnce(ambiguous, { context: passive })
      assert.isAtLeast(only(first.stored, "fail").failure.retryInMillis ?? -1, 60_000)
      const second = yield* deliverOnce(ambiguous, { context: passive, run: { silences: 1 } })
      assert.strictEqual(only(second.stored, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("that is ambiguous is shared while a provider failed within its cooldown, and a silence after it", () =>
    Effect.gen(function* () {
      const { execute, guard, stored } = yield* runHouse(ambiguous)
      yield* guard.sharedFailure(new ProviderFailed({ detail: "401", status: 401 }), "agent_engineer")
      yield* TestClock.adjust("119 seconds")
      yield* execute(sampleRun())
      yield* TestClock.adjust("1 second")
      yield* execute(sampleRun())
      const [first, second] = stored
      assert.isTrue(first?._tag === "release" && (first.shared?.retryInMillis ?? 0) >= 60_000)
      assert.isTrue(second?._tag === "fail" && second.failure.silence)
    }).pipe(quiet)
  )

  it.effect("that is ambiguous rotates the session for the last attempt before the fallback only", () =>
    Effect.gen(function* () {
      const first = yield* deliverOnce(ambiguous, { run: { silences: 0 } })
      assert.notProperty(only(first.stored, "fail").failure, "rotate")
      const second = yield* deliverOnce(ambiguous, { run: { silences: 1 } })
      assert.isTrue(only(second.stored, "fail").failure.rotate)
      const unowed = yield* deliverOnce(ambiguous, { context: passive })
      assert.notProperty(only(unowed.stored, "fail").failure, "rotate")
    }).pipe(quiet)
  )

  it.effect("rotates no session if the next attempt is not the last one before the fallback, or there is none", () =>
    Effect.gen(function* () {
      const asked = (settings: Partial<Settings>, changes: Partial<NotificationRun>) =>
        Effect.map(
          deliverOnce({ ...ambiguous, settings }, { run: changes }),
          ({ stored }) => only(stored, "fail").failure
        )
      assert.notProperty(yield* asked({ noResponseLimit: 1 }, {}), "rotate")
      assert.isTrue((yield* asked({ noResponseLimit: 2 }, {})).rotate)
      assert.notProperty(yield* asked({ noResponseLimit: 2 }, { silences: 1 }), "rotate")
      // The attempts can be used up before the silences are.
      assert.isTrue((yield* asked({ deliveryMaxAttempts: 2 }, {})).rotate)
      const last = yield* asked({ deliveryMaxAttempts: 2 }, { attempt: 2 })
      assert.notProperty(last, "rotate")
      assert.notProperty(last, "retryInMillis")
    }).pipe(quiet)
  )

  it.effect("on a passive notification is no dead letter at its last attempt, but skipped", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce(ambiguous, { context: passive, run: { attempt: 8 } })
      assert.strictEqual(only(stored, "complete").outcome.outcome, "skipped")
    }).pipe(quiet)
  )

  it.effect("that skips stores the reason without secrets and in at most 500 characters", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce(
        failsWith(new TurnAmbiguous({ detail: `internal error: ${gatewaySecret} ${"x".repeat(2_000)}` })),
        { context: passive, run: { silences: 1 } }
      )
      const { outcome, reason } = only(stored, "complete").outcome
      assert.strictEqual(outcome, "skipped")
      assert.match(reason ?? "", /^internal error: <redacted> x+…$/)
      assert.lengthOf(reason ?? "", 500)
    }).pipe(quiet)
  )

  it.effect("names the events that the policy refused, so that a fallback does not answer them", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce(silent, {
        context: { recipientIsAssignee: false, events: [sampleEvent(), sampleEvent({ ...fromAgent, index: 1 })] }
      })
      assert.deepStrictEqual(
        only(stored, "fail").failure.refused?.map(({ event }) => event),
        [1]
      )
    }).pipe(quiet)
  )

  it.effect("after effects of an earlier attempt is acted", () =>
    Effect.gen(function* () {
      const { stored } = yield* deliverOnce(
        { run: () => Effect.succeed(spoke({ _tag: "Silent", reason: "empty text" })) },
        {
          context: {
            earlier: { attempts: 1, lastError: null, effects: [{ tool: "task_status", summary: "to review", at: 0 }] }
          }
        }
      )
      const { note, outcome } = only(stored, "complete").outcome
      assert.strictEqual(outcome, "acted")
      assert.strictEqual(note, "Engineer ended without a text. Done: task_status.")
    }).pipe(quiet)
  )
})
