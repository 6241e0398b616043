import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Sessions } from "../../../local/gateway/sessions.ts"

describe("the sessions of a gateway with a state folder", () => {
  it("are replaced as a whole on disk, so that a kill leaves a valid file", () => {
    const folder = mkdtempSync(join(tmpdir(), "scripted-gateway-"))
    try {
      const sessions = new Sessions(folder)
      const session = sessions.open("agent:alpha:acct", "alpha")
      session.messages.push({ role: "user", content: "first" })
      sessions.save(session)
      const [file = ""] = readdirSync(join(folder, "sessions"))
      const descriptor = openSync(join(folder, "sessions", file), "r")
      session.messages.push({ role: "user", content: "second" })
      sessions.save(session)
      // The old text was not overwritten, so at every moment the file has one of the two.
      assert.deepStrictEqual(JSON.parse(readFileSync(descriptor, "utf8")).messages.length, 1)
      closeSync(descriptor)
      assert.strictEqual(new Sessions(folder).open("agent:alpha:acct", "alpha").messages.length, 2)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe("the history of a session", () => {
  it("is complete for hundreds of turns, and then loses its oldest turns", () => {
    const sessions = new Sessions(undefined)
    const session = sessions.open("agent:alpha:acct", "alpha")
    const take = (turn: number, characters: number) => {
      session.messages.push(
        { role: "user", content: `${turn} `.padEnd(characters) },
        { role: "assistant", content: "ok" }
      )
      sessions.trim(session)
    }
    for (let turn = 0; turn < 400; turn += 1) take(turn, 1_000)
    assert.lengthOf(session.messages, 800)
    for (let turn = 400; turn < 406; turn += 1) take(turn, 100_000)
    const [first] = session.messages
    assert.strictEqual(first?.role, "user")
    assert.match(String(first?.content), /^101 /)
    assert.match(String(session.messages.at(-2)?.content), /^405 /)
  })
})
