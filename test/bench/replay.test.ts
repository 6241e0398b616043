import { assert, describe, it } from "@effect/vitest"
import { answerOf, itemOf } from "../../bench/replay.ts"

const now = 1_795_907_074_417
const claim = JSON.stringify({
  status: "success",
  value: {
    deliveries: [
      {
        expiresAt: now + 90_000,
        notificationIds: ["0000000000000010015notifications"],
        session: "000000000000000000010014sessions"
      }
    ],
    now
  }
})
const context = JSON.stringify({
  status: "success",
  value: [
    {
      context: { account: { id: "000000000000000000010000accounts" }, sessionKey: "agent:agent-0:k57" },
      id: "0000000000000010015notifications"
    }
  ]
})
const counter = () => {
  let next = 7
  return () => next++
}

describe("a replayed answer", () => {
  it("gives a claim as many copies as it asks for, each with its own ids and a lease from now on", () => {
    const { value } = JSON.parse(answerOf("claim", claim, '{"limit":2}', counter()))
    assert.deepStrictEqual(
      value.deliveries.map(({ notificationIds, session }: Record<string, unknown>) => [notificationIds, session]),
      [
        [["0000000070000010015notifications"], "000000007000000000010014sessions"],
        [["0000000080000010015notifications"], "000000008000000000010014sessions"]
      ]
    )
    assert.isAbove(value.now, now)
    assert.strictEqual(value.deliveries[0].expiresAt - value.now, 90_000)
  })

  it("gives the contexts of the requested copies, each with its own agent and the same account", () => {
    const question = '{"ids":["0000000120000010015notifications","0000001030000010015notifications"]}'
    const { value } = JSON.parse(answerOf("context", context, question, counter()))
    assert.deepStrictEqual(
      value.map(({ context: { account, sessionKey }, id }: any) => [id, sessionKey, account.id]),
      [
        ["0000000120000010015notifications", "agent:agent-12:k57", "000000000000000000010000accounts"],
        ["0000001030000010015notifications", "agent:agent-3:k57", "000000000000000000010000accounts"]
      ]
    )
  })

  it("is not built from an empty claim", () => {
    assert.isNull(itemOf(JSON.stringify({ status: "success", value: { deliveries: [], now } })))
  })
})
