import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { onlyTokenOf, withoutToken } from "../../../src/domain/delivery/EndToken.ts"

const tokens = ["NO_ACTION", "NO_REPLY", "HEARTBEAT_OK"] as const
const Token = Schema.Literals(tokens)

/** Ways in which models write a token. */
const spellings: Readonly<Record<string, (token: string) => string>> = {
  plain: (token) => token,
  lower: (token) => token.toLowerCase(),
  capitalised: (token) => token.charAt(0) + token.slice(1).toLowerCase(),
  escaped: (token) => token.replace("_", "\\_"),
  entity: (token) => token.replace("_", "&#95;"),
  spaced: (token) => token.replace("_", " "),
  fullwidth: (token) => token.replace(/[A-Z_]/g, (one) => String.fromCodePoint((one.codePointAt(0) ?? 0) + 0xfee0)),
  "zero width": (token) => `\u200b${token.replace("_", "\u200b_\ufeff")}\u2060`,
  emphasised: (token) => token.replace("_", "_**").concat("**"),
  twice: (token) => `${token} ${token}`
}

/** Ways in which models format a token; one may stand within another. */
const dresses: Readonly<Record<string, (text: string) => string>> = {
  plain: (text) => text,
  bold: (text) => `**${text}**`,
  underlined: (text) => `__${text}__`,
  italic: (text) => `_${text}_`,
  struck: (text) => `~~${text}~~`,
  code: (text) => `\`${text}\``,
  block: (text) => `\`\`\`\n${text}\n\`\`\``,
  "block with a language": (text) => `~~~text\n${text}\n~~~`,
  heading: (text) => `### ${text}`,
  quote: (text) => `> ${text}`,
  bullet: (text) => `- ${text}`,
  number: (text) => `1. ${text.trim()}`,
  "check box": (text) => `- [x] ${text}`,
  quoted: (text) => `“${text}”`,
  brackets: (text) => `[[(${text})]]`,
  braces: (text) => `{"action": "${text}"}`,
  html: (text) => `<p><strong>${text}</strong><br/></p>`,
  tag: (text) => `<response>${text}</response>`,
  comment: (text) => `<!-- ${text} -->`,
  boxed: (text) => `$\\boxed{${text}}$`,
  sentence: (text) => `${text}.`,
  shout: (text) => `${text}!!`,
  emoji: (text) => `✅ ${text} 👍🏽`,
  table: (text) => `| ${text} |`,
  space: (text) => `\n\n  ${text}\t\u00a0\n`
}

const fillers = [
  "",
  "Okay.",
  "Understood, thank you!",
  "All good:",
  "No further action needed.",
  "There's nothing to add here.",
  "**Final answer:**",
  "I will end my turn with",
  "Loading context for heartbeat...\n\n",
  "@squad-lead: "
]

const Spelling = Schema.Literals(Object.keys(spellings))
const Dress = Schema.Literals(Object.keys(dresses))
const Filler = Schema.Literals(fillers)

describe("a token", () => {
  it("is recognised in every spelling and format", () => {
    for (const token of tokens)
      for (const [spelling, spell] of Object.entries(spellings))
        for (const [dress, format] of Object.entries(dresses)) {
          const text = format(spell(token))
          assert.strictEqual(onlyTokenOf(text), token, `${spelling}, ${dress}: ${text}`)
        }
  })

  it.prop(
    "is recognised in formats within one another, with filler around it",
    { token: Token, spelling: Spelling, inner: Dress, outer: Dress, before: Filler, after: Filler },
    ({ after, before, inner, outer, spelling, token }) => {
      const dressed = dresses[outer]?.(dresses[inner]?.(spellings[spelling]?.(token) ?? "") ?? "") ?? ""
      const text = `${before}\n${dressed}\n${after}`
      assert.strictEqual(onlyTokenOf(text), token, text)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop(
    "swallows no text with a word of its own, whatever the format",
    {
      token: Token,
      spelling: Spelling,
      dress: Dress,
      filler: Filler,
      // A digit keeps a random word from being one of the fillers.
      word: Schema.String.check(Schema.isPattern(/^[a-zäéøß]{1,9}[0-9]$|^(?:不|да|не|not|but|failed)$/)),
      place: Schema.Literals(["before", "behind", "inside", "line"])
    },
    ({ dress, filler, place, spelling, token, word }) => {
      const written = spellings[spelling]?.(token) ?? ""
      const format = dresses[dress] ?? String
      const text = {
        before: `${word} ${filler} ${format(written)}`,
        behind: `${format(written)} ${filler} ${word}`,
        inside: format(`${filler} ${written} ${word}`),
        line: `${word}\n\n${filler}\n${format(written)}`
      }[place]
      assert.isNull(onlyTokenOf(text), text)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop("is not found in a text without one", { text: Schema.String }, ({ text }) => {
    assert.isNull(onlyTokenOf(text))
  })

  it("is not made of parts of other words, nor of filler alone", () => {
    for (const text of [
      "MY_HEARTBEAT_OK_FLAG",
      "NO_ACTIONS",
      "no action",
      "No reply.",
      "no-reply@example.com",
      "Okay, thanks!",
      "Nothing to add.",
      "No. NO_ACTION",
      "<deploy failed on k17> NO_ACTION",
      "[NO_ACTION](https://example.com/alert)",
      `${"okay ".repeat(30)}NO_ACTION`
    ]) {
      assert.isNull(onlyTokenOf(text), text)
    }
  })
})

describe("a text with a token next to it", () => {
  it("loses the token on its last line, its first line, or after its last sentence", () => {
    for (const [text, rest] of [
      ["The disk is full.\n\nHEARTBEAT_OK", "The disk is full."],
      ["The disk is full.\n\n> **NO_ACTION**\n", "The disk is full."],
      ["HEARTBEAT_OK\n\nThe disk is full.", "The disk is full."],
      ["The disk is full. `HEARTBEAT_OK`.", "The disk is full."],
      ["**The disk is full:** NO\\_REPLY", "**The disk is full:** NO\\_REPLY"],
      ["The disk is full (again) HEARTBEAT_OK", "The disk is full (again)"],
      ["1. one\n2. two\n\nNO_ACTION", "1. one\n2. two"]
    ] as const) {
      assert.strictEqual(withoutToken(text), rest)
    }
  })

  it("keeps a token that is a part of a sentence", () => {
    for (const text of [
      "NO_REPLY is what the agent wrote.",
      "The agent ended with NO_REPLY",
      "Set NO_ACTION, then wait."
    ]) {
      assert.strictEqual(withoutToken(text), text)
    }
  })

  it.prop("is unchanged without one", { text: Schema.String }, ({ text }) => {
    assert.strictEqual(withoutToken(text), text.trim() === "" ? text : text.trim())
  })
})
