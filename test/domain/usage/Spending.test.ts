import { assert, describe, it } from "@effect/vitest"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import { ConnectionLost, ContextOverflow, TurnRefused, TurnSilent } from "../../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import {
  modelCalled,
  noSpending,
  requestAnswered,
  requestFailed,
  requestSent,
  spentSoFar,
  spentUsage
} from "../../../src/domain/usage/Spending.ts"
import type { Spending } from "../../../src/domain/usage/Spending.ts"

const tokens = (inputTokens: number) => ({ ...noUsage, inputTokens })
const reported = (spending: Spending) => spentUsage(spending, { model: null, price: null }, false)

/** A request whose run has shown two model calls. */
const shown = modelCalled(modelCalled(requestSent(noSpending), "run_1", tokens(100)), "run_1", tokens(150))

describe("what an attempt has spent", () => {
  it("includes the model calls of a request that is not answered", () => {
    assert.strictEqual(spentSoFar(shown).inputTokens, 250)
    assert.deepInclude(reported(shown), { inputTokens: 250, rounds: 0, unanswered: 1, contextTokens: 150 })
  })

  it("counts a request once after its answer, whatever events follow", () => {
    const answered = requestAnswered(shown, tokens(260), { runId: "run_1" })
    const late = modelCalled(answered, "run_1", tokens(10))
    assert.deepInclude(reported(late), { inputTokens: 260, rounds: 1, unanswered: 0, contextTokens: 260 })
    const next = modelCalled(requestSent(late), "run_2", tokens(70))
    assert.strictEqual(spentSoFar(next).inputTokens, 330)
  })

  it("is what the events have shown if the answer counts no tokens", () => {
    assert.deepInclude(reported(requestAnswered(shown, noUsage)), { inputTokens: 250, rounds: 1, unanswered: 0 })
  })

  const failures: ReadonlyArray<readonly [string, TurnFailure, object]> = [
    [
      "the shown calls and one unknown one after a lost connection",
      new ConnectionLost({ detail: "reset" }),
      { inputTokens: 250, rounds: 0, unanswered: 1 }
    ],
    [
      "only the shown calls after a refusal",
      new TurnRefused({ detail: "HTTP 400", status: 400 }),
      { inputTokens: 250, rounds: 0, unanswered: 0 }
    ],
    [
      "only the shown calls after a silence",
      new TurnSilent({ detail: "silent" }),
      { inputTokens: 250, rounds: 1, unanswered: 0 }
    ],
    [
      "only the shown calls after an overflow",
      new ContextOverflow({ detail: "too long" }),
      { inputTokens: 250, rounds: 1, unanswered: 0 }
    ],
    [
      "the usage of the answer, if a failure has one",
      new TurnSilent({ detail: "silent", usage: tokens(300) }),
      { inputTokens: 300, rounds: 1, unanswered: 0 }
    ]
  ]
  for (const [name, failure, expected] of failures) {
    it(`is ${name}`, () => assert.deepInclude(reported(requestFailed(shown, failure)), expected))
  }

  it("is unknown after a silence without events, and nothing after a refusal without events", () => {
    const sent = requestSent(noSpending)
    const silent = requestFailed(sent, new TurnSilent({ detail: "silent" }))
    assert.deepInclude(reported(silent), { inputTokens: 0, unanswered: 1 })
    assert.isUndefined(reported(requestFailed(sent, new TurnRefused({ detail: "HTTP 400", status: 400 }))))
  })
})
