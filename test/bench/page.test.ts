import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { page, replaced } from "../../bench/page.ts"

const before = readFileSync(page, "utf8")

describe("the page of figures", () => {
  it("has places for the benches' table and the soak's, and keeps the rest when they are replaced", () => {
    const once = replaced(replaced(before, "figures", "| a table |"), "soak", "| another |")
    assert.include(once, "<!-- figures -->\n\n| a table |\n\n<!-- end of figures -->")
    assert.include(once, "<!-- soak -->\n\n| another |\n\n<!-- end of soak -->")
    assert.strictEqual(
      replaced(replaced(once, "figures", "x"), "soak", "y"),
      replaced(replaced(before, "figures", "x"), "soak", "y")
    )
    assert.include(once, before.slice(0, before.indexOf("<!-- figures -->")))
  })
})
