import { assert, describe, it } from "vitest"
import { scriptFor } from "../../../local/demo/conversation.ts"
import { ScriptedModel } from "../../../local/model/scriptedModel.ts"

/** The model's answer to the last message of the squad lead's session: its text, or the name of the tool. */
const answer = (model: ScriptedModel, ...texts: ReadonlyArray<string>): string | undefined => {
  const messages = [
    { role: "system" as const, content: "You are Squad Lead." },
    ...texts.map((content) => ({ role: "user" as const, content }))
  ]
  const { action } = model.decide({ model: "demo", messages })
  return action.text ?? action.toolCalls?.[0]?.name
}

describe("the script for a typed line", () => {
  it("answers the line, although the agent has other work first", () => {
    const model = new ScriptedModel(scriptFor("hello"))
    assert.strictEqual(answer(model, "The status of another task changed."), "NO_ACTION")
    assert.match(answer(model, "Pat: @squad-lead hello") ?? "", /^What exactly should be different/)
  })

  it("creates a task and finishes it with the results of the tools", () => {
    const model = new ScriptedModel(scriptFor("add a help page"))
    assert.strictEqual(answer(model, "Pat: @squad-lead add a help page"), "task_create")
    for (const expected of ["task_status", "task_status"]) {
      assert.strictEqual(answer(model, '{"success":true,"result":{"taskId":"abc123"}}'), expected)
    }
    assert.match(answer(model, '{"success":true,"result":{"taskId":"abc123"}}') ?? "", /^I created the task/)
  })
})
