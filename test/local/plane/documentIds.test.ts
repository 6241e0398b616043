import { assert, describe, it } from "vitest"
import { documentId } from "../../../local/plane/documentIds.ts"

describe("the ids of documents", () => {
  const ids = Array.from({ length: 5_000 }, (_, index) => documentId("tasks", 10_000 + index))

  it("are distinct, have one length, and end with the table's name", () => {
    assert.strictEqual(new Set(ids).size, ids.length)
    for (const id of ids) assert.match(id, /^\d{27}tasks$/)
  })

  it("differ in their first eight characters, by which people name them", () => {
    assert.strictEqual(new Set(ids.map((id) => id.slice(0, 8))).size, ids.length)
  })
})
