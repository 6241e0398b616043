import { SourceMap } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import { inAscii } from "../../build/ascii.ts"

/** Where each word of the code came from, by the map. */
const originsOf = (code: string, mappings: string): Record<string, string> => {
  const map = new SourceMap({
    version: 3,
    file: "",
    sources: ["a.ts"],
    sourcesContent: [""],
    names: [],
    mappings,
    sourceRoot: ""
  })
  const lines = code.split("\n")
  return Object.fromEntries(
    ["first", "second", "third", "fourth"].map((word) => {
      const line = lines.findIndex((text) => text.includes(word))
      const entry = map.findEntry(line, lines[line]!.indexOf(word))
      return [word, "originalLine" in entry ? `${entry.originalLine}:${entry.originalColumn}` : "nowhere"]
    })
  )
}

describe("code in ASCII", () => {
  // Columns 0, 11, 27 of one line, and the begin of the next; each came from a line of its own.
  const code = "first(`…`);second(`🧩 ü …`);third(`→`)\nfourth()"
  const mappings = "AAAA,WACA,gBACA;AACA"

  it("has no wider character, and means the same", () => {
    const narrow = inAscii("[`…`, `🧩 ü`, /^[.…]🧩$/.source]", "").code
    assert.notMatch(narrow, /[^\0-\x7f]/)
    assert.deepStrictEqual(new Function(`return ${narrow}`)().slice(0, 2), ["…", "🧩 ü"])
    assert.isTrue(new RegExp(new Function(`return ${narrow}`)()[2]).test("…🧩"))
  })

  it("still comes from where it came from", () => {
    const narrow = inAscii(code, mappings)
    assert.deepStrictEqual(originsOf(code, mappings), { first: "0:0", second: "1:0", third: "2:0", fourth: "3:0" })
    assert.deepStrictEqual(originsOf(narrow.code, narrow.mappings), originsOf(code, mappings))
  })

  it("is left alone where it is in ASCII already", () => {
    assert.deepStrictEqual(inAscii("first(`u`)", "AAAA,KACA"), { code: "first(`u`)", mappings: "AAAA,KACA" })
  })
})
