import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { type ModelServer, startModel } from "../../../local/model/server.ts"

describe("the scripted model over HTTP", () => {
  let server: ModelServer
  beforeAll(async () => {
    server = await startModel()
  })
  afterAll(() => server.stop())
  beforeEach(() => {
    server.model.clearScript()
    server.model.clearRequests()
  })

  const ask = (body: object = {}, init: RequestInit = {}) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "fake-1", messages: [{ role: "user", content: "hello" }], ...body }),
      ...init
    })
  const bodyOf = async (response: Response): Promise<any> => await response.json()
  const control = (method: string, path: string, body?: object) =>
    fetch(`${server.url}/__local/${path}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })

  it("answers a completion with text, calls and usage", async () => {
    server.model.add({
      rules: [
        { actions: [{ text: "here", toolCalls: [{ name: "a", args: { x: 1 } }], usage: { input: 5, output: 2 } }] }
      ]
    })
    const answer = await (await ask()).json()
    expect(answer).toMatchObject({
      object: "chat.completion",
      choices: [
        {
          finish_reason: "tool_calls",
          message: {
            content: "here",
            tool_calls: [{ type: "function", function: { name: "a", arguments: '{"x":1}' } }]
          }
        }
      ],
      usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 }
    })
  })

  it("streams role, text, calls, the end and the usage", async () => {
    server.model.add({ rules: [{ actions: [{ text: "here", toolCalls: [{ name: "a" }] }] }] })
    const response = await ask({ stream: true })
    expect(response.headers.get("content-type")).toBe("text/event-stream")
    const lines = (await response.text()).trim().split("\n\n")
    expect(lines.at(-1)).toBe("data: [DONE]")
    const chunks = lines.slice(0, -1).map((line) => JSON.parse(line.slice("data: ".length)))
    expect(chunks.map((chunk) => chunk.choices[0]?.delta ?? "usage")).toEqual([
      { role: "assistant" },
      { content: "here" },
      {
        tool_calls: [{ index: 0, id: expect.any(String), type: "function", function: { name: "a", arguments: "{}" } }]
      },
      {},
      "usage"
    ])
    expect(chunks.at(-2).choices[0].finish_reason).toBe("tool_calls")
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 133 } })
  })

  it("fails with the scripted status, headers and body", async () => {
    server.model.add({ rules: [{ actions: [{ status: 429, body: { error: "x" }, headers: { "retry-after": "7" } }] }] })
    const response = await ask()
    expect([response.status, response.headers.get("retry-after"), await response.json()]).toEqual([
      429,
      "7",
      { error: "x" }
    ])
  })

  it("drops the connection without an answer", async () => {
    server.model.add({ rules: [{ actions: [{ drop: true }] }] })
    await expect(ask()).rejects.toThrow()
    expect(server.model.requests[0]?.ended).toBe("dropped")
  })

  it("records a caller that hung up before the answer", async () => {
    server.model.add({ rules: [{ actions: [{ hang: true }] }] })
    const giveUp = new AbortController()
    const answer = ask({}, { signal: giveUp.signal })
    await expect.poll(() => server.model.requests.length).toBe(1)
    giveUp.abort()
    await expect(answer).rejects.toThrow()
    await expect.poll(() => server.model.requests[0]?.ended).toBe("closed-early")
  })

  it("answers after the delay, not earlier", async () => {
    server.model.add({ rules: [{ actions: [{ delayMs: 50, text: "late" }] }] })
    const answer = ask()
    await expect.poll(() => server.model.requests.length).toBe(1)
    expect(server.model.requests[0]?.ended).toBe("open")
    expect((await bodyOf(await answer)).choices[0].message.content).toBe("late")
  })

  it("accepts a script, shows its requests, and deletes both", async () => {
    expect((await control("POST", "script", { rules: [{ actions: [{ text: "scripted" }] }] })).status).toBe(200)
    await ask()
    const shown = await (await control("GET", "requests")).json()
    expect(shown).toMatchObject({ count: 1, requests: [{ messages: [{ content: "hello" }], ended: "answered" }] })
    await control("DELETE", "requests")
    expect(await (await control("GET", "requests")).json()).toEqual({ count: 0, requests: [] })
    await control("POST", "script", { rules: [{ actions: [{ text: "never" }] }] })
    await control("DELETE", "script")
    expect((await bodyOf(await ask())).choices[0].message.content).toBe("ok")
  })

  it("refuses an invalid script and names the place", async () => {
    const response = await control("POST", "script", { rules: [{ actions: [{ txt: "x" }] }] })
    expect(response.status).toBe(400)
    expect((await bodyOf(response)).error).toContain('rules[0].actions[0] has the unknown key "txt"')
  })

  it("refuses a request that is not a completion", async () => {
    const statuses = await Promise.all([
      ask({}, { body: "{broken" }),
      ask({ messages: "x" }),
      fetch(`${server.url}/v1/chat/completions`),
      fetch(`${server.url}/nowhere`)
    ])
    expect(statuses.map((response) => response.status)).toEqual([400, 400, 405, 404])
  })
})
