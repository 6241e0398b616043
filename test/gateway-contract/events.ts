import { expect, it } from "vitest"
import type { RunCause } from "../../src/domain/gateway/GatewayEvent.ts"
import { EventClient } from "./eventClient.ts"
import { Contract, finalText, sendTool, spokenOf, until } from "./target.ts"

/** A client that follows a new session. */
const follow = async (contract: Contract, scopes?: ReadonlyArray<string>) => {
  const key = contract.newKey()
  const { client, answer } = await EventClient.open(contract.target, scopes === undefined ? undefined : [...scopes])
  expect(answer.ok).toBe(true)
  expect(await client.request("sessions.messages.subscribe", { key })).toMatchObject({
    ok: true,
    payload: { subscribed: true, key }
  })
  return { client, key }
}

/** The events of a running turn, as the runtime reads them. */
export const eventCases = (contract: () => Contract): void => {
  it("connects a backend client with the token, and reports version, methods, events and granted scopes", async () => {
    const { client, answer } = await EventClient.open(contract().target)
    await using _ = client
    expect(answer).toMatchObject({
      ok: true,
      payload: { type: "hello-ok", protocol: 4, server: { version: contract().target.version } }
    })
    const { auth, features } = answer.payload as {
      auth: { scopes: unknown }
      features: { methods: Array<string>; events: Array<string> }
    }
    expect(auth.scopes).toEqual(["operator.read"])
    expect(features.methods).toEqual(
      expect.arrayContaining(["sessions.messages.subscribe", "sessions.messages.unsubscribe"])
    )
    expect(features.events).toEqual(expect.arrayContaining(["agent", "session.message"]))
  })

  it("refuses another token, and closes the connection", async () => {
    const { client, answer } = await EventClient.open({ ...contract().target, token: "another" })
    await using _ = client
    expect(answer).toMatchObject({ ok: false, error: { message: expect.stringContaining("unauthorized") } })
    await until("the close", async () => client.isClosed || undefined)
  })

  it("refuses to stop a run without the right to write", async () => {
    const { client, key } = await follow(contract())
    await using _ = client
    expect(await client.request("sessions.abort", { key })).toMatchObject({ ok: false })
  })

  it("report start, text, tokens, model and end of a turn, under the response's id", async () => {
    const { client, key } = await follow(contract())
    await using _ = client
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "All done." }])
    const answer = await contract().turn({ input: marker }, { key })
    expect(finalText(answer)).toBe("All done.")
    const { event, runId } = await client.end(key)
    expect(runId).toBe(answer.json.id)
    expect(event).toEqual({ _tag: "RunEnded", cause: { _tag: "Completed" }, model: "fake/fake-1" })
    const events = () => client.events(key).map((each) => each.event)
    expect(events()[0]).toEqual({ _tag: "RunStarted" })
    expect(events()).toContainEqual({ _tag: "TextGrew", text: "All done." })
    const { input_tokens, output_tokens } = answer.json.usage
    // The stored message, which has the tokens, may follow the end of the run.
    await expect.poll(events, { timeout: 10_000 }).toContainEqual({
      _tag: "ModelCalled",
      usage: { inputTokens: input_tokens, outputTokens: output_tokens, cacheReadTokens: 0, cacheWriteTokens: 0 },
      model: "fake/fake-1",
      hasTools: false
    })
  })

  it("report the caller's tools by name, and the text that the model sent with the call", async () => {
    const { client, key } = await follow(contract())
    await using _ = client
    const marker = contract().newMarker()
    const call = { name: "message_send", args: { to: "bob", n: 1 } }
    await contract().script(marker, [{ text: "Let me send.", toolCalls: [call] }])
    await contract().turn({ input: marker, tools: [sendTool] }, { key })
    expect((await client.end(key)).event.cause).toEqual({ _tag: "Completed" })
    const events = client.events(key).map((each) => each.event)
    const started = events.find((event) => event._tag === "ToolStarted")
    expect(started?.tool).toBe("message_send")
    expect(events).toContainEqual({ _tag: "ToolEnded", callId: started?.callId })
    expect(events).toContainEqual({ _tag: "TextGrew", text: "Let me send." })
  })

  it("come only for sessions that are followed", async () => {
    const { client, key } = await follow(contract())
    await using _ = client
    await client.request("sessions.messages.unsubscribe", { key })
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "unseen" }])
    await contract().turn({ input: marker }, { key })
    // The answer follows every event that was sent before it.
    await client.request("sessions.messages.unsubscribe", { key })
    expect(client.events(key)).toEqual([])
  })

  it("name a stop in OpenClaw, whose answer is an internal error, or before 2026.9 a timeout without a name", async () => {
    const { client, key } = await follow(contract(), ["operator.read", "operator.write"])
    await using _ = client
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "too late", delayMs: 30_000 }])
    const turn = contract().turn({ input: marker }, { key })
    await contract().untilPrompted(marker)
    expect(await client.request("sessions.abort", { key })).toMatchObject({ ok: true, payload: { status: "aborted" } })
    const answer = await turn
    expect(answer.status).toBe(contract().isOld ? 504 : 500)
    const { event, runId } = await client.end(key)
    expect(runId).toBe(answer.json.id)
    expect(event.cause._tag).toBe(contract().isOld ? "Unexplained" : "Stopped")
    // The next turn sees the stopped text, so its prompt must state that it was stopped.
    const next = contract().newMarker()
    await contract().script(next, [{ text: "ok" }])
    await contract().turn({ input: next }, { key })
    const [prompt] = await contract().prompts(next)
    expect(spokenOf(prompt!).join("\n")).toContain(marker)
  })

  it("list the sessions with a running or queued turn, which 2026.8.2 cannot", async () => {
    const { client, key } = await follow(contract())
    await using _ = client
    const question = { activeOnly: true, agentId: "alpha", limit: 500 }
    const activeKeys = async () => {
      const answer = await client.request("sessions.list", question)
      const { sessions = [] } = (answer.payload ?? {}) as { sessions?: ReadonlyArray<{ readonly key: string }> }
      return answer.ok ? sessions.map((session) => session.key) : null
    }
    if (contract().isOld) {
      expect(await activeKeys()).toBeNull()
      return
    }
    expect(await activeKeys()).not.toContain(key)
    const running = contract().newMarker()
    const queued = contract().newMarker()
    await contract().script(running, [{ text: "first", delayMs: 2_000 }])
    await contract().script(queued, [{ text: "second", delayMs: 2_000 }])
    const first = contract().turn({ input: running }, { key })
    await contract().untilPrompted(running)
    const second = contract().turn({ input: queued }, { key })
    expect(await activeKeys()).toContain(key)
    await first
    // The second turn was admitted while the first one ran.
    expect(await activeKeys()).toContain(key)
    await second
    await expect.poll(activeKeys, { timeout: 10_000 }).not.toContain(key)
  })

  it("do not report a closed request as a stop", async () => {
    const { client, key } = await follow(contract())
    await using _ = client
    const marker = contract().newMarker()
    const caller = new AbortController()
    await contract().script(marker, [{ text: "too late", delayMs: 30_000 }])
    const turn = contract()
      .turn({ input: marker }, { key, signal: caller.signal })
      .catch(() => undefined)
    await contract().untilPrompted(marker)
    caller.abort()
    await turn
    expect((await client.end(key)).event.cause._tag).toBe(contract().isOld ? "Unexplained" : "Disconnected")
  })

  const causes: ReadonlyArray<readonly [string, object, RunCause["_tag"]]> = [
    ["a silence", { empty: true }, "Silent"],
    [
      "a session that is too long for the model",
      {
        status: 400,
        body: {
          error: {
            code: "context_length_exceeded",
            type: "invalid_request_error",
            message: "This model's maximum context length is 128000 tokens."
          }
        }
      },
      "ContextOverflow"
    ]
  ]
  for (const [name, action, cause] of causes) {
    it(`distinguish ${name} from other internal errors`, async () => {
      const { client, key } = await follow(contract())
      await using _ = client
      const marker = contract().newMarker()
      await contract().script(marker, [action], { repeat: true })
      const answer = await contract().turn({ input: marker }, { key })
      expect(answer.json).toMatchObject({ status: "failed", error: { message: "internal error" } })
      const { event, runId } = await client.end(key)
      expect(runId).toBe(answer.json.id)
      expect(event.cause._tag).toBe(cause)
    })
  }

  it("distinguish a provider in its cooldown from other internal errors", async (ctx) => {
    const variant = await contract().target.variant?.({ timeScale: 1 })
    if (variant === undefined) return ctx.skip("a cooldown would fail all other cases for a minute")
    await using _ = variant
    const own = new Contract(variant.target)
    const { client, key } = await follow(own)
    await using __ = client
    const marker = own.newMarker()
    await own.script(marker, [{ status: 401, body: { error: { message: "bad key" } } }])
    expect((await own.turn({ input: marker }, { key })).status).toBe(401)
    const answer = await own.turn({ input: "again" }, { key })
    expect(answer.json).toMatchObject({ status: "failed", error: { message: "internal error" } })
    const { event, runId } = await client.end(key)
    expect(runId).toBe(answer.json.id)
    expect(event.cause._tag).toBe("ProviderFailed")
  })
}
