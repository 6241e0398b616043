import { describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { afterEach, beforeEach, expect, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { fenceOf, only, seededPlane } from "./controlPlane.ts"

// Keeps Effect's timers real.
beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z"), toFake: ["Date"] })
})
afterEach(() => {
  vi.useRealTimers()
})

const { service } = api

/** The ways in which an attempt can end without ending its notification. */
const End = Schema.Literals(["own failure", "silence", "shared failure", "drain", "crash"])
const Budget = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
const History = Schema.Array(End).check(Schema.isMinLength(3), Schema.isMaxLength(14))

/** Runs one assignment through this history, with each call made twice, and checks what is stored afterwards. */
const live = async (maxAttempts: number, silenceLimit: number, history: ReadonlyArray<typeof End.Type>) => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
  const twice = async <A>(call: () => Promise<A>): Promise<A> => {
    const answer = await call()
    expect(await call()).toEqual(answer)
    return answer
  }
  let boot = 1
  const claim = () => plane.take({ bootId: `b${boot}`, maxAttempts })
  const expected = { attempts: 0, silences: 0, state: "ready" }
  const isOver = () => expected.state === "dead" || expected.state === "delivered"
  let id = ""
  for (const end of history) {
    if (isOver()) break
    const { runs, spent } = await claim()
    if (expected.attempts === maxAttempts) {
      expect([runs, spent]).toEqual([[], [id]])
      expected.state = "dead"
      break
    }
    const run = only(runs)
    id = run.id
    const fence = fenceOf(run)
    const failure = { ...fence, class: "TurnTimeout", error: "late", silence: false, silenceLimit }
    expected.attempts += 1
    expect(run).toMatchObject({ attempt: expected.attempts, silences: expected.silences })
    const nextAttemptAt = Date.now()
    const isLast = expected.attempts === maxAttempts
    switch (end) {
      case "own failure":
      case "silence": {
        const isSilence = end === "silence"
        const retry = isLast ? {} : { nextAttemptAt }
        await twice(() => plane.mutate(service.notifications.fail, { ...failure, ...retry, silence: isSilence }))
        expected.silences += isSilence ? 1 : 0
        const isAnsweredFor = isSilence && expected.silences >= silenceLimit
        expected.state = isAnsweredFor ? "delivered" : isLast ? "dead" : "ready"
        break
      }
      case "shared failure": {
        const release = { ...fence, nextAttemptAt, class: "ProviderFailed", sharedLimitMs: 86_400_000 }
        await twice(() => plane.mutate(service.notifications.release, release))
        expected.attempts -= 1
        expected.state = "ready"
        break
      }
      case "drain":
        await twice(() => plane.mutate(service.notifications.release, fence))
        expected.attempts -= 1
        expected.state = "ready"
        break
      case "crash":
        boot += 1
        await plane.pulse("r1", `b${boot}`)
        expected.state = "ready"
    }
    expect(await plane.row(id)).toMatchObject(expected)
  }
  expect(await plane.row(id)).toMatchObject({ ...expected, hasFallback: isOver() })
  expect((await plane.thread(taskId)).map(({ kind }) => kind)).toEqual(isOver() ? ["fallback"] : [])
  const letters = await plane.query(service.notifications.deadLetters, {})
  expect(letters).toHaveLength(expected.state === "dead" ? 1 : 0)
}

describe("the budgets of attempts and silences", () => {
  it.effect.prop(
    "hold for any history whose every call arrives twice, and end in one fallback and at most one dead letter",
    { maxAttempts: Budget, silenceLimit: Budget, history: History },
    ({ history, maxAttempts, silenceLimit }) => Effect.promise(() => live(maxAttempts, silenceLimit, history)),
    { arbitrary: { runs: 40 } }
  )
})
