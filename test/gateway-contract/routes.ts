import { expect, it } from "vitest"
import type { Contract } from "./target.ts"

/** Probes, the list of models, and each route's method and token. */
export const routeCases = (contract: () => Contract): void => {
  const authorized = () => ({ authorization: `Bearer ${contract().target.token}` })

  for (const path of ["/healthz", "/health"]) {
    it(`${path} reports that the process is live`, async () => {
      const answer = await contract().request(path)
      expect(answer.status).toBe(200)
      expect(answer.json).toEqual({ ok: true, status: "live" })
    })
  }

  for (const path of ["/readyz", "/ready"]) {
    it(`${path} reports ready, without failures`, async () => {
      const answer = await contract().request(path)
      expect(answer.status).toBe(200)
      expect(answer.headers.get("content-type")).toContain("application/json")
      expect(answer.json).toMatchObject({ ready: true, failing: [] })
      expect(answer.json.uptimeMs).toBeGreaterThan(0)
    })
  }

  for (const path of ["/startupz", "/startup"]) {
    it(`${path} reports the version`, async () => {
      const answer = await contract().request(path)
      expect(answer.status).toBe(200)
      expect(answer.json).toMatchObject({ ok: true, status: "started", version: contract().target.version })
    })
  }

  it("answers HEAD on a probe without a body", async () => {
    const answer = await contract().request("/readyz", { method: "HEAD" })
    expect(answer.status).toBe(200)
    expect(answer.text).toBe("")
  })

  it("refuses POST on a probe", async () => {
    const answer = await contract().request("/healthz", { method: "POST" })
    expect(answer.status).toBe(405)
  })

  it("lists itself, its default and every agent as models", async () => {
    const answer = await contract().request("/v1/models", { headers: authorized() })
    expect(answer.status).toBe(200)
    expect(answer.json.object).toBe("list")
    const ids = answer.json.data.map((model: any) => model.id)
    expect(ids.slice(0, 4)).toEqual(["openclaw", "openclaw/default", "openclaw/alpha", "openclaw/beta"])
    expect(answer.json.data[2]).toMatchObject({ object: "model", owned_by: "openclaw" })
  })

  it("reports the input tokens of a session's last model call, not the sum over its calls", async () => {
    const key = contract().newKey()
    const marker = contract().newMarker()
    const history = (of: string) =>
      contract().request(`/sessions/${encodeURIComponent(of)}/history?limit=10`, { headers: authorized() })
    expect((await history(key)).status).toBe(404)
    await contract().turn({ input: marker }, { key })
    const answer = await history(key)
    expect(answer.status).toBe(200)
    const calls = answer.json.items.filter((item: any) => item.role === "assistant")
    expect(calls.at(-1).usage).toMatchObject({ input: 111, cacheRead: 0, cacheWrite: 0 })
    const refused = await contract().request(`/sessions/${encodeURIComponent(key)}/history`)
    expect(refused.status).toBe(401)
  })

  it("answers one model by its id", async () => {
    const answer = await contract().request("/v1/models/openclaw%2Falpha", { headers: authorized() })
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ id: "openclaw/alpha", object: "model" })
  })

  it("answers 404 for a model that is not an agent", async () => {
    const answer = await contract().request("/v1/models/openclaw%2Fnobody", { headers: authorized() })
    expect(answer.status).toBe(404)
    expect(answer.json.error.type).toBe("invalid_request_error")
  })

  it("requires a token for the list of models", async () => {
    const answer = await contract().request("/v1/models")
    expect(answer.status).toBe(401)
    expect(answer.json).toEqual({ error: { message: "Unauthorized", type: "unauthorized" } })
  })

  it("refuses POST on the list of models", async () => {
    const answer = await contract().request("/v1/models", { method: "POST", headers: authorized() })
    expect(answer.status).toBe(405)
  })

  it("refuses GET on /v1/responses, naming POST", async () => {
    const answer = await contract().request("/v1/responses", { headers: authorized() })
    expect(answer.status).toBe(405)
    expect(answer.headers.get("allow")).toBe("POST")
    expect(answer.text).toBe("Method Not Allowed")
  })

  for (const path of ["/", "/v1/unknown", "/v1/responses/resp_1", "/v1/chat/completions"]) {
    it(`answers 404 in plain text on ${path}`, async () => {
      const answer = await contract().request(path, { headers: authorized() })
      expect(answer.status).toBe(404)
      expect(answer.text).toBe("Not Found")
    })
  }

  for (const [name, authorization] of [
    ["no token", undefined],
    ["a wrong token", "Bearer wrong"],
    ["a token without Bearer", "contract-token"]
  ] as const) {
    it(`answers a bare 401 to ${name}, before it reads the body`, async () => {
      const answer = await contract().request("/v1/responses", {
        method: "POST",
        headers: authorization === undefined ? {} : { authorization },
        body: "{not json"
      })
      expect(answer.status).toBe(401)
      expect(answer.json).toEqual({ error: { message: "Unauthorized", type: "unauthorized" } })
    })
  }
}
