import { assert, describe, it } from "vitest"
import { wrapped } from "../../../local/demo/story.ts"

describe("the story's lines", () => {
  it("break between words at the terminal's width, and keep their indentation", () => {
    assert.strictEqual(wrapped("one two three\n    four five six", 10), "one two\nthree\n    four\n    five\n    six")
  })

  it("keep a word that is longer than the terminal, and empty lines", () => {
    assert.strictEqual(wrapped("see http://127.0.0.1:3000/\n\nnow", 10), "see\nhttp://127.0.0.1:3000/\n\nnow")
  })
})
