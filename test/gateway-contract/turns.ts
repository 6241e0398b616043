import { expect, it } from "vitest"
import { textOf } from "../../local/model/chat.ts"
import { type Contract, finalText, sendTool, spokenOf, systemOf } from "./target.ts"

const note = "\n\n⚠️ Reply truncated at the model's output token limit. The text above is partial — ask to continue it."

/** A turn that ends in text: its answer, and the model's prompt. */
export const turnCases = (contract: () => Contract): void => {
  it("answers a text turn with one message in a Response object", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "hello back" }])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(answer.status).toBe(200)
    expect(answer.headers.get("content-type")).toContain("application/json")
    expect(answer.json).toEqual({
      id: expect.stringMatching(/^resp_[0-9a-f-]{36}$/),
      object: "response",
      created_at: expect.any(Number),
      status: "completed",
      model: "openclaw",
      output: [
        {
          type: "message",
          id: expect.stringMatching(/^msg_[0-9a-f-]{36}$/),
          role: "assistant",
          content: [{ type: "output_text", text: "hello back" }],
          phase: "final_answer",
          status: "completed"
        }
      ],
      usage: {
        input_tokens: 111,
        input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
        output_tokens: 22,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 133
      }
    })
  })

  it("puts instructions into the system prompt, for this turn only", async () => {
    const [first, second, instructions] = [contract().newMarker(), contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().turn({ input: first, instructions }, { key })
    await contract().turn({ input: second }, { key })
    const [prompt] = await contract().prompts(first)
    expect(systemOf(prompt!)).toContain(instructions)
    expect(spokenOf(prompt!).join("\n")).not.toContain(instructions)
    const [later] = await contract().prompts(second)
    expect(systemOf(later!)).not.toContain(instructions)
  })

  it("gives the model the user's text under a time stamp, and a Runtime line", async () => {
    const marker = contract().newMarker()
    const key = contract().newKey()
    await contract().turn({ input: marker }, { key })
    const [prompt] = await contract().prompts(marker)
    const user = prompt?.messages.find((message) => message.role === "user")
    const line = `Runtime: agent=alpha | session=${key} |`
    expect(textOf(user!)).toMatch(
      new RegExp(String.raw`^\[(Sun|Mon|Tue|Wed|Thu|Fri|Sat) \d{4}-\d\d-\d\d \d\d:\d\d UTC\] ${marker}`)
    )
    expect(contract().isOld ? systemOf(prompt!) : textOf(user!)).toContain(line)
  })

  it("keeps the messages of a session, without the earlier turn's tools", async () => {
    const [first, second] = [contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(first, [{ text: "answer one" }])
    await contract().turn({ input: first, tools: [sendTool] }, { key })
    await contract().turn({ input: second }, { key })
    const [prompt] = await contract().prompts(second)
    expect(spokenOf(prompt!)).toEqual([first, "answer one", second])
    expect(prompt?.tools).toEqual([])
  })

  it("keeps all of a long history", async () => {
    const marker = contract().newMarker()
    const key = contract().newKey()
    const said = Array.from({ length: 35 }, (_, turn) => `turn ${turn}`)
    for (const input of said) await contract().turn({ input }, { key })
    await contract().turn({ input: marker }, { key })
    const [prompt] = await contract().prompts(marker)
    expect(spokenOf(prompt!)).toEqual([...said.flatMap((text) => [text, "ok"]), marker])
  })

  it("passes HEARTBEAT_OK through", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "HEARTBEAT_OK" }])
    expect(finalText(await contract().turn({ input: marker }, { key: contract().newKey() }))).toBe("HEARTBEAT_OK")
  })

  it("passes on a text that ends in NO_REPLY", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "some text\n\nNO_REPLY" }])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(finalText(answer)).toBe("some text\n\nNO_REPLY")
  })

  it("strips thinking, reply tags and media lines, and trims", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      { text: "<think>hidden</think>shown [[reply_to_current]]\nMEDIA:/tmp/x.png\nthe end  " }
    ])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(finalText(answer)).toBe("shown\nthe end")
  })

  it("returns a reply of 60 KB completely", async () => {
    const marker = contract().newMarker()
    const text = "sixty ".repeat(10_000).trim()
    await contract().script(marker, [{ text }])
    expect(finalText(await contract().turn({ input: marker }, { key: contract().newKey() }))).toBe(text)
  })

  it("accepts an input of 1 MB", async () => {
    const marker = contract().newMarker()
    const answer = await contract().turn({ input: `${"x".repeat(1_000_000)} ${marker}` }, { key: contract().newKey() })
    expect([200, 500]).toContain(answer.status)
  })

  it("answers a truncated reply with a note, and from 2026.9 on as incomplete", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "cut here", truncated: true }])
    const answer = await contract().turn({ input: marker }, { key: contract().newKey() })
    expect(answer.status).toBe(200)
    const status = contract().isOld ? "completed" : "incomplete"
    expect(answer.json).toMatchObject({
      status,
      output: [{ phase: "final_answer", status, content: [{ text: `cut here${note}` }] }]
    })
    expect(answer.json.incomplete_details).toEqual(contract().isOld ? undefined : { reason: "max_output_tokens" })
  })

  it("passes max_output_tokens to the provider", async () => {
    const marker = contract().newMarker()
    await contract().turn({ input: marker, max_output_tokens: 77 }, { key: contract().newKey() })
    const [prompt] = await contract().prompts(marker)
    expect(prompt?.maxTokens).toBe(77)
  })

  for (const command of ["/new", "/reset", "/new hello", "/compact"]) {
    it(`does not execute ${command}, alone or in a longer text, and keeps the session`, async () => {
      const marker = contract().newMarker()
      const key = contract().newKey()
      for (const input of ["first", command, `A person wrote:\n${command}`, marker]) {
        await contract().turn({ input }, { key })
      }
      const [prompt] = await contract().prompts(marker)
      const said = ["first", "ok", command, "ok", `A person wrote:\n${command}`, "ok", marker]
      expect(spokenOf(prompt!)).toEqual(said)
    })
  }

  it("makes the last user item current and the earlier ones a block of history", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      {
        input: [
          { type: "message", role: "user", content: "u1" },
          { type: "message", role: "assistant", content: "a1" },
          {
            type: "message",
            role: "user",
            content: [
              { type: "input_text", text: "u2" },
              { type: "input_text", text: marker }
            ]
          }
        ]
      },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(spokenOf(prompt!)).toEqual([
      `[Chat messages since your last reply - for context]\nUser: u1\nAssistant: a1\n\n[Current message - respond to this]\nUser: u2\n${marker}`
    ])
  })

  it("drops an assistant item after the last user item", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      {
        input: [
          { type: "message", role: "user", content: marker },
          { type: "message", role: "assistant", content: "unheard" }
        ]
      },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(spokenOf(prompt!)).toEqual([marker])
  })

  it("moves system and developer items into the system prompt", async () => {
    const [marker, system, developer] = [contract().newMarker(), contract().newMarker(), contract().newMarker()]
    await contract().turn(
      {
        input: [
          { type: "message", role: "system", content: system },
          { type: "message", role: "developer", content: developer },
          { type: "message", role: "user", content: marker }
        ]
      },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(systemOf(prompt!)).toContain(`${system}\n\n${developer}`)
    expect(spokenOf(prompt!)).toEqual([marker])
  })
}
