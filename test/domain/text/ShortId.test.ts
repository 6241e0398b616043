import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { shortIds, wholeId } from "../../../src/domain/text/ShortId.ts"

const tasks = [
  { id: "kd7abcd1efgh", title: "Login" },
  { id: "kd7abcd2efgh", title: "Search" },
  { id: "kx2zzzzzefgh", title: "A title that is much longer than what fits into one line" }
]
const kind = { noun: "task", listedBy: "tasks list", title: ({ title }: { readonly title: string }) => title } as const
const found = (text: string, elements = tasks) => wholeId(elements, text, kind)

describe("the beginning of an id", () => {
  it("names the only element whose id begins with it", () => {
    assert.deepStrictEqual(found("kx"), Result.succeed("kx2zzzzzefgh"))
    assert.deepStrictEqual(found("kd7abcd2"), Result.succeed("kd7abcd2efgh"))
    assert.deepStrictEqual(found("kd7abcd1efgh"), Result.succeed("kd7abcd1efgh"))
  })

  it("names an element whose whole id is the beginning of another", () => {
    const nested = [...tasks, { id: "kd7abcd1", title: "Short" }]
    assert.deepStrictEqual(found("kd7abcd1", nested), Result.succeed("kd7abcd1"))
  })

  it("is ambiguous with several, which the message names", () => {
    assert.deepStrictEqual(
      found("kd7"),
      Result.fail('The ids of 2 tasks begin with "kd7": kd7abcd1 (Login), kd7abcd2 (Search). Give more characters.')
    )
  })

  it("is unknown with none, and the message names those that exist", () => {
    assert.deepStrictEqual(
      found("q"),
      Result.fail(
        'No task\'s id begins with "q". There are kd7abcd1 (Login), kd7abcd2 (Search), kx2zzzzz (A title that is much longer than what f…). `tasks list` lists them.'
      )
    )
    assert.deepStrictEqual(
      found("", []),
      Result.fail('No task\'s id begins with "". There is no task. `tasks list` lists them.')
    )
    const many = Array.from({ length: 7 }, (_, index) => ({ id: `id${index}`, title: "T" }))
    assert.include(
      Result.getOrElse(found("x", many), (why) => why),
      "id4 (T), and 2 more."
    )
  })

  it("is sent as it is if it is a whole id, which may exist although it is not listed", () => {
    const id = "k57fq8y3m2n9c4v6b8x1z3w5r7t9p2d4"
    assert.deepStrictEqual(found(id), Result.succeed(id))
  })
})

describe("short ids", () => {
  it("have the same length, at least eight characters, and stay distinct", () => {
    const short = shortIds(tasks.map(({ id }) => id))
    assert.deepStrictEqual(
      tasks.map(({ id }) => short(id)),
      ["kd7abcd1", "kd7abcd2", "kx2zzzzz"]
    )
    const long = shortIds(["aaaaaaaaaa1", "aaaaaaaaaa2"])
    assert.strictEqual(long("aaaaaaaaaa1"), "aaaaaaaaaa1")
  })
})
