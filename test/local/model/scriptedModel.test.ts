import { describe, expect, it } from "vitest"
import type { ChatMessage } from "../../../local/model/chat.ts"
import { parseScript, type Script } from "../../../local/model/script.ts"
import { ScriptedModel } from "../../../local/model/scriptedModel.ts"

const prompt = (...texts: ReadonlyArray<string>) => ({
  model: "fake-1",
  messages: texts.map((content): ChatMessage => ({ role: "user", content }))
})
const inSession = (session: string, text: string) => prompt(`${text}\n\nRuntime: agent=alpha | session=${session} |`)

describe("a script", () => {
  const play = (script: Script, ...prompts: ReadonlyArray<ReturnType<typeof prompt>>) => {
    const model = new ScriptedModel(script)
    return prompts.map((each) => model.decide(each).action.text)
  }

  it("answers ok when it is empty", () => {
    expect(play({}, prompt("hello"))).toEqual(["ok"])
  })

  it("answers by the first rule that matches", () => {
    const rules = [
      { match: "two", actions: [{ text: "second" }] },
      { match: { regex: "^o.e$", flags: "m" }, actions: [{ text: "first" }] }
    ]
    expect(play({ rules }, prompt("one"), prompt("two"), prompt("three"))).toEqual(["first", "second", "ok"])
  })

  it("plays a rule's actions in order and `times` times, then uses the next rule", () => {
    const rules = [
      { match: "x", times: 2, actions: [{ text: "a" }, { text: "b" }] },
      { match: "x", repeat: true, actions: [{ text: "c" }] }
    ]
    const texts = play({ rules }, ...Array.from({ length: 6 }, () => prompt("x")))
    expect(texts).toEqual(["a", "b", "a", "b", "c", "c"])
  })

  it("counts per session if a rule requires it", () => {
    const rules = [{ perSession: true, actions: [{ text: "first" }, { text: "second" }] }]
    expect(
      play({ rules }, inSession("s1", "x"), inSession("s2", "x"), inSession("s1", "x"), inSession("s1", "x"))
    ).toEqual(["first", "first", "second", "ok"])
  })

  it("searches only the last four messages, without the system prompt", () => {
    const rules = [{ match: "needle", repeat: true, actions: [{ text: "found" }] }]
    const system: ChatMessage = { role: "system", content: "needle" }
    const model = new ScriptedModel({ rules })
    expect(model.decide({ ...prompt("hay"), messages: [system, ...prompt("hay").messages] }).action.text).toBe("ok")
    expect(model.decide(prompt("needle", "1", "2", "3")).action.text).toBe("found")
    expect(model.decide(prompt("needle", "1", "2", "3", "4")).action.text).toBe("ok")
  })

  it("matches the system prompt if a rule requires it", () => {
    const model = new ScriptedModel({ rules: [{ matchSystem: "You lead", actions: [{ text: "leading" }] }] })
    const messages: ReadonlyArray<ChatMessage> = [
      { role: "system", content: "You lead the team." },
      { role: "user", content: "hello" }
    ]
    expect(model.decide(prompt("You lead")).action.text).toBe("ok")
    expect(model.decide({ model: "fake-1", messages }).action.text).toBe("leading")
  })

  it("fills captured values into texts and arguments, from the last match in the whole prompt", () => {
    const model = new ScriptedModel({
      rules: [
        {
          capture: { taskId: "task id: (\\S+)", absent: "never (\\S+)" },
          actions: [
            { text: "on {{taskId}} {{absent}}", toolCalls: [{ name: "task_load", args: { ids: ["{{taskId}}"] } }] }
          ]
        }
      ]
    })
    const { action } = model.decide(prompt("task id: t1", "task id: t2", "go"))
    expect(action.text).toBe("on t2 {{absent}}")
    expect(action.toolCalls).toEqual([{ name: "task_load", args: { ids: ["t2"] } }])
  })

  it("replaces its rules with `replace`, and adds to them otherwise", () => {
    const model = new ScriptedModel({ rules: [{ match: "a", repeat: true, actions: [{ text: "old" }] }] })
    model.add({ rules: [{ repeat: true, actions: [{ text: "new" }] }] })
    expect([model.decide(prompt("a")).action.text, model.decide(prompt("b")).action.text]).toEqual(["old", "new"])
    model.add({ replace: true, rules: [], fallback: { text: "bare" } })
    expect(model.decide(prompt("a")).action.text).toBe("bare")
  })

  for (const [name, script] of [
    ["an unknown key in a rule", { rules: [{ macth: "x", actions: [{ text: "y" }] }] }],
    ["an unknown key in an action", { rules: [{ actions: [{ txet: "y" }] }] }],
    ["a rule without actions", { rules: [{ match: "x" }] }],
    ["a broken regular expression", { rules: [{ match: { regex: "(" }, actions: [{ text: "y" }] }] }],
    ["a tool call without a name", { fallback: { toolCalls: [{ args: {} }] } }],
    ["a list", []]
  ] as const) {
    it(`is refused with ${name}`, () => {
      expect(() => parseScript(script)).toThrow()
    })
  }
})

describe("the scripted model in process", () => {
  it("records session, agent and offered tools of each request", () => {
    const model = new ScriptedModel()
    model.decide({
      ...inSession("agent:alpha:x", "hello"),
      tools: [{ type: "function", function: { name: "task_load" } }]
    })
    expect(model.requests).toMatchObject([{ session: "agent:alpha:x", agent: "alpha", tools: ["task_load"] }])
  })

  it("fails with the scripted status and the provider's message", async () => {
    const model = new ScriptedModel({
      fallback: { status: 429, body: { error: { message: "slow down", code: "busy" } } }
    })
    const failure = model.complete(prompt("x"), new AbortController().signal)
    await expect(failure).rejects.toMatchObject({ status: 429, message: "slow down", code: "busy" })
    expect(model.requests[0]?.ended).toBe("failed")
  })

  it("records a caller that timed out on a hanging answer", async () => {
    const model = new ScriptedModel({ fallback: { hang: true } })
    const giveUp = new AbortController()
    const reply = model.complete(prompt("x"), giveUp.signal)
    giveUp.abort(new Error("gave up"))
    await expect(reply).rejects.toThrow("gave up")
    expect(model.requests[0]?.ended).toBe("closed-early")
  })

  it("counts all requests although it keeps only the latest", () => {
    const model = new ScriptedModel()
    for (let index = 0; index < 2_500; index++) model.decide(prompt("x"))
    expect(model.count).toBe(2_500)
    expect(model.requests.length).toBeLessThanOrEqual(2_000)
    expect(model.requests.at(-1)?.id).toBe(2_500)
  })
})
