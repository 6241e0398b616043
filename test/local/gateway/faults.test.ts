import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { parseFault } from "../../../local/gateway/faults.ts"
import { ScriptedGateway } from "../../../local/gateway/server.ts"

describe("the scripted gateway's faults", () => {
  let gateway: ScriptedGateway
  beforeAll(async () => {
    gateway = await ScriptedGateway.start({ token: "t" })
  })
  afterAll(() => gateway.stop())
  beforeEach(() => {
    gateway.faults.clear()
    gateway.records.requests.length = 0
  })

  const turn = (agent = "alpha", session = "x", init: RequestInit = {}) =>
    fetch(`${gateway.url}/v1/responses`, {
      method: "POST",
      headers: {
        authorization: "Bearer t",
        "x-openclaw-agent-id": agent,
        "x-openclaw-session-key": `agent:${agent}:${session}`
      },
      body: JSON.stringify({ model: "openclaw", input: "hello" }),
      ...init
    })
  const inject = async (fault: object) => {
    const response = await fetch(`${gateway.url}/__local/faults`, { method: "POST", body: JSON.stringify(fault) })
    expect(response.status).toBe(200)
  }
  const turns = () => gateway.stats().turns

  it("refuses with 503 and Retry-After `count` times, then works again", async () => {
    await inject({ kind: "unavailable", count: 2 })
    const answers = [await turn(), await turn(), await turn()]
    expect(answers.map((answer) => answer.status)).toEqual([503, 503, 200])
    expect(answers[0]?.headers.get("retry-after")).toBe("1")
  })

  it("applies only to the agent and the session that it names", async () => {
    await inject({ kind: "unavailable", agent: "beta", session: "hit" })
    const statuses = [await turn("alpha", "hit"), await turn("beta", "miss"), await turn("beta", "hit")]
    expect(statuses.map((answer) => answer.status)).toEqual([200, 200, 503])
  })

  it("lets the first requests pass with `after`", async () => {
    await inject({ kind: "unavailable", after: 1 })
    expect([(await turn()).status, (await turn()).status]).toEqual([200, 503])
  })

  it("breaks the connection after the request was read, before the run", async () => {
    const before = turns()
    await inject({ kind: "reset" })
    await expect(turn()).rejects.toThrow()
    expect([turns(), gateway.records.requests[0]?.ended]).toEqual([before, "fault"])
  })

  it("breaks the connection after the turn has run", async () => {
    const before = turns()
    await inject({ kind: "lose" })
    await expect(turn()).rejects.toThrow()
    expect(turns()).toBe(before + 1)
  })

  it("breaks the connection in the middle of the answer", async () => {
    await inject({ kind: "truncate" })
    const answer = await turn()
    expect(answer.status).toBe(200)
    await expect(answer.text()).rejects.toThrow()
  })

  it("answers with a body that is not JSON", async () => {
    await inject({ kind: "garbage" })
    const answer = await turn()
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json; charset=utf-8"])
    const body = await answer.text()
    expect(() => JSON.parse(body)).toThrow()
  })

  it("answers as a proxy between them does", async () => {
    await inject({ kind: "answer", status: 502 })
    const answer = await turn()
    expect([answer.status, await answer.text()]).toEqual([502, "<html>Bad Gateway</html>"])
  })

  it("hangs until the caller times out, and records it", async () => {
    await inject({ kind: "hang" })
    const giveUp = new AbortController()
    const answer = turn("alpha", "x", { signal: giveUp.signal })
    await expect.poll(() => gateway.records.requests.length).toBe(1)
    giveUp.abort()
    await expect(answer).rejects.toThrow()
    expect(gateway.stats().active).toBe(0)
  })

  it("answers after a delay", async () => {
    await inject({ kind: "delay", delayMs: 50 })
    const answer = turn()
    await expect.poll(() => gateway.records.requests.length).toBe(1)
    expect(gateway.records.requests[0]?.ended).toBe("open")
    expect((await answer).status).toBe(200)
  })

  it("closes its port for a while, so that connections are refused, and opens the same one again", async () => {
    await inject({ kind: "refuse", forMs: 300 })
    await expect
      .poll(() =>
        turn().then(
          () => "open",
          (error: { cause?: { code?: string } }) => error.cause?.code
        )
      )
      .toBe("ECONNREFUSED")
    await expect
      .poll(() =>
        turn().then(
          (answer) => answer.status,
          () => undefined
        )
      )
      .toBe(200)
  })

  it("deletes unused faults", async () => {
    await inject({ kind: "unavailable" })
    await fetch(`${gateway.url}/__local/faults`, { method: "DELETE" })
    expect((await turn()).status).toBe(200)
  })

  it("refuses an unknown fault", async () => {
    const response = await fetch(`${gateway.url}/__local/faults`, { method: "POST", body: '{"kind":"explode"}' })
    expect(response.status).toBe(400)
    expect(() => parseFault({ kind: "reset", sesion: "x" })).toThrow('Unrecognized key: "sesion"')
  })

  it("shows its requests and how they ended", async () => {
    await turn("beta", "seen", {
      headers: {
        authorization: "Bearer t",
        "x-openclaw-agent-id": "beta",
        "x-openclaw-session-key": "agent:beta:seen",
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
      }
    })
    const shown = (await (await fetch(`${gateway.url}/__local/requests`)).json()) as any
    expect(shown.requests).toMatchObject([
      {
        agent: "beta",
        session: "agent:beta:seen",
        input: "hello",
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        status: 200,
        ended: "answered"
      }
    ])
    const arrived = (await (await fetch(`${gateway.url}/__local/arrivals`)).json()) as any
    expect(arrived.arrivals.at(-1)).toEqual({ at: shown.requests[0].at, agent: "beta" })
    await fetch(`${gateway.url}/__local/arrivals`, { method: "DELETE" })
    expect(await (await fetch(`${gateway.url}/__local/arrivals`)).json()).toEqual({ arrivals: [] })
  })

  it("accepts a script for the model in its own process", async () => {
    const script = { rules: [{ match: "hello", actions: [{ text: "scripted" }] }] }
    await fetch(`${gateway.url}/__local/script`, { method: "POST", body: JSON.stringify(script) })
    const answer = (await (await turn()).json()) as any
    expect(answer.output[0].content[0].text).toBe("scripted")
    const asked = (await (await fetch(`${gateway.url}/__local/model/requests`)).json()) as any
    expect(asked.requests.at(-1)).toMatchObject({ agent: "alpha", ended: "answered" })
  })
})
