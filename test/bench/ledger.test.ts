import { assert, describe, it } from "@effect/vitest"
import { ledgerOf } from "../../bench/soak/ledger.ts"
import type { Document } from "../../local/plane/document.ts"

const document = (_id: string, fields: Omit<Document, "_id" | "_creationTime">): Document => ({
  _id,
  _creationTime: 0,
  ...fields
})

/** Two requests, each answered once; the first made a task. */
const house: ReadonlyArray<Document> = [1, 2].flatMap((n) => [
  document(`${n}messages`, { kind: "message", content: `@agent-1 this is request number ${n}` }),
  document(`${n}notifications`, {
    recipientType: "agent",
    type: "mention",
    events: [{ type: "mention", messageId: `${n}messages` }],
    state: "delivered",
    outcome: "replied"
  }),
  document(`${n + 10}messages`, { kind: "reply", content: `Answer ${n}`, runId: `${n}notifications` }),
  document(`${n}tasks`, { title: `Follow-up ${n}` })
])

const asked = { certain: new Set([1, 2]), perhaps: new Set<number>() }
const wrongWith = (documents: ReadonlyArray<Document>, requests = asked) => ledgerOf(documents, requests).wrong
const changed = (id: string, fields: Record<string, string>): ReadonlyArray<Document> =>
  house.map((one) => (one._id === id ? { ...one, ...fields } : one))

describe("the soak's ledger", () => {
  it("reports nothing if every request has one answer", () => {
    const ledger = ledgerOf(house, asked)
    assert.deepStrictEqual(ledger.wrong, [])
    assert.deepStrictEqual([ledger.notifications, ledger.replies, ledger.creations], [2, 2, 2])
  })

  it("reports an accepted request that is lost", () => {
    assert.deepStrictEqual(wrongWith(house, { ...asked, certain: new Set([1, 2, 3]) }), ["request 3 is lost"])
    assert.deepStrictEqual(wrongWith(house, { ...asked, perhaps: new Set([3]) }), [])
  })

  it("reports a request whose notification is missing or exists twice", () => {
    const without = house.filter(({ _id }) => _id !== "2notifications" && _id !== "12messages")
    assert.deepStrictEqual(wrongWith(without), ["request 2 is in 0 notifications"])
    const twice = [...house, { ...house[1]!, _id: "3notifications", outcome: "skipped" }]
    assert.deepStrictEqual(wrongWith(twice), ["request 1 is in 2 notifications"])
  })

  it("finds each of several events of one notification", () => {
    const joined = house
      .filter(({ _id }) => _id !== "2notifications" && _id !== "12messages")
      .map((one) =>
        one._id === "1notifications"
          ? { ...one, events: [1, 2].map((n) => ({ type: "mention", messageId: `${n}messages` })) }
          : one
      )
    assert.deepStrictEqual(wrongWith(joined), [])
  })

  it("reports a notification that is still open", () => {
    assert.deepStrictEqual(wrongWith(changed("1notifications", { state: "claimed" })), [
      "mention 1notifications is still claimed"
    ])
  })

  it("reports an answer that exists twice and one that is missing", () => {
    const twice = [...house, document("99messages", { kind: "fallback", content: "", runId: "1notifications" })]
    assert.deepStrictEqual(wrongWith(twice), ["2 answers of one notification, 1notifications"])
    const none = house.filter(({ _id }) => _id !== "11messages")
    assert.deepStrictEqual(wrongWith(none), ["1notifications has the outcome replied but no answer"])
  })

  it("reports a creation that exists twice", () => {
    assert.deepStrictEqual(wrongWith(changed("2tasks", { title: "Follow-up 1" })), [
      '"Follow-up 1" was created more than once'
    ])
  })
})
