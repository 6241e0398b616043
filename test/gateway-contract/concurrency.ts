import { readFileSync, writeFileSync } from "node:fs"
import { expect, it } from "vitest"
import { Contract, finalText, sendTool, spokenOf, until } from "./target.ts"

/** Order, limits, disconnects, draining and changes of the configuration. */
export const concurrencyCases = (contract: () => Contract): void => {
  it("runs requests of one session one after the other, in order", async () => {
    const markers = [contract().newMarker(), contract().newMarker(), contract().newMarker()] as const
    const key = contract().newKey()
    await contract().script(markers[0], [{ delayMs: 400, text: "answer 1" }])
    const first = contract().turn({ input: markers[0] }, { key })
    await contract().untilPrompted(markers[0])
    await contract().script(markers[2], [{ text: "answer 3" }])
    await contract().script(markers[1], [{ text: "answer 2" }])
    const second = contract().turn({ input: markers[1] }, { key })
    await new Promise((resolve) => setTimeout(resolve, 100))
    const third = contract().turn({ input: markers[2] }, { key })
    const answers = await Promise.all([first, second, third])
    expect(answers.map(finalText)).toEqual(["answer 1", "answer 2", "answer 3"])
    const prompts = await contract().prompts(markers[2])
    expect(spokenOf(prompts.at(-1)!)).toEqual([markers[0], "answer 1", markers[1], "answer 2", markers[2]])
  })

  it("runs requests of different sessions concurrently, up to a limit of eight", async () => {
    const marker = contract().newMarker()
    const delayMs = contract().target.real ? 1_500 : 300
    await contract().script(marker, [{ delayMs, text: "done" }], { repeat: true })
    const turns = Array.from({ length: 10 }, () => contract().turn({ input: marker }, { key: contract().newKey() }))
    const started = await contract().untilPrompted(marker, 8)
    const openAtOnce = (await contract().prompts(marker)).filter((prompt) => prompt.ended === "open").length
    expect(started.length).toBeGreaterThanOrEqual(8)
    expect(openAtOnce).toBeLessThanOrEqual(8)
    const answers = await Promise.all(turns)
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 10 }, () => 200))
    expect(await contract().prompts(marker)).toHaveLength(10)
  })

  it("applies a smaller limit from its configuration", async (ctx) => {
    const variant = await contract().target.variant?.({ maxConcurrent: 2 })
    if (variant === undefined) return ctx.skip("the real gateway under test allows eight")
    await using _ = variant
    const own = new Contract(variant.target)
    const marker = own.newMarker()
    await own.script(marker, [{ delayMs: 100, text: "done" }], { repeat: true })
    await Promise.all(Array.from({ length: 6 }, () => own.turn({ input: marker }, { key: own.newKey() })))
    const stats = await own.request("/__local/stats")
    expect(stats.json).toMatchObject({ peak: 2, turns: 6, active: 0, waiting: 0 })
  })

  /** Starts a turn whose model hangs, and disconnects as soon as the model has its request. */
  const abandon = async (marker: string, key: string, tools: ReadonlyArray<object> = []): Promise<void> => {
    const hangUp = new AbortController()
    const turn = contract().turn({ input: marker, tools }, { key, signal: hangUp.signal })
    await until("the model to hang", async () => {
      const prompts = await contract().prompts(marker)
      return prompts.some((prompt) => prompt.ended === "open") ? true : undefined
    })
    hangUp.abort()
    await expect(turn).rejects.toThrow()
    await until("the provider's connection to be closed", async () => {
      const prompts = await contract().prompts(marker)
      return prompts.at(-1)?.ended === "closed-early" ? true : undefined
    })
  }

  it("closes the provider's connection when the caller disconnects, and passes the text to the next turn", async () => {
    const [marker, next, third] = [contract().newMarker(), contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(marker, [{ hang: true }])
    await abandon(marker, key)
    const answer = await contract().turn({ input: next }, { key })
    expect(finalText(answer)).toBe("ok")
    const [prompt] = await contract().prompts(next)
    if (contract().isOld) {
      expect(spokenOf(prompt!)).toEqual([marker, expect.stringMatching(/^<turn_aborted>/), next])
      return
    }
    expect(spokenOf(prompt!)).toEqual([
      `[Queued user message from a previous active turn; preserved as context only. Continue with the active prompt below.]\n${marker}\n\n${next}`
    ])
    await contract().turn({ input: third }, { key })
    const [later] = await contract().prompts(third)
    expect(spokenOf(later!)).toEqual([next, "ok", third])
  })

  it("passes on only the last of two abandoned turns, or before 2026.9 both", async () => {
    const [first, second, next] = [contract().newMarker(), contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(first, [{ hang: true }])
    await abandon(first, key)
    await contract().script(second, [{ hang: true }])
    await abandon(second, key)
    await contract().turn({ input: next }, { key })
    const prompts = await contract().prompts(next)
    if (contract().isOld) {
      const note = expect.stringMatching(/^<turn_aborted>/)
      expect(spokenOf(prompts.at(-1)!)).toEqual([first, note, second, note, next])
      return
    }
    expect(spokenOf(prompts.at(-1)!).join("\n")).toContain(`\n${second}\n\n${next}`)
    expect(spokenOf(prompts.at(-1)!).join("\n")).not.toContain(first)
  })

  it("drops a waiting request whose caller disconnects", async () => {
    const [marker, waiting, next] = [contract().newMarker(), contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(marker, [{ delayMs: 600, text: "answer" }])
    const first = contract().turn({ input: marker }, { key })
    await contract().untilPrompted(marker)
    const hangUp = new AbortController()
    const second = contract().turn({ input: waiting }, { key, signal: hangUp.signal })
    await new Promise((resolve) => setTimeout(resolve, 150))
    hangUp.abort()
    await expect(second).rejects.toThrow()
    expect(finalText(await first)).toBe("answer")
    await contract().turn({ input: next }, { key })
    const [prompt] = await contract().prompts(next)
    expect(spokenOf(prompt!)).toEqual([marker, "answer", next])
  })

  it("keeps an abandoned turn's text unchanged if tools had run", async () => {
    const [marker, next] = [contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(marker, [{ toolCalls: [{ name: "message_send", args: { to: "a" } }] }, { hang: true }])
    await abandon(marker, key, [sendTool])
    await contract().turn({ input: next }, { key })
    const [prompt] = await contract().prompts(next)
    expect(spokenOf(prompt!)[0]).toBe(marker)
    expect(spokenOf(prompt!).at(-1)).toBe(next)
  })

  it("lets running turns finish while draining, and refuses new ones with Retry-After", async (ctx) => {
    const variant = await contract().target.variant?.({})
    if (variant === undefined) return ctx.skip("draining would stop the real gateway that all cases share")
    await using _ = variant
    const own = new Contract(variant.target)
    const marker = own.newMarker()
    await own.script(marker, [{ delayMs: 500, text: "finished" }])
    const running = own.turn({ input: marker }, { key: own.newKey() })
    await own.untilPrompted(marker)
    const drained = variant.drain()
    const refused = await own.turn({ input: "hello" }, { key: own.newKey() })
    expect(refused.status).toBe(503)
    expect(refused.headers.get("retry-after")).toBe("1")
    expect(refused.json).toEqual({
      error: {
        message: "Gateway is temporarily unavailable while suspending or restarting",
        type: "service_unavailable",
        code: "gateway_unavailable"
      }
    })
    const [live, ready, startup] = await Promise.all(
      ["/healthz", "/readyz", "/startupz"].map((path) => own.request(path))
    )
    expect(live?.status).toBe(200)
    expect([ready?.status, ready?.json.failing]).toEqual([503, ["gateway-draining"]])
    expect([startup?.status, startup?.json.status]).toEqual([503, "draining"])
    expect(finalText(await running)).toBe("finished")
    await drained
  })

  it("adds a new agent of its configuration while it runs, and ignores a broken file", async () => {
    const { configPath, token } = contract().target
    const before = readFileSync(configPath, "utf8")
    const agents = async () => {
      const answer = await contract().request("/v1/models", { headers: { authorization: `Bearer ${token}` } })
      return answer.json.data.map((model: any) => model.id)
    }
    const config = JSON.parse(before)
    config.agents.entries.hotling = { workspace: `${configPath}.hotling` }
    try {
      writeFileSync(configPath, JSON.stringify(config))
      await until("the new agent", async () => ((await agents()).includes("openclaw/hotling") ? true : undefined))
      const answer = await contract().turn({ input: "hello" }, { agent: "hotling", key: contract().newKey("hotling") })
      expect(finalText(answer)).toBe("ok")
      writeFileSync(configPath, "{ broken")
      await new Promise((resolve) => setTimeout(resolve, contract().target.real ? 1_500 : 300))
      expect(await agents()).toContain("openclaw/hotling")
    } finally {
      writeFileSync(configPath, before)
    }
    await until("the old roster", async () => ((await agents()).includes("openclaw/hotling") ? undefined : true))
  })
}
