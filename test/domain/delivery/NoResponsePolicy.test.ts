import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { DeliveryContext, NotificationEvent } from "../../../src/domain/delivery/DeliveryContext.ts"
import type { Judgement } from "../../../src/domain/delivery/Judgement.ts"
import { afterNoResponse } from "../../../src/domain/delivery/NoResponsePolicy.ts"
import type { AttemptLimits } from "../../../src/domain/delivery/NoResponsePolicy.ts"
import { planNotification } from "../../../src/domain/delivery/NotificationPlan.ts"
import { readSpokenText } from "../../../src/domain/delivery/Silence.ts"
import { engineer, lead, person, sampleEvent, sampleMessage, sampleRun } from "./sampleContext.ts"

/** What a notification can be about, whether it owes an answer, and whether the agent may decline. */
const causes = {
  assignment: [{ type: "assignment", message: null }, "owed"],
  request: [{ type: "response_request", actor: lead, message: null, request: "Is it done?" }, "owed"],
  "a person's message": [{ type: "thread_update", actor: person }, "declinable"],
  "a person's mention": [{ type: "mention", actor: person }, "declinable"],
  "an agent's mention": [{ type: "mention", actor: lead, message: sampleMessage({ author: lead }) }, "declinable"],
  "an agent's message": [{ type: "thread_update", actor: lead, message: sampleMessage({ author: lead }) }, "none"],
  "a change of status": [{ type: "status_change", actor: lead, message: null, newStatus: "in_progress" }, "none"]
} as const satisfies Record<string, readonly [Partial<NotificationEvent>, "owed" | "declinable" | "none"]>
type Cause = keyof typeof causes

/** How one attempt can end. */
const attempts = ["text", "token", "silence", "internal error", "own failure", "shared failure", "crash"] as const
type Attempt = (typeof attempts)[number]

const texts: Partial<Record<Attempt, string>> = { text: "Here it is.", token: "**NO_ACTION**", silence: "" }

const judge = (context: Partial<DeliveryContext>, ending: Attempt, limits: AttemptLimits, state: State): Judgement => {
  const plan = planNotification(sampleRun(context, { attempt: state.attempt, silences: state.silences }), limits)
  if (plan._tag !== "Turn") return assert.fail("the policy refuses the event")
  const text = texts[ending]
  if (text !== undefined) {
    const spoken = readSpokenText(text)
    return plan.judgeEnd({ spoken, isTruncated: false, effects: [] })
  }
  return ending === "internal error"
    ? plan.judgeFailure({ class: "TurnAmbiguous", error: ending, isSilence: true, minimumMillis: 60_000 })
    : plan.judgeFailure({ class: "TurnTimeout", error: ending, isSilence: false, minimumMillis: 0 })
}

interface State {
  readonly attempt: number
  readonly silences: number
}

/** One attempt of a history, with what the policy said of it. */
interface Step extends State {
  readonly ending: Attempt
  readonly judgement: Judgement | null
}

/** A notification's life: its attempts until it ended, and how. */
interface Life {
  readonly steps: ReadonlyArray<Step>
  readonly end: "replied" | "skipped" | "fallback" | "dead" | "dead with fallback" | null
}

/** Lives through the history as the control plane does, which counts attempts and silences and posts the fallback. */
const live = (cause: Cause, history: ReadonlyArray<Attempt>, limits: AttemptLimits): Life => {
  const [event, duty] = causes[cause]
  const context = { events: [sampleEvent(event)] }
  const steps: Array<Step> = []
  const dead = duty === "none" ? "dead" : "dead with fallback"
  let state: State = { attempt: 1, silences: 0 }
  for (const ending of history) {
    if (state.attempt > limits.maxAttempts) return { steps, end: dead }
    const isJudged = ending !== "crash" && ending !== "shared failure"
    const judgement = isJudged ? judge(context, ending, limits, state) : null
    steps.push({ ...state, ending, judgement })
    if (ending === "shared failure") continue
    const attempt = state.attempt + 1
    if (judgement?._tag === "Delivered") {
      const { outcome } = judgement.outcome
      return outcome === "replied" || outcome === "skipped" ? { steps, end: outcome } : assert.fail(outcome)
    }
    if (judgement?._tag === "Failed" && judgement.silence) {
      state = { attempt, silences: state.silences + 1 }
      if (state.silences >= limits.silenceLimit) return { steps, end: duty === "none" ? "skipped" : "fallback" }
      if (judgement.isFinal === true) return { steps, end: dead }
    } else state = { ...state, attempt }
  }
  return { steps, end: state.attempt > limits.maxAttempts ? dead : null }
}

const isSilence = ({ ending }: Step) => ending === "token" || ending === "silence" || ending === "internal error"

const arbitraries = {
  cause: Schema.Literals(Object.keys(causes) as ReadonlyArray<Cause>),
  history: Schema.Array(Schema.Literals([...attempts, "silence", "internal error"])),
  maxAttempts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10 })),
  silenceLimit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 }))
}
const runs = { arbitrary: { runs: 500 } }

describe("the no-response policy, over any history of attempts,", () => {
  it.prop(
    "asks no agent more often than its attempts and silences allow",
    arbitraries,
    ({ cause, history, ...limits }) => {
      const { steps } = live(cause, history, limits)
      for (const { attempt, silences } of steps) {
        assert.isAtMost(attempt, limits.maxAttempts)
        assert.isBelow(silences, limits.silenceLimit)
      }
    },
    runs
  )

  it.prop(
    "posts a fallback only for an owed answer, and only after the last silence or the last attempt",
    arbitraries,
    ({ cause, history, ...limits }) => {
      const { end, steps } = live(cause, history, limits)
      const last = steps.at(-1)
      if (end === "fallback") {
        assert.notStrictEqual(causes[cause][1], "none")
        assert.isTrue(last !== undefined && isSilence(last))
        assert.strictEqual(last?.silences, limits.silenceLimit - 1)
      }
      if (end === "dead with fallback") assert.notStrictEqual(causes[cause][1], "none")
      if (end === "dead" || end === "dead with fallback") assert.strictEqual(last?.attempt, limits.maxAttempts)
    },
    runs
  )

  it.prop(
    "skips where no answer is owed, or where the agent declined one that may be declined",
    arbitraries,
    ({ cause, history, ...limits }) => {
      const { end, steps } = live(cause, history, limits)
      const duty = causes[cause][1]
      const last = steps.at(-1)
      if (end === "skipped" && duty !== "none") {
        assert.strictEqual(duty, "declinable")
        assert.strictEqual(last?.ending, "token")
      }
      // What is accepted ends it there and then.
      const accepted = steps.findIndex(
        ({ ending }) =>
          ending === "text" || (ending === "token" && duty !== "owed") || (ending === "silence" && duty === "none")
      )
      if (accepted !== -1) {
        assert.strictEqual(accepted, steps.length - 1)
        assert.strictEqual(end, last?.ending === "text" ? "replied" : "skipped")
      }
    },
    runs
  )

  it.prop(
    "asks again without a duty to answer once at most, and only after an internal error",
    arbitraries,
    ({ cause, history, ...limits }) => {
      if (causes[cause][1] !== "none") return
      const again = live(cause, history, limits).steps.filter(
        (step) => isSilence(step) && step.judgement?._tag === "Failed"
      )
      assert.isAtMost(again.length, 1)
      for (const { ending } of again) assert.strictEqual(ending, "internal error")
    },
    runs
  )

  it.prop(
    "rotates the session only for an owed answer, after an internal error, for a try after which another silence ends it",
    arbitraries,
    ({ cause, history, ...limits }) => {
      for (const { attempt, ending, judgement, silences } of live(cause, history, limits).steps) {
        const isRotated = judgement?._tag === "Failed" && judgement.rotate === true
        const isNextLast = attempt + 1 === limits.maxAttempts || silences + 2 === limits.silenceLimit
        const hasNext = attempt < limits.maxAttempts && silences + 1 < limits.silenceLimit
        const isDue = causes[cause][1] !== "none" && ending === "internal error" && isNextLast && hasNext
        assert.strictEqual(isRotated, isDue)
      }
    },
    runs
  )

  it.prop(
    "ends where the control plane ends: it asks for no try that would not come, and gives up none that would",
    arbitraries,
    ({ cause, history, ...limits }) => {
      for (const { attempt, judgement, silences } of live(cause, history, limits).steps) {
        if (judgement?._tag !== "Failed" || !judgement.silence) continue
        const hasNext = attempt < limits.maxAttempts && silences + 1 < limits.silenceLimit
        assert.strictEqual(judgement.isFinal ?? false, !hasNext)
      }
    },
    runs
  )
})

describe("the no-response policy", () => {
  const limits = { maxAttempts: 8, silenceLimit: 3 }
  const first = { isOwed: true, isDeclined: false, isAmbiguous: false, attempt: 1, silences: 0 }

  it("retries twice for an owed answer, then uses the fallback", () => {
    const verdicts = [0, 1, 2].map(
      (silences) => afterNoResponse({ ...first, attempt: silences + 1, silences }, limits)._tag
    )
    assert.deepStrictEqual(verdicts, ["AskAgain", "AskAgain", "Fallback"])
  })

  it("accepts a token for a closing remark, but not for an assignment or a request", () => {
    for (const [cause, duty] of [
      ["a person's message", "skipped"],
      ["a person's mention", "skipped"],
      ["assignment", "fallback"],
      ["request", "fallback"]
    ] as const) {
      assert.strictEqual(live(cause, ["token", "token", "token"], limits).end, duty)
    }
  })

  it("posts one fallback for each agent that ignores a person, and none for those that declined", () => {
    assert.strictEqual(live("a person's message", ["silence", "silence", "silence"], limits).end, "fallback")
    assert.strictEqual(live("a person's message", ["silence", "token"], limits).end, "skipped")
  })

  it("treats several events like the strictest of them", () => {
    const events = [sampleEvent(), sampleEvent({ index: 1, type: "assignment", actor: engineer, message: null })]
    const judgement = judge({ events }, "token", limits, { attempt: 1, silences: 0 })
    assert.strictEqual(judgement._tag, "Failed")
  })
})
