import { expect, it } from "vitest"
import { type Contract, finalText, sendTool, spokenOf } from "./target.ts"

const reprompt =
  "The previous attempt did not produce a user-visible answer. Continue from the current state and produce the visible answer now. Do not restart from scratch."
const internal = { object: "response", status: "failed", error: { code: "api_error", message: "internal error" } }

/** Silent replies. */
export const silenceCases = (contract: () => Contract): void => {
  for (const [name, action] of [
    ["an empty reply", { empty: true }],
    ["a blank reply", { text: "  \n " }]
  ] as const) {
    it(`calls the model again after ${name}, and answers with the second reply`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [action, { text: "second thought" }])
      const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
      expect(finalText(answer)).toBe("second thought")
      expect(answer.json.usage.total_tokens).toBe(266)
      const [, second] = await contract().prompts(marker)
      expect(spokenOf(second!).at(-1)).toBe(reprompt)
    })
  }

  it("fails as an internal error after a second empty reply", async (ctx) => {
    if (contract().target.real) return ctx.skip("a lasting silence is not scripted in a shared real gateway")
    const marker = contract().newMarker()
    await contract().script(marker, [{ empty: true }, { empty: true }])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(answer.status).toBe(500)
    expect(answer.json).toMatchObject(internal)
    expect(await contract().prompts(marker)).toHaveLength(2)
  })

  const silences = ["NO_REPLY", "no_reply", "**NO_REPLY**", "NO_REPLY.", '"NO_REPLY"', '{"action":"NO_REPLY"}']
  for (const text of silences) {
    it(`treats ${text} alone as silence`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [{ text }, { text: "second thought" }])
      const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
      expect(answer.status).toBe(200)
      const old = contract().isOld
      expect(finalText(answer)).toBe(old ? "No response from OpenClaw." : "second thought")
      expect(await contract().prompts(marker)).toHaveLength(old ? 1 : 2)
    })
  }

  it("fails as an internal error after a second NO_REPLY", async (ctx) => {
    if (contract().target.real) return ctx.skip("a lasting silence is not scripted in a shared real gateway")
    if (contract().isOld) return ctx.skip("2026.8.2 answers NO_REPLY with a placeholder")
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "NO_REPLY" }, { text: "NO_REPLY" }])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(answer.status).toBe(500)
    expect(answer.json).toMatchObject(internal)
  })

  for (const text of ["NO", "NO_", "NO_REPLY\nbut more", "HEARTBEAT_OK all fine"]) {
    it(`passes ${JSON.stringify(text)} through`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [{ text }])
      expect(finalText(await contract().turn({ input: marker }, { key: contract().newKey() }))).toBe(text)
    })
  }

  it("warns in the gateway's own words if a turn stays silent after a failed tool", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      { toolCalls: [{ name: "message_send", args: { to: "a" } }] },
      { empty: true },
      { empty: true },
      { empty: true }
    ])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(answer.status).toBe(200)
    expect(finalText(answer)).toBe(contract().isOld ? "⚠️ 🧩 Message Send blocked" : "⚠️ Message Send blocked")
  })

  it("asks for text alone, without tools, or before 2026.9 warns, if a turn is silent after tool calls", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      { toolCalls: [{ name: "message_send", args: { to: "a" } }] },
      { empty: true },
      { text: "summed up" }
    ])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    if (contract().isOld) {
      expect(finalText(answer)).toBe("⚠️ 🧩 Message Send blocked")
      return
    }
    expect(finalText(answer)).toBe("summed up")
    const [, , third] = await contract().prompts(marker)
    expect(third?.tools).toEqual([])
    expect(spokenOf(third!).at(-1)).toMatch(/^The previous assistant turn completed its tool calls but/)
  })
}
