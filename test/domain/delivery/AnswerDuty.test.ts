import { assert, describe, it } from "@effect/vitest"
import { isAnswerOwed, mayDecline } from "../../../src/domain/delivery/AnswerDuty.ts"
import { engineer, person, sampleEvent, system } from "./sampleContext.ts"

describe("an answer", () => {
  it("is owed to an assignment, a mention and a request by anyone", () => {
    for (const type of ["assignment", "mention", "response_request"] as const) {
      for (const actor of [person, engineer, system]) assert.isTrue(isAnswerOwed([sampleEvent({ type, actor })]))
    }
  })

  it("is owed to a person's message, not to an agent's", () => {
    assert.isTrue(isAnswerOwed([sampleEvent({ type: "thread_update", actor: person })]))
    assert.isFalse(isAnswerOwed([sampleEvent({ type: "thread_update", actor: engineer })]))
    assert.isFalse(isAnswerOwed([sampleEvent({ type: "thread_update", actor: system })]))
  })

  it("is never owed to a change of status", () => {
    assert.isFalse(isAnswerOwed([sampleEvent({ type: "status_change", actor: person })]))
  })

  it("is owed to several events if it is owed to one of them", () => {
    const update = sampleEvent({ type: "thread_update", actor: engineer })
    assert.isFalse(isAnswerOwed([update, update]))
    assert.isTrue(isAnswerOwed([update, sampleEvent(), update]))
    assert.isFalse(isAnswerOwed([]))
  })

  it("may be declined, but not if one of the events is an assignment or a request", () => {
    assert.isTrue(mayDecline([sampleEvent(), sampleEvent({ type: "mention" })]))
    for (const type of ["assignment", "response_request"] as const) {
      assert.isFalse(mayDecline([sampleEvent(), sampleEvent({ type })]))
    }
  })
})
