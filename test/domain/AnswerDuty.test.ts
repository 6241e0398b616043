import { assert, describe, it } from "@effect/vitest"
import { isAnswerOwed } from "../../src/domain/AnswerDuty.ts"
import { engineer, person, sampleRow, system } from "./sampleContext.ts"

describe("an answer", () => {
  it("is owed to an assignment, a mention and a request, whoever made them", () => {
    for (const type of ["assignment", "mention", "response_request"] as const) {
      for (const actor of [person, engineer, system]) assert.isTrue(isAnswerOwed([sampleRow({ type, actor })]))
    }
  })

  it("is owed to a person's message, not to an agent's", () => {
    assert.isTrue(isAnswerOwed([sampleRow({ type: "thread_update", actor: person })]))
    assert.isFalse(isAnswerOwed([sampleRow({ type: "thread_update", actor: engineer })]))
    assert.isFalse(isAnswerOwed([sampleRow({ type: "thread_update", actor: system })]))
  })

  it("is never owed to a change of status", () => {
    assert.isFalse(isAnswerOwed([sampleRow({ type: "status_change", actor: person })]))
  })

  it("is owed by a fold when any of its rows asks for one", () => {
    const update = sampleRow({ type: "thread_update", actor: engineer })
    assert.isFalse(isAnswerOwed([update, update]))
    assert.isTrue(isAnswerOwed([update, sampleRow(), update]))
    assert.isFalse(isAnswerOwed([]))
  })
})
