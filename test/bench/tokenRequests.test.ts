import { assert, describe, it } from "@effect/vitest"
import { makeRequestLog, rowsOf, tableOf } from "../../bench/tokenRequests.ts"
import type { ChatMessage } from "../../local/model/chat.ts"

const system: ChatMessage = {
  role: "system",
  content: `${"s".repeat(400)}\n## Conversation Context\n${"i".repeat(80)}\n## Runtime\nhost`
}
const internal: ChatMessage = { role: "user", content: "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>> now" }
const user = (content: string): ChatMessage => ({ role: "user", content })
const assistant: ChatMessage = { role: "assistant", content: "ok" }

describe("the requests of the tokens bench", () => {
  it("share their prefix with the previous request of the session, without the gateway's temporary note", () => {
    const log = makeRequestLog()
    const first = user(`delivery 1 ${"a".repeat(200)}`)
    const second = user(`{"tool":"task_load"} ${"b".repeat(40)}`)
    log.add("one", { model: "m", messages: [system, first, internal] })
    log.add("two", { model: "m", messages: [system, user("heartbeat h1, attempt 1"), internal] })
    log.add("one", { model: "m", messages: [system, first, assistant, second, internal] })
    const [delivery, heartbeat, round] = log.requests
    assert.deepStrictEqual(
      log.requests.map(({ kind }) => kind),
      ["delivery", "heartbeat", "tool round"]
    )
    assert.deepStrictEqual([delivery?.shared, heartbeat?.shared], [0, 0])
    assert.strictEqual(round?.shared, delivery?.text.length)
    assert.strictEqual(round?.own, 61)
    assert.strictEqual(delivery?.instructions, 80)
  })

  it("cost a tenth if the cache has them, and more if they are written to it", () => {
    const log = makeRequestLog()
    const first = user(`delivery 1 ${"a".repeat(400)}`)
    log.add("one", { model: "m", messages: [system, first] })
    log.add("one", { model: "m", messages: [system, first, assistant, user(`delivery 2 ${"b".repeat(400)}`)] })
    const value = (name: string) =>
      rowsOf(log.requests, log.requests).find((row) => row.name === name)?.samples[0] ?? Number.NaN
    const [one, two] = log.requests.map(({ text }) => text.length / 4)
    const perTurn = (tokens: number) => tokens / 2
    assert.closeTo(value("input per turn"), perTurn(one! + two!), 1e-6)
    const warm = one! + 0.1 * one! + (two! - one!)
    assert.closeTo(value("input per turn, price-weighted, warm, OpenAI"), perTurn(warm), 1e-6)
    // A turn that finds a cold cache writes all of its first request.
    assert.closeTo(value("input per turn, price-weighted, cold, Anthropic"), perTurn(1.25 * (one! + two!)), 1e-6)
    assert.match(tableOf(log.requests), /^\| delivery \| 2 \| /m)
  })
})
