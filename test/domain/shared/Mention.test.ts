import { describe, expect, it } from "vitest"
import { parseMentions } from "../../../src/domain/shared/Mention.ts"

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
    ["after a full stop or a hyphen of the sentence", ".@qa -@dev", ["qa", "dev"]],
    ["one after another", "@a/@b @c,@d @e+@f @g@h", ["a", "b", "c", "d", "e", "f", "g", "h"]],
    ["after an emoji", "👋@qa", ["qa"]]
  ])("count %s", (_, text, slugs) => {
    expect(slugsOf(text)).toEqual(slugs)
  })

  it.each([
    ["Chinese", "交给@qa处理，再由@dev检查。", ["qa", "dev"]],
    ["Japanese", "これは@qaさんへ", ["qa"]],
    ["Korean", "@qa에게 부탁해요", ["qa"]],
    ["Thai", "ให้@qaตรวจ", ["qa"]],
    ["Arabic", "أرسله ل@qa، شكرا", ["qa"]],
    ["Hindi", "@qaको दें", ["qa"]],
    ["emphasis in Chinese", "交给_@qa_处理，**@dev**检查", ["qa", "dev"]],
    ["other at signs", "＠qa ﹫dev ＠ＯＰＳ", ["qa", "dev", "ops"]]
  ])("count in %s", (_, text, slugs) => {
    expect(slugsOf(text)).toEqual(slugs)
  })

  it.each([
    "“Squad Lead”",
    "„Squad Lead“",
    "”Squad Lead”",
    "«Squad Lead»",
    "»Squad Lead«",
    "‹Squad Lead›",
    "‘Squad Lead’",
    "'Squad Lead'",
    "「Squad Lead」",
    "『Squad Lead』",
    "《Squad Lead》",
    "＂Squad Lead＂",
    '"Squad Lead”',
    '\\"Squad Lead\\"'
  ])("count as a name in %s", (name) => {
    expect(parseMentions(`Ask @${name}, please`)).toEqual({ slugs: [], names: ["squad lead"], all: false })
  })

  it("read an apostrophe in a name as a part of it", () => {
    expect(parseMentions("@'O'Brien' and @’O’Brien’").names).toEqual(["o'brien", "o’brien"])
  })

  it.each([
    ["bold", "**@qa**: look", ["qa"]],
    ["emphasis", "_@qa_ and *@dev*", ["qa", "dev"]],
    ["both", "***@qa***", ["qa"]],
    ["strike-through", "~~@qa~~", ["qa"]],
    ["a heading", "# @qa\n\n@dev\n====", ["qa", "dev"]],
    ["a list", "- @qa\n* @engineer\n1. @dev\n- [ ] @ops", ["qa", "engineer", "dev", "ops"]],
    ["a table", "| who |\n| --- |\n| @qa |", ["qa"]],
    ["the text of a link", '[@qa](https://example.com/@dev "@ops")', ["qa"]],
    ["HTML", '<details title="@dev"><summary>@qa</summary></details>', ["qa"]],
    ["an escaped underscore", "@dev\\_ops", ["dev_ops"]],
    ["a list item's second paragraph", "1. one\n\n   @qa", ["qa"]]
  ])("count in %s", (_, text, slugs) => {
    expect(slugsOf(text)).toEqual(slugs)
  })

  it.each([
    ["in an e-mail address", "write to ana@example.com, a.b+c@qa.io, a_b@qa.io or <ana@qa.io>"],
    ["as an address of a server", "see @example.com and @user@host.org"],
    ["in a package name", "npm i @qa/tools scope/@qa ./@qa"],
    ["in a URL", "https://example.com/@qa?to=@dev,\nwww.example.com/?to=@qa <https://example.com?@qa>"],
    ["in a link's target", "[a](https://example.com/@qa) [b](@qa) [c]\n\n[c]: @qa"],
    ["in an image", "![@qa](@qa.png)"],
    ["behind an escape", "\\@qa"],
    ["in inline code", "run `npm i @qa` or ``a ` @qa``"],
    ["in inline code of two lines", "run `npm i\n@qa`"],
    ["in fenced code", "```ts\n@qa()\n```"],
    ["in a fence of tildes", "~~~\n@qa\n~~~"],
    ["in a fence that no line closes", "```\n@qa"],
    ["in a fence within a longer fence", "````\n```\n@qa\n```\n````"],
    ["in indented code", "example:\n\n    @qa"],
    ["in code of HTML", "<code>@qa</code>\n\n<pre>\n@qa\n\n@qa\n</pre>"],
    ["in a comment of HTML", "text <!-- @qa --> text"],
    ["in a block quote", "> @qa said\n  > and @qa again\n> > @qa"],
    ["in a block quote of HTML", "<blockquote>\n\n@qa\n\n</blockquote>"],
    ["in a quoted fence", "> ```\n> @qa\n> ```\n> @qa"],
    ["in a quoted list, or a quotation of a list", "> - @qa\n\n- > @qa\n  > @qa"],
    ["after an at sign", "@@qa"],
    ["without a name", '@ @"" @"  " @-'],
    ["with letters of other alphabets next to them", "@qaß привет@qa"]
  ])("do not count %s", (_, text) => {
    expect(parseMentions(text)).toEqual({ slugs: [], names: [], all: false })
  })

  it.each([
    ["inline code", "`@a` @qa"],
    ["a stray backtick", "a ` here\n\n@qa and ` there"],
    ["a fence", "```\n@a\n```\n@qa"],
    ["a fence with Windows' line ends", "```\r\n@a\r\n```\r\n@qa"],
    ["a fence on a list marker", "- ```sh\n  @a\n  ```\n@qa"],
    ["a fence on a list marker above code that is not indented", "- ```sh\n@a\n```\n@qa"],
    ["a fence on a list marker that ends without indentation", "- ```sh\n  @a\n```\n@qa"],
    ["a fence behind the words of a list item that ends without indentation", "- Run: ```\n  @a\n```\n@qa"],
    ["two fences in a list", "- ```\n  @a\n  ```\n- Run: ```\n  @b```\n\n@qa"],
    ["a fence in a nested list", "1. one\n   - two:\n     ```\n     @a\n     ```\n@qa"],
    ["a fence behind words", "Run this: ```\n@a\n```\n@qa"],
    ["a fence with a language behind words", "1. Run: ```sh\n   @a\n   ```\n   @qa"],
    ["a fence behind words in a quotation", "> Run: ```\n> @a\n> ```\n\n@qa"],
    ["a fence that ends behind code", "```\n@a```\n@qa"],
    ["a fence that words follow", "Run: ```\n@a\n``` @qa"],
    ["a fence in one line", "Run ```npm i @a``` @qa"],
    ["a fence that a quotation ends", "> ```\n> @a\n\n@qa"],
    ["a word about fences", "Close it with ```\n\n@qa\n\n```\n@a\n```"],
    ["a fence in HTML", "<details>\n```\n@a\n```\n@qa\n</details>"],
    ["a tag that nothing closes", "<code> is a tag, @qa\n\n<code>@a</code>"],
    ["a quotation", "> @a\n\n@qa"],
    ["a quotation without an empty line", "> @a said\n> something\n@qa"],
    ["a URL in Chinese", "见https://example.com/@a，@qa处理"]
  ])("are found after %s", (_, text) => {
    expect(slugsOf(text)).toEqual(["qa"])
  })

  it.each([
    "@",
    "`",
    "@a`",
    '@"',
    "> @a\n",
    "``` `\n",
    "`` ` ",
    "\n \n",
    " @a-",
    "-",
    "@a-",
    "@a/",
    "@a@",
    ">",
    "> ",
    "> - ",
    "1. ",
    "*",
    "_",
    "*_",
    "[",
    "![",
    "[a](",
    "[a](<",
    "<",
    "<a ",
    "<!--",
    "<?",
    "<![CDATA[",
    "<code>",
    "\\",
    "&",
    "a",
    "/",
    "- a\n",
    "a ```\n",
    "- ```\n",
    "://",
    "'a"
  ])("are still found next to 100,000 characters of %j, which a time that is not linear would not allow", (part) => {
    const noise = part.repeat(100_000 / part.length)
    expect(slugsOf(`@qa\n\n@a${noise}b`)).toContain("qa")
    expect(slugsOf(`${noise}\n@`).length).toBeLessThan(2)
  })
})
