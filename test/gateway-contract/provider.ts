import { expect, it } from "vitest"
import { Contract, finalText, sendTool, spokenOf } from "./target.ts"

const slow = "it holds a turn of the real gateway for a minute and more"

/** A provider that refuses, fails or disconnects. */
export const providerCases = (contract: () => Contract): void => {
  const refusal = (status: number) => ({ status, body: { error: { message: `scripted refusal`, type: "x" } } })

  for (const status of [400, 404, 422]) {
    it(`passes on a provider's ${status} at once, in a Response object`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [refusal(status), { text: "too late" }])
      const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
      expect(answer.status).toBe(contract().isOld && status === 422 ? 400 : status)
      expect(answer.json).toMatchObject({
        object: "response",
        status: "failed",
        output: [],
        error: { code: "invalid_request_error", message: `${status} scripted refusal` }
      })
      expect(await contract().prompts(marker)).toHaveLength(1)
    })
  }

  it("keeps the text of a refused turn in the session", async () => {
    const [marker, later] = [contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(marker, [refusal(400)])
    await contract().turn({ input: marker }, { key })
    await contract().turn({ input: later }, { key })
    const [prompt] = await contract().prompts(later)
    expect(spokenOf(prompt!)).toEqual([marker, later])
  })

  it("fails as an internal error when the context overflows", async () => {
    const marker = contract().newMarker()
    const body = { error: { message: "maximum context length is 10 tokens", code: "context_length_exceeded" } }
    await contract().script(marker, [{ status: 400, body }])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(answer.status).toBe(500)
    expect(answer.json.error).toEqual({ code: "api_error", message: "internal error" })
  })

  it("fails as an internal error when a tool call was cut off", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      { toolCalls: [{ name: "message_send", args: { to: "a", n: 1 } }], truncated: true }
    ])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(answer.status).toBe(500)
  })

  for (const status of [500, 503, 429]) {
    it(`retries after one ${status}, and notes it in the prompt from 2026.9 on`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [refusal(status), { text: "recovered" }])
      const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
      expect(finalText(answer)).toBe("recovered")
      const prompts = await contract().prompts(marker)
      expect(prompts).toHaveLength(2)
      const text = spokenOf(prompts[1]!).at(-1)
      if (contract().isOld) expect(text).toBe(marker)
      else expect(text).toMatch(/^\[Queued user message from a previous active turn/)
    })
  }

  it("answers 502 for a lasting 500", async (ctx) => {
    const variant = await contract().target.variant?.({ timeScale: 0.001 })
    if (variant === undefined) return ctx.skip(slow)
    await using _ = variant
    const own = new Contract(variant.target)
    const marker = own.newMarker()
    await own.script(marker, [{ status: 500 }], { repeat: true })
    const answer = await own.turn({ input: marker }, { key: own.newKey() })
    expect(answer.status).toBe(502)
    expect(answer.json.error).toEqual({ code: "api_error", message: "upstream provider error" })
    expect(await own.prompts(marker)).toHaveLength(7)
  })

  it("answers 429 for a lasting 429", async (ctx) => {
    const variant = await contract().target.variant?.({ timeScale: 0.001 })
    if (variant === undefined) return ctx.skip(slow)
    await using _ = variant
    const own = new Contract(variant.target)
    const marker = own.newMarker()
    await own.script(marker, [refusal(429)], { repeat: true })
    const answer = await own.turn({ input: marker }, { key: own.newKey() })
    expect(answer.status).toBe(429)
    expect(answer.json.error).toEqual({ code: "rate_limit_error", message: "429 scripted refusal" })
    expect(await own.prompts(marker)).toHaveLength(10)
  })

  it("answers 408 for a provider that keeps disconnecting", async (ctx) => {
    const variant = await contract().target.variant?.({ timeScale: 0.001 })
    if (variant === undefined) return ctx.skip(slow)
    await using _ = variant
    const own = new Contract(variant.target)
    const marker = own.newMarker()
    await own.script(marker, [{ drop: true }], { repeat: true })
    const answer = await own.turn({ input: marker }, { key: own.newKey() })
    expect(answer.status).toBe(408)
    expect(answer.json).toMatchObject({ object: "response", status: "failed" })
    expect(await own.prompts(marker)).toHaveLength(8)
  })

  it("fails every run of every agent for a while after a provider's 401, then works again", async (ctx) => {
    const variant = await contract().target.variant?.({ timeScale: 0.005 })
    if (variant === undefined) return ctx.skip("it would fail every other turn of the real gateway for a minute")
    await using _ = variant
    const own = new Contract(variant.target)
    const marker = own.newMarker()
    await own.script(marker, [refusal(401)])
    const refused = await own.turn({ input: marker }, { key: own.newKey() })
    expect(refused.status).toBe(401)
    expect(refused.json.error).toEqual({ code: "authentication_error", message: "401 scripted refusal" })
    const next = await own.turn({ input: "hello" }, { key: own.newKey("beta"), agent: "beta" })
    expect(next.status).toBe(500)
    expect(next.json.error.message).toBe("internal error")
    await expect
      .poll(async () => (await own.turn({ input: "hello" }, { key: own.newKey() })).status, { timeout: 10_000 })
      .toBe(200)
  })
}
