import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { cutReply, MAX_REPLY_CHARACTERS, readSpokenText } from "../../../src/domain/delivery/Silence.ts"

const tagOf = (text: string) => readSpokenText(text)._tag

const silent = [
  "",
  "   \n\t",
  "NO",
  "NO_",
  "No response from OpenClaw.",
  "no response from openclaw.",
  "⚠️ Agent couldn't generate a response. Please try again.",
  "⚠️ Agent couldn’t generate a response. Please try again.",
  "Agent couldn't generate a response. Please try again.",
  "Agent couldn't generate a response.",
  "No response generated. Please try again.",
  "No reply from agent.",
  "No response from agent.",
  "no reply from agent",
  "⚠️ Message Send blocked",
  "⚠️ 🧩 Message Send blocked"
]
const nothingToAdd = ["NO_ACTION", "HEARTBEAT_OK", "NO_REPLY"] as const
const mentions = ["@engineer ", "@squad-lead: ", "@qa, @engineer ", "@QA\n\n"]

describe("silence", () => {
  for (const text of silent) {
    it(`is ${JSON.stringify(text)}, alone and after mentions`, () => {
      assert.strictEqual(tagOf(text), "Silent")
      for (const mention of mentions) assert.strictEqual(tagOf(mention + text), "Silent", mention)
    })
  }

  it("is a text of mentions alone", () => {
    assert.deepStrictEqual(readSpokenText("@engineer"), { _tag: "Silent", reason: "only mentions" })
    assert.deepStrictEqual(readSpokenText("@engineer, @qa:"), { _tag: "Silent", reason: "only mentions" })
  })
})

describe("nothing to add", () => {
  for (const text of nothingToAdd) {
    it(`is ${JSON.stringify(text)}, alone and after mentions`, () => {
      for (const mention of ["", ...mentions]) {
        for (const dressed of [text, ` ${text} \n`, `**${text}**`, `${text.toLowerCase()}.`, `{"action":"${text}"}`]) {
          assert.deepStrictEqual(readSpokenText(mention + dressed), { _tag: "NothingToAdd", token: text })
        }
      }
    })
  }
})

describe("words", () => {
  for (const text of [
    "no",
    "No.",
    "NO, that does not work.",
    "NO WAY",
    "The answer is NO",
    "some text\n\nNO_REPLY",
    "NO_REPLY is what the agent wrote.",
    "HEARTBEAT_OK with one exception",
    "No response from OpenClaw. So I asked again.",
    "No reply from agent qa yet.",
    "@engineer no",
    "@types/node",
    "@engineer.example is their host",
    "@",
    "@ home"
  ]) {
    it(`are ${JSON.stringify(text)}`, () => {
      assert.deepStrictEqual(readSpokenText(text), { _tag: "Text", text })
    })
  }

  it.prop("keep their content except white space around it", { text: Schema.String }, ({ text }) => {
    const spoken = readSpokenText(text)
    if (spoken._tag === "Text") assert.strictEqual(spoken.text, text.trim())
  })

  const Word = Schema.String.check(Schema.isPattern(/^[a-z]{3,12}[0-9]$/))
  it.prop(
    "are every text with a word in it, also beside the tokens of silence",
    {
      word: Word,
      token: Schema.Literals([...silent, ...nothingToAdd]),
      mention: Schema.Literals(["", ...mentions])
    },
    ({ mention, token, word }) => {
      assert.strictEqual(tagOf(`${mention}${word} ${token}`), "Text")
      if (token.trim() !== "") assert.strictEqual(tagOf(`${mention}${token} ${word}`), "Text")
    }
  )
})

describe("a reply", () => {
  it("is unchanged up to 200,000 characters", () => {
    const text = "x".repeat(MAX_REPLY_CHARACTERS)
    assert.strictEqual(cutReply(text), text)
  })

  it("is cut beyond them, and its last line says how long it was", () => {
    const cut = cutReply("x".repeat(MAX_REPLY_CHARACTERS + 1))
    assert.lengthOf(cut, MAX_REPLY_CHARACTERS)
    assert.match(cut, /\n\n\[cut: the reply had 200001 characters, the limit is 200000\]$/)
  })

  it.prop(
    "that is cut keeps its beginning, its limit and whole characters",
    {
      text: Schema.String,
      count: Schema.Int.check(Schema.isBetween({ minimum: 50, maximum: 400 })),
      limit: Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 300 }))
    },
    ({ count, limit, text }) => {
      const whole = `${text.toWellFormed()}😀a`.repeat(count)
      const cut = cutReply(whole, limit)
      assert.isAtMost(cut.length, limit)
      assert.isTrue(cut.isWellFormed())
      const kept = cut.slice(0, cut.lastIndexOf("\n\n[cut:"))
      assert.isTrue(whole.startsWith(kept))
    }
  )
})
