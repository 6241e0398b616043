import { expect, it } from "vitest"
import { callsOf, Contract, finalText, sendTool, spokenOf, toolWith } from "./target.ts"

const nineHex = /^[0-9a-f]{9}$/

/** Client tools: what the model is offered, what the caller gets, and how results return. */
export const toolCases = (contract: () => Contract): void => {
  const call = (name: string, args: unknown) => ({ toolCalls: [{ name, args }] })

  it("passes a call to the caller under its own id, without a status", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [call("message_send", { to: "bob", n: 1 })])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(answer.status).toBe(200)
    expect(answer.json.status).toBe("completed")
    expect(answer.json.output).toEqual([
      {
        type: "function_call",
        id: expect.stringMatching(/^call_[0-9a-f-]{36}$/),
        call_id: expect.stringMatching(nineHex),
        name: "message_send",
        arguments: '{"to":"bob","n":1}'
      }
    ])
    expect(await contract().prompts(marker)).toHaveLength(1)
  })

  it("offers the model exactly the flat tools of the request", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      { input: marker, tools: [sendTool, toolWith("task.status-set__v2", { id: { type: "string" } })] },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(prompt?.tools).toEqual(["message_send", "task.status-set__v2"])
  })

  it("drops text in the same reply as a call", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "Let me send.", ...call("message_send", { to: "bob", n: 1 }) }])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(answer.json.output.map((item: any) => item.type)).toEqual(["function_call"])
  })

  it("returns two calls of one reply in order, each with its own id", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      {
        toolCalls: [
          { name: "message_send", args: { to: "a", n: 1 } },
          { name: "message_send", args: { to: "b", n: 2 } }
        ]
      }
    ])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    const calls = callsOf(answer)
    expect(calls.map((each) => JSON.parse(each.arguments).to)).toEqual(["a", "b"])
    expect(calls[0].call_id).not.toBe(calls[1].call_id)
  })

  const coercions: ReadonlyArray<[string, object, unknown, unknown]> = [
    ["a number in quotes", { type: "integer" }, "3", 3],
    ["a fraction in quotes", { type: "number" }, "1.5", 1.5],
    ["true in quotes", { type: "boolean" }, "true", true],
    ["a number for a text", { type: "string" }, 5, "5"],
    ["null for a text, which becomes empty", { type: "string" }, null, ""],
    ["null for a number, which becomes 0", { type: "integer" }, null, 0],
    ["a list in quotes", { type: "array", items: { type: "string" } }, '["a"]', ["a"]],
    ["a number in a list of texts", { type: "array", items: { type: "string" } }, [1], ["1"]]
  ]
  for (const [name, schema, given, got] of coercions) {
    it(`coerces ${name}`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [call("coerce", { value: given })])
      const answer = await contract().turn(
        { input: marker, tools: [toolWith("coerce", { value: schema })] },
        { key: contract().newKey() }
      )
      expect(JSON.parse(callsOf(answer)[0].arguments)).toEqual({ value: got })
    })
  }

  it("passes extra properties if the schema allows them", async () => {
    const marker = contract().newMarker()
    const loose = toolWith("loose", { a: { type: "string" } }, { additionalProperties: true })
    await contract().script(marker, [call("loose", { a: "x", b: 2 })])
    const answer = await contract().turn({ input: marker, tools: [loose] }, { key: contract().newKey() })
    expect(callsOf(answer)[0].arguments).toBe('{"a":"x","b":2}')
  })

  it("passes arguments of 100 KB completely", async () => {
    const marker = contract().newMarker()
    const text = "y".repeat(100_000)
    await contract().script(marker, [call("message_send", { to: text, n: 1 })])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(JSON.parse(callsOf(answer)[0].arguments).to).toBe(text)
  })

  const refusedArguments: ReadonlyArray<[string, object, RegExp]> = [
    [
      "a required argument is missing",
      { to: "bob" },
      /^Validation failed for tool "message_send":\n  - n: must have required/
    ],
    ["an argument has the wrong type", { to: "bob", n: 1.5 }, /\n  - n: must be integer\n/],
    ["there is an argument too many", { to: "bob", n: 1, zz: 1 }, /must not have additional properties/]
  ]
  for (const [name, args, complaint] of refusedArguments) {
    it(`reports to the model, not the caller, that ${name}`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [call("message_send", args), { text: "never mind" }])
      const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
      expect(finalText(answer)).toBe("never mind")
      expect(answer.json.usage).toMatchObject({ input_tokens: 222, output_tokens: 44, total_tokens: 266 })
      const [, second] = await contract().prompts(marker)
      expect(spokenOf(second!).at(-1)).toMatch(complaint)
    })
  }

  it("lets the model correct its arguments within the turn", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [call("message_send", { to: "bob" }), call("message_send", { to: "bob", n: 2 })])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(callsOf(answer).map((each) => each.arguments)).toEqual(['{"to":"bob","n":2}'])
  })

  for (const [name, raw] of [
    ["malformed JSON", '{"to":"bob","n":'],
    ["a list", "[1]"],
    ["nothing", ""]
  ] as const) {
    it(`calls the model again with the same prompt, or before 2026.9 fails, if the arguments are ${name}`, async () => {
      const marker = contract().newMarker()
      await contract().script(marker, [call("message_send", raw), { text: "said instead" }])
      const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
      if (contract().isOld) {
        expect([answer.status, answer.json.error?.message]).toEqual([500, "internal error"])
        return
      }
      expect(finalText(answer)).toBe("said instead")
      const prompts = await contract().prompts(marker)
      expect(prompts.map(spokenOf)).toEqual([[marker], [marker]])
    })
  }

  it("answers the model's call of an unknown tool, and drops the call afterwards", async () => {
    const [marker, later] = [contract().newMarker(), contract().newMarker()]
    const key = contract().newKey()
    await contract().script(marker, [call("nope", {}), { text: "no such thing" }])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key })
    expect(finalText(answer)).toBe("no such thing")
    const [, second] = await contract().prompts(marker)
    expect(spokenOf(second!).at(-1)).toBe(contract().isOld ? marker : "Tool nope not found")
    await contract().turn({ input: later }, { key })
    const [next] = await contract().prompts(later)
    expect(spokenOf(next!)).toEqual([marker, "no such thing", later])
  })

  it("runs the model again if only some of its calls go to the caller, and adds the new text as commentary", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      {
        toolCalls: [
          { name: "message_send", args: { to: "bob" } },
          { name: "message_send", args: { to: "al", n: 1 } }
        ]
      },
      { text: "one of two" }
    ])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(answer.json.output).toMatchObject([
      { type: "message", phase: "commentary", status: "completed", content: [{ text: "one of two" }] },
      { type: "function_call", arguments: '{"to":"al","n":1}' }
    ])
  })

  it("warns in the gateway's own words if a tool failed and the turn ends with calls of other tools only", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [
      {
        toolCalls: [
          { name: "no_such", args: {} },
          { name: "message_send", args: { to: "a", n: 1 } }
        ]
      },
      { empty: true }
    ])
    const answer = await contract().turn({ input: marker, tools: [sendTool] }, { key: contract().newKey() })
    expect(answer.json.output).toMatchObject([
      { phase: "commentary", content: [{ text: contract().isOld ? "⚠️ 🧩 No Such blocked" : "⚠️ No Such blocked" }] },
      { type: "function_call" }
    ])
  })

  it("cannot call a tool without parameters", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [call("bare", {}), { text: "could not" }])
    const answer = await contract().turn(
      { input: marker, tools: [{ type: "function", name: "bare" }] },
      { key: contract().newKey() }
    )
    expect(finalText(answer)).toBe("could not")
    const [, second] = await contract().prompts(marker)
    expect(spokenOf(second!).at(-1)).toMatch(/^Cannot use 'in' operator/)
  })

  it("does not offer a tool whose parameters are a list", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      { input: marker, tools: [{ type: "function", name: "listed", parameters: { type: "array" } }, sendTool] },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(prompt?.tools).toEqual(["message_send"])
  })

  const clashes: ReadonlyArray<[string, ReadonlyArray<object>]> = [
    ["two tools of one name", [sendTool, sendTool]],
    ["two tools whose names differ in case", [sendTool, { ...sendTool, name: "Message_Send" }]],
    ["a tool named like the built-in exec", [{ ...sendTool, name: "exec" }]]
  ]
  for (const [name, tools] of clashes) {
    it(`fails the run for ${name}, in a Response object`, async () => {
      const answer = await contract().turn({ input: "hello", tools }, { key: contract().newKey() })
      expect(answer.status).toBe(400)
      expect(answer.json).toMatchObject({
        object: "response",
        status: "failed",
        output: [],
        error: { code: "invalid_request_error", message: "invalid tool configuration" }
      })
    })
  }

  it("offers no tool with tool_choice none", async () => {
    const marker = contract().newMarker()
    await contract().turn({ input: marker, tools: [sendTool], tool_choice: "none" }, { key: contract().newKey() })
    const [prompt] = await contract().prompts(marker)
    expect(prompt?.tools).toEqual([])
  })

  it("offers only the named tool with a named tool_choice", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [call("message_send", { to: "a", n: 1 })])
    const answer = await contract().turn(
      {
        input: marker,
        tools: [sendTool, toolWith("other", { a: { type: "string" } })],
        tool_choice: { type: "function", name: "message_send" }
      },
      { key: contract().newKey() }
    )
    expect(callsOf(answer)).toHaveLength(1)
    const [prompt] = await contract().prompts(marker)
    expect(prompt?.tools).toEqual(["message_send"])
  })

  it("fails with 502, and reports the usage, if tool_choice required was not satisfied", async () => {
    const marker = contract().newMarker()
    await contract().script(marker, [{ text: "no call" }])
    const answer = await contract().turn(
      { input: marker, tools: [sendTool], tool_choice: "required" },
      { key: contract().newKey() }
    )
    expect(answer.status).toBe(502)
    expect(answer.json).toMatchObject({
      status: "failed",
      error: { code: "api_error", message: "tool_choice=required was not satisfied by the agent response" },
      usage: { total_tokens: 133 }
    })
  })

  for (const [name, body] of [
    ["that names no offered tool", { tools: [sendTool], tool_choice: { type: "function", name: "absent" } }],
    ["required without tools", { tool_choice: "required" }]
  ] as const) {
    it(`refuses a tool_choice ${name} with a bare 400`, async () => {
      const answer = await contract().turn({ input: "hello", ...body }, { key: contract().newKey() })
      expect(answer.status).toBe(400)
      expect(answer.json).toEqual({
        error: { message: "invalid tool configuration", type: "invalid_request_error" }
      })
    })
  }

  it("passes a tool's result to the model as a user's text, not as a tool message", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      { input: [{ type: "function_call_output", call_id: "c1", output: marker }], tools: [sendTool] },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(prompt?.messages.filter((message) => message.role === "tool")).toEqual([])
    const prefix = contract().isOld ? "" : "Tool:c1: "
    expect(spokenOf(prompt!)).toEqual([`${prefix}${marker}`])
  })

  it("passes two results as one user's text with both ids", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      {
        input: [
          { type: "function_call_output", call_id: "c1", output: "first" },
          { type: "function_call_output", call_id: "c2", output: marker }
        ]
      },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(spokenOf(prompt!)).toEqual([
      `[Chat messages since your last reply - for context]\nTool:c1: first\n\n[Current message - respond to this]\nTool:c2: ${marker}`
    ])
  })

  it("writes an earlier function call as text before its result", async () => {
    const marker = contract().newMarker()
    await contract().turn(
      {
        input: [
          { type: "function_call", call_id: "c1", name: "message_send", arguments: "{}" },
          { type: "function_call_output", call_id: "c1", output: marker }
        ]
      },
      { key: contract().newKey() }
    )
    const [prompt] = await contract().prompts(marker)
    expect(spokenOf(prompt!)[0]).toContain("Assistant: tool_call id=c1 name=message_send arguments={}\n")
  })

  it("runs a loop of call, result, call, result, text in one session", async () => {
    const marker = contract().newMarker()
    const key = contract().newKey()
    await contract().script(marker, [
      call("message_send", { to: "a", n: 1 }),
      call("message_send", { to: "b", n: 2 }),
      { text: "both sent" }
    ])
    const first = await contract().turn({ input: marker, tools: [sendTool] }, { key })
    const second = await contract().turn(
      {
        input: [{ type: "function_call_output", call_id: callsOf(first)[0].call_id, output: "sent to a" }],
        tools: [sendTool]
      },
      { key }
    )
    expect(callsOf(second)[0].arguments).toBe('{"to":"b","n":2}')
    await contract().script("sent to b", [{ text: "both sent" }])
    const third = await contract().turn(
      {
        input: [{ type: "function_call_output", call_id: callsOf(second)[0].call_id, output: "sent to b" }],
        tools: [sendTool]
      },
      { key }
    )
    expect(finalText(third)).toBe("both sent")
    const prompts = await contract().prompts(marker)
    const delegated = prompts.at(-1)?.messages.filter((message) => message.role === "tool")
    expect(delegated?.map((message) => JSON.parse(String(message.content)).status)).toEqual(["pending", "pending"])
  })

  it("hides client tools behind Tool Search if that is on, and still passes calls to the caller", async (ctx) => {
    const variant = await contract().target.variant?.({ toolSearch: true })
    if (variant === undefined) return ctx.skip("the real gateway under test has Tool Search off")
    await using _ = variant
    const searching = new Contract(variant.target)
    const marker = searching.newMarker()
    await searching.script(marker, [
      call("message_send", { to: "bob", n: 1 }),
      call("tool_call", { id: "message_send", args: { to: "bob", n: 1 } })
    ])
    const answer = await searching.turn({ input: marker, tools: [sendTool] }, { key: searching.newKey() })
    expect(callsOf(answer).map((each) => each.arguments)).toEqual(['{"to":"bob","n":1}'])
    const [first, second] = await searching.prompts(marker)
    expect(first?.tools).toEqual(expect.arrayContaining(["tool_search", "tool_describe", "tool_call"]))
    expect(first?.tools).not.toContain("message_send")
    expect(spokenOf(second!).at(-1)).toBe(contract().isOld ? marker : "Tool message_send not found")
  })
}
