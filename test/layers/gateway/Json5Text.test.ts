import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { changeJson5, Json5Unusable, readJson5 } from "../../../src/layers/gateway/Json5Text.ts"

const written = `\uFEFF// my gateway
{
    // keep this
    gateway: { mode: 'local', /* the port */ port: 0x10, auth: { token: '\${TOKEN}' } }, // after
    'agents': {
        // mine
        entries: {
            human: { workspace: "/w", }, // a person's
            alpha: { workspace: '/old',
              // set by hand
              tools: { deny: ["*"] } },
        },
    },
    /* end */
}
// trailing
`

describe("a JSON5 text", () => {
  it("is read with comments, a byte order mark, single quotes, bare keys and trailing commas", () => {
    assert.deepStrictEqual(readJson5(written), {
      gateway: { mode: "local", port: 16, auth: { token: "${TOKEN}" } },
      agents: { entries: { human: { workspace: "/w" }, alpha: { workspace: "/old", tools: { deny: ["*"] } } } }
    })
  })

  it("keeps its comments and layout when values are changed, added and removed", () => {
    const wanted = {
      gateway: { mode: "local", port: 16, auth: { token: "${TOKEN}" }, bind: "loopback" },
      agents: {
        entries: { alpha: { workspace: "/ws", tools: { deny: ["*"] }, skills: ["a"] }, beta: { skills: [] } },
        ownership: "explicit"
      },
      tools: { toolSearch: false }
    }
    const result = changeJson5(written, wanted)
    assert.deepStrictEqual(readJson5(result), wanted)
    assert.strictEqual(
      result,
      `\uFEFF// my gateway
{
    // keep this
    gateway: { mode: 'local', /* the port */ port: 0x10, auth: { token: '\${TOKEN}' }, "bind": "loopback" }, // after
    'agents': {
        // mine
        entries: { // a person's
            alpha: { workspace: "/ws",
              // set by hand
              tools: { deny: ["*"] },
              "skills": [
                  "a"
              ] },
            "beta": {
                "skills": []
            },
        },
        "ownership": "explicit",
    },
    /* end */
    "tools": {
        "toolSearch": false
    },
}
// trailing
`
    )
  })

  it("stays JSON if it was", () => {
    for (const [before, wanted, after] of [
      ['{"a":1}', { a: 1, b: { c: [1] } }, '{"a":1, "b": {"c":[1]}}'],
      ['{"a":1,"b":2}', { a: 1 }, '{"a":1}'],
      ['{"a":1,"b":2}', { b: 2 }, '{"b":2}'],
      ['{"a":1}', {}, "{}"],
      ["{}", { a: {} }, '{"a": {}}'],
      ['{\n  "a": {}\n}\n', { a: { b: 1 } }, '{\n  "a": {\n    "b": 1\n  }\n}\n'],
      ['{\r\n\t"a": 1\r\n}', { a: 1, b: { c: 1 } }, '{\r\n\t"a": 1,\r\n\t"b": {\r\n\t\t"c": 1\r\n\t}\r\n}']
    ] as const) {
      const result = changeJson5(before, wanted)
      assert.strictEqual(result, after)
      assert.deepStrictEqual(JSON.parse(result), wanted)
    }
  })

  it("is refused with the place of the error, without a quotation", () => {
    for (const [text, place] of [
      ['{"apiKey": sk-abcdef}', "is not valid JSON5 at line 1, column 12"],
      ["{\n  a: 1,,\n}", "is not valid JSON5 at line 2, column 8"],
      ["", "is not valid JSON5 at line 1, column 1"],
      ["[]", "is not an object"],
      ['{"a":'.repeat(20_000), "is nested too deeply"]
    ] as const) {
      assert.throws(() => readJson5(text), Json5Unusable, new RegExp(`^${place}$`))
    }
  })

  const Leaf = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null, Schema.Array(Schema.String)])
  const Inner = Schema.Record(Schema.String, Leaf)
  const Tree = Schema.Record(Schema.String, Schema.Union([Leaf, Inner, Schema.Record(Schema.String, Inner)]))
  it.effect.prop("becomes any other object, in every layout of JSON", [Tree, Tree], ([before, wanted]) =>
    Effect.sync(() => {
      const normal = readJson5(JSON.stringify(wanted))
      for (const layout of [undefined, 2, "\t"]) {
        const result = changeJson5(JSON.stringify(before, null, layout), normal)
        assert.doesNotThrow(() => JSON.parse(result))
        // Node 24.21's JSON.parse reads the key "\\t" as "\\" after an object with that key: JSON5's reader has the values.
        assert.deepStrictEqual(readJson5(result), normal)
      }
    })
  )
})
