import { describe, expect, it } from "vitest"
import { parseMentions } from "../../src/domain/Mention.ts"

const slugsOf = (text: string) => parseMentions(text).slugs

describe("mentions", () => {
  it("are slugs, quoted names and @all, each once and in lower case", () => {
    expect(parseMentions('Hi @Engineer, @engineer and @"Squad Lead": @ALL please')).toEqual({
      slugs: ["engineer"],
      names: ["squad lead"],
      all: true
    })
  })

  it.each([
    ["at the end of a sentence", "ask @qa.", ["qa"]],
    ["in brackets", "(@qa)", ["qa"]],
    ["before a possessive", "@qa's turn", ["qa"]],
    ["after a line break", "first\n@qa", ["qa"]],
    ["with hyphens and underscores", "@squad-lead @dev_ops", ["squad-lead", "dev_ops"]],
    ["in a list", "- @qa\n* @engineer", ["qa", "engineer"]],
    ["between two marks", "**@qa**", ["qa"]]
  ])("count %s", (_, text, slugs) => {
    expect(slugsOf(text)).toEqual(slugs)
  })

  it.each([
    ["in an e-mail address", "write to ana@example.com or a.b+c@qa.io"],
    ["as an address of a server", "see @example.com and @user@host.org"],
    ["in inline code", "run `npm i @qa` or ``a ` @qa``"],
    ["in fenced code", "```ts\n@qa()\n```"],
    ["in a fence of tildes", "~~~\n@qa\n~~~"],
    ["in a fence that nobody closes", "```\n@qa"],
    ["in a block quote", "> @qa said\n  > and @qa again"],
    ["after a slash", "npm install scope/@qa"],
    ["without a name", '@ @"" @"  " @-'],
    ["with letters of other alphabets at the end", "@qaß"]
  ])("do not count %s", (_, text) => {
    expect(parseMentions(text)).toEqual({ slugs: [], names: [], all: false })
  })

  it("are found again after code, and a stray backtick hides nothing beyond its paragraph", () => {
    expect(slugsOf("`@a` @qa")).toEqual(["qa"])
    expect(slugsOf("a ` here\n\n@qa and ` there")).toEqual(["qa"])
    expect(slugsOf("```\n@a\n```\n@qa")).toEqual(["qa"])
  })

  it.each(["@", "`", "@a`", '@"', "> @a\n", "``` `\n", "`` ` ", "\n \n", " @a-", "-", "@a-"])(
    "are still found after 100,000 times %j, which time that is not linear would not allow",
    (part) => {
      expect(slugsOf(`@qa\n\n@a${part.repeat(100_000)}b`)).toContain("qa")
    }
  )
})
