import { expect, it } from "vitest"
import { type Contract, sendTool } from "./target.ts"

/** What the strict body allows and refuses; every refusal is a bare 400, never a Response object. */
export const bodyCases = (contract: () => Contract): void => {
  const refuses = (name: string, body: unknown, message: string | RegExp, oldMessage = message) => {
    it(`refuses ${name}`, async () => {
      const answer = await contract().post(body, { key: contract().newKey() })
      expect(answer.status).toBe(400)
      expect(Object.keys(answer.json)).toEqual(["error"])
      expect(answer.json.error.type).toBe("invalid_request_error")
      const expected = contract().isOld ? oldMessage : message
      if (typeof expected === "string") expect(answer.json.error.message).toBe(expected)
      else expect(answer.json.error.message).toMatch(expected)
    })
  }
  const ok = { model: "openclaw", input: "hello" }

  refuses("a body that is no JSON", "{not json", /JSON/)
  refuses("an empty body, as one without model", "", "model: Invalid input: expected string, received undefined")
  refuses("an array", "[]", ": Invalid input: expected object, received array")
  refuses("a body without input", { model: "openclaw" }, "input: Invalid input")
  refuses("an input that is a number", { model: "openclaw", input: 5 }, "input: Invalid input")
  refuses("an unknown key", { ...ok, parallel_tool_calls: true }, ': Unrecognized key: "parallel_tool_calls"')
  refuses("two unknown keys, naming both", { ...ok, a: 1, b: 2 }, ': Unrecognized keys: "a", "b"')
  refuses(
    "a tool nested as in chat completions",
    { ...ok, tools: [{ type: "function", function: { name: "x", parameters: {} } }] },
    "tools.0.name: Invalid input: expected string, received undefined"
  )
  refuses(
    "tool parameters that are no object",
    { ...ok, tools: [{ type: "function", name: "x", parameters: "x" }] },
    "tools.0.parameters: Invalid input: expected record, received string"
  )
  refuses(
    "an unknown key in a tool",
    { ...ok, tools: [{ ...sendTool, extra: 1 }] },
    'tools.0: Unrecognized key: "extra"'
  )
  refuses(
    "a tool without a name",
    { ...ok, tools: [{ type: "function", name: "" }] },
    "tools.0.name: Tool name cannot be empty"
  )
  refuses("a tool of another type", { ...ok, tools: [{ type: "web_search" }] }, /^tools\.0\.type: /)
  refuses("an item of unknown type", { ...ok, input: [{ type: "bogus" }] }, "input: Invalid input")
  refuses(
    "a tool output that is no text",
    { ...ok, input: [{ type: "function_call_output", call_id: "c", output: {} }] },
    "input: Invalid input"
  )
  refuses(
    "a tool output without call_id",
    { ...ok, input: [{ type: "function_call_output", output: "x" }] },
    "input: Invalid input"
  )
  refuses(
    "an unknown key in an item",
    { ...ok, input: [{ type: "message", role: "user", content: "x", name: "y" }] },
    'input.0: Unrecognized key: "name"',
    "input: Invalid input"
  )
  refuses(
    "a phase on a user's message",
    { ...ok, input: [{ type: "message", role: "user", content: "x", phase: "final_answer" }] },
    /input/
  )
  refuses("a temperature above 2", { ...ok, temperature: 3 }, /^temperature: /)
  refuses("max_output_tokens of 0", { ...ok, max_output_tokens: 0 }, /^max_output_tokens: /)
  refuses(
    "metadata that is not text",
    { ...ok, metadata: { a: 1 } },
    "metadata.a: Invalid input: expected string, received number"
  )
  refuses("stream as text", { ...ok, stream: "yes" }, "stream: Invalid input: expected boolean, received string")
  refuses(
    "a tool choice it does not know",
    { ...ok, tools: [sendTool], tool_choice: "any" },
    "tool_choice: Invalid input"
  )
  refuses(
    "a text format other than text",
    { ...ok, text: { format: { type: "json_object" } } },
    /^text\.format\.type: /
  )
  for (const [name, input] of [
    ["an empty text", ""],
    ["no items", []],
    ["only a system item", [{ type: "message", role: "system", content: "x" }]],
    ["only a reference", [{ type: "item_reference", id: "x" }]],
    ["a blank user message", [{ type: "message", role: "user", content: "  " }]]
  ] as const) {
    refuses(`${name} as input, since no user speaks`, { ...ok, input }, "Missing user message in `input`.")
  }

  it("refuses a body above 20 MiB", async () => {
    const answer = await contract().post({ ...ok, input: "x".repeat(21 * 1024 * 1024) }, { key: contract().newKey() })
    expect(answer.status).toBe(413)
    expect(answer.json).toEqual({ error: { message: "Payload too large", type: "invalid_request_error" } })
  })

  it("accepts known keys that it ignores", async () => {
    const answer = await contract().post(
      {
        ...ok,
        metadata: { a: "b" },
        store: false,
        truncation: "auto",
        reasoning: { effort: "low" },
        max_tool_calls: 3,
        temperature: 0.5,
        top_p: 0.9,
        text: { format: { type: "text" } }
      },
      { key: contract().newKey() }
    )
    expect(answer.status).toBe(200)
  })
}
