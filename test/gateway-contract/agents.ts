import { expect, it } from "vitest"
import { type Contract, finalText, spokenOf } from "./target.ts"

const noOwner = /^Multiple agents are configured, but this operation has no explicit owner\./
const reserved = "`x-openclaw-session-key` cannot use reserved internal session namespaces."

/** The agent and the session of a run. */
export const agentCases = (contract: () => Contract): void => {
  const refuses = (name: string, body: object, options: object, message: string | RegExp) => {
    it(`refuses ${name} with a bare 400`, async () => {
      const answer = await contract().turn({ input: "hello", ...body }, options)
      expect(answer.status).toBe(400)
      expect(Object.keys(answer.json)).toEqual(["error"])
      if (typeof message === "string") expect(answer.json.error.message).toBe(message)
      else expect(answer.json.error.message).toMatch(message)
    })
  }

  refuses("an unknown agent in the header", {}, { agent: "gamma" }, "Unknown agent 'gamma'.")
  refuses("a header that is no agent id", {}, { agent: "not an id" }, "Unknown agent 'not an id'.")
  refuses("an unknown agent in the model", { model: "openclaw/gamma" }, { agent: undefined }, "Unknown agent 'gamma'.")
  refuses("to choose among several agents itself", {}, { agent: undefined }, noOwner)
  refuses("to take the agent from the key alone", {}, { agent: undefined, key: "agent:alpha:only-key" }, noOwner)
  refuses(
    "a model that is not its own",
    { model: "gpt-4" },
    {},
    "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."
  )
  for (const key of [
    "subagent:x",
    "cron:x",
    "acp:x",
    "agent:alpha:subagent:x",
    "agent:alpha:cron:x",
    "agent:alpha:acp:x",
    "SUBAGENT:x"
  ]) {
    refuses(`the reserved key ${key}`, {}, { key }, reserved)
  }

  const sessionOf = async (marker: string): Promise<string> => {
    const [prompt] = await contract().prompts(marker)
    return prompt?.session ?? "no prompt"
  }

  it("runs the agent of the session key, not that of the header", async () => {
    const marker = contract().newMarker()
    const key = contract().newKey("beta")
    const answer = await contract().turn({ input: marker }, { key, agent: "alpha" })
    expect(answer.status).toBe(200)
    const [prompt] = await contract().prompts(marker)
    expect([prompt?.agent, prompt?.session]).toEqual(["beta", key])
  })

  it("prefers the header to the model", async () => {
    const marker = contract().newMarker()
    await contract().turn({ input: marker, model: "openclaw/beta" }, { agent: "alpha" })
    expect(await sessionOf(marker)).toMatch(/^agent:alpha:/)
  })

  for (const model of ["openclaw/beta", "openclaw:beta", "agent:beta"]) {
    it(`uses the agent of the model ${model} and repeats the model`, async () => {
      const marker = contract().newMarker()
      const answer = await contract().turn({ input: marker, model }, { agent: undefined })
      expect(answer.json.model).toBe(model)
      expect(await sessionOf(marker)).toMatch(/^agent:beta:/)
    })
  }

  it("uses the agent of the shorter header", async () => {
    const marker = contract().newMarker()
    await contract().turn({ input: marker }, { agent: undefined, headers: { "x-openclaw-agent": "beta" } })
    expect(await sessionOf(marker)).toMatch(/^agent:beta:/)
  })

  it("lower-cases session keys, so that keys that differ in case are one session", async () => {
    const [first, second] = [contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().turn({ input: first }, { key: key.replace("agent:alpha:contract", "AGENT:Alpha:Contract") })
    await contract().turn({ input: second }, { key })
    const [prompt] = await contract().prompts(second)
    expect(prompt?.session).toBe(key)
    expect(spokenOf(prompt!)).toEqual([first, "ok", second])
  })

  for (const [name, key] of [
    ["a bare key among several agents", "task:42"],
    ["the key main", "main"],
    ["a key of 600 characters", "k".repeat(600)],
    ["a key of an unknown agent", "agent:gamma:x"]
  ] as const) {
    it(`fails the run for ${name}, as an internal error`, async () => {
      const answer = await contract().turn({ input: "hello" }, { key })
      expect(answer.status).toBe(500)
      expect(answer.json).toMatchObject({
        object: "response",
        status: "failed",
        output: [],
        error: { code: "api_error", message: "internal error" }
      })
    })
  }

  it("uses one session for each user if there is no key", async () => {
    const [first, second] = [contract().newMarker(), contract().newMarker()]
    const user = contract().newMarker()
    await contract().turn({ input: first, user })
    await contract().turn({ input: second, user })
    const [prompt] = await contract().prompts(second)
    expect(prompt?.session).toBe(`agent:alpha:openresponses-user:${user}`)
    expect(spokenOf(prompt!)).toEqual([first, "ok", second])
  })

  it("creates a session if there is neither key nor user", async () => {
    const [first, second] = [contract().newMarker(), contract().newMarker()]
    await contract().turn({ input: first })
    await contract().turn({ input: second })
    const [prompt] = await contract().prompts(second)
    expect(prompt?.session).toMatch(/^agent:alpha:openresponses:[0-9a-f-]{36}$/)
    expect(spokenOf(prompt!)).toEqual([second])
  })

  it("continues a session by previous_response_id if there is no key", async () => {
    const [first, second] = [contract().newMarker(), contract().newMarker()]
    const answer = await contract().turn({ input: first })
    await contract().turn({ input: second, previous_response_id: answer.json.id })
    const [prompt] = await contract().prompts(second)
    expect(spokenOf(prompt!)).toEqual([first, "ok", second])
  })

  it("ignores an unknown previous_response_id", async () => {
    const marker = contract().newMarker()
    const answer = await contract().turn({ input: marker, previous_response_id: "resp_unknown" })
    expect(answer.status).toBe(200)
    const [prompt] = await contract().prompts(marker)
    expect(spokenOf(prompt!)).toEqual([marker])
  })

  it("keeps keys with colons, at signs and dots as they are", async () => {
    const marker = contract().newMarker()
    const key = `${contract().newKey()}:u@host.example:1`
    const answer = await contract().turn({ input: marker }, { key })
    expect(finalText(answer)).toBe("ok")
    expect(await sessionOf(marker)).toBe(key)
  })

  it("uses the only agent for a bare key", async (ctx) => {
    const variant = await contract().target.variant?.({ agents: ["solo"] })
    if (variant === undefined) return ctx.skip("the real gateway under test has two agents")
    await using _ = variant
    const solo = new (contract().constructor as new (target: Contract["target"]) => Contract)(variant.target)
    const marker = solo.newMarker()
    const answer = await solo.turn({ input: marker }, { key: "task:42", agent: undefined })
    expect(answer.status).toBe(200)
    const [prompt] = await solo.prompts(marker)
    expect(prompt?.session).toBe("agent:solo:task:42")
  })
}
