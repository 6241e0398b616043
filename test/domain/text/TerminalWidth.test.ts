import { assert, describe, it } from "@effect/vitest"
import { cutToWidth, wrapToWidth } from "../../../src/domain/text/TerminalWidth.ts"

describe("text for a terminal", () => {
  it("is cut at each line's end", () => {
    assert.strictEqual(cutToWidth("AGENT  ROLE\n@lead  plans and assigns", 11), "AGENT  ROLE\n@lead  pla…")
  })

  it("breaks between words, and continues below the description", () => {
    const help = [
      "DESCRIPTION",
      "  List the accounts of a deployment",
      "  --name text  Only accounts with this name",
      "  program list --name acme --json"
    ].join("\n")
    const wrap = (text: string) => wrapToWidth(text, 30, (line) => line.startsWith("  program"))
    assert.strictEqual(
      wrap(help),
      [
        "DESCRIPTION",
        "  List the accounts of a",
        "  deployment",
        "  --name text  Only accounts",
        "               with this name",
        "  program list --name acme --json"
      ].join("\n")
    )
    assert.strictEqual(wrap("  --a-very-long-flag  words after it"), "  --a-very-long-flag  words\n      after it")
  })

  it("does not count colours, nor break a word", () => {
    const [bold, plain] = ["\u001b[1m", "\u001b[0m"]
    const wrap = (text: string) => wrapToWidth(text, 10, () => false)
    assert.strictEqual(wrap(`${bold}--flag${plain} one`), `${bold}--flag${plain} one`)
    assert.strictEqual(wrap(`${bold}one${plain} two three`), `${bold}one${plain} two\nthree`)
    assert.strictEqual(wrap("https://example.com/long"), "https://example.com/long")
  })
})
