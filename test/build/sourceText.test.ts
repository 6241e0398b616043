import { assert, describe, it } from "@effect/vitest"
import { sourceTree } from "../../build/sourceText.ts"

/** The checked texts of a source, with blanks of any length as one. */
const checked = (...lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  sourceTree("a.ts", lines.join("\n")).ast.children.flatMap(({ children }) =>
    children.map(({ value }) => value.replaceAll(/\s+/g, " ").trim()).filter((text) => text !== "")
  )

describe("the text of a source that textlint checks", () => {
  it("contains comments, strings and the fixed parts of templates, but no code, pattern or import", () => {
    assert.deepStrictEqual(
      checked(
        'import { anew } from "./anew.ts"',
        'export * from "./beats.ts"',
        "/** A docstring. */",
        'const beats = "a string" // a comment',
        "const text = `a ${beats} template` + `plain`",
        'type Once = import("./mend.ts").Once',
        "const pattern = /reckon/",
        'const later = import("./later.ts")'
      ),
      ["A docstring.", "a string", "a comment", "a", "template", "plain"]
    )
  })

  it("joins the lines of a comment, and separates texts that have code between them", () => {
    assert.deepStrictEqual(
      checked("/**", " * Once", " * more.", " */", "// once", "// more", "const a = 1 // once", 'const b = "more"'),
      ["Once more.", "once more", "once", "more"]
    )
  })

  it("leaves out escapes and what is in backticks", () => {
    assert.deepStrictEqual(checked("// run `mend` twice", String.raw`const a = "one\ntwo"`), [
      "run",
      "twice",
      "one two"
    ])
  })

  it("keeps every text at its place, so that a finding names the line", () => {
    const source = ["const a = 1", 'const b = "a text"'].join("\n")
    const { ast, text } = sourceTree("a.ts", source)
    assert.lengthOf(text, source.length)
    assert.deepStrictEqual(ast.children[0]?.loc.start, { line: 2, column: 11 })
    assert.strictEqual(source.slice(...ast.children[0]!.range), "a text")
  })

  it("refuses a source that it cannot parse", () => {
    assert.throws(() => sourceTree("a.ts", "const = 1"), "a.ts")
  })
})
