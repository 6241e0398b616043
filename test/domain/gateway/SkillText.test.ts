import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { skillText } from "../../../src/domain/gateway/SkillText.ts"

const parts = (text: string) => {
  const lines = text.split("\n")
  return { head: lines.slice(0, 4), body: lines.slice(4).join("\n") }
}

describe("SKILL.md", () => {
  it("begins with name and description, then the content", () => {
    assert.strictEqual(
      skillText({ slug: "triage", name: "Triage", description: "Sorts: what's new", content: "# Triage\n\nDo it." }),
      '---\nname: "triage"\ndescription: "Sorts: what\'s new"\n---\n\n# Triage\n\nDo it.\n'
    )
  })

  it("takes the skill's name where there is no description, which the gateway needs", () => {
    assert.include(skillText({ slug: "a", name: "Alpha", description: " \n", content: "" }), 'description: "Alpha"')
  })

  it("drops frontmatter that was pasted with the content, which would override the runtime's", () => {
    const text = skillText({ slug: "a", name: "A", description: "d", content: "---\r\nname: evil\r\n---\r\nBody" })
    assert.notInclude(text, "evil")
    assert.include(text, "Body")
  })

  it.effect.prop(
    "has two lines of frontmatter whatever the texts hold, and they say what was meant",
    [Schema.String, Schema.String, Schema.String],
    ([name, description, content]) =>
      Effect.sync(() => {
        const { head } = parts(skillText({ slug: "slug-1", name, description, content }))
        assert.strictEqual(head[0], "---")
        assert.strictEqual(head[1], 'name: "slug-1"')
        assert.isString(JSON.parse(head[2]?.replace("description: ", "") ?? ""))
        assert.strictEqual(head[3], "---")
      })
  )
})
