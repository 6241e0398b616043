import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { focusTaskOf, readHeartbeatReply } from "../../src/domain/HeartbeatReply.ts"
import { readSpokenText } from "../../src/domain/Silence.ts"
import { sampleHeartbeatTask } from "./sampleHeartbeat.ts"

const read = (text: string) => readHeartbeatReply(readSpokenText(text))

describe("the reading of a heartbeat's text", () => {
  it("takes the token alone, and behind lines that say that the context is loaded, for nothing to do", () => {
    for (const text of [
      "HEARTBEAT_OK",
      "  HEARTBEAT_OK \n",
      "NO_ACTION",
      "Loading context for heartbeat\nHEARTBEAT_OK",
      "Loading context for heartbeat...\n\nloading context for heartbeat\nHEARTBEAT_OK"
    ]) {
      assert.deepStrictEqual(read(text), { _tag: "Ok", isStray: false }, text)
    }
  })

  it("takes the token among other text for nothing to do, and says that it strayed", () => {
    for (const text of [
      "All is well. HEARTBEAT_OK",
      "**HEARTBEAT_OK**",
      "HEARTBEAT_OK\nI looked at task_1.",
      "`HEARTBEAT_OK`."
    ]) {
      assert.deepStrictEqual(read(text), { _tag: "Ok", isStray: true }, text)
    }
  })

  it("never posts silence, placeholders, or that a context is being loaded", () => {
    for (const text of [
      "",
      "  ",
      "NO_REPLY",
      "NO",
      "NO_",
      "No response from OpenClaw.",
      "@qa",
      "Loading context for heartbeat"
    ]) {
      assert.strictEqual(read(text)._tag, "Silent", text)
    }
  })

  it("posts every other text whole, also one in which the token is part of another word", () => {
    for (const text of ["The tests are green.", "I set MY_HEARTBEAT_OK_FLAG.", "heartbeat_ok"]) {
      assert.deepStrictEqual(read(text), { _tag: "Text", text })
    }
  })

  it.prop(
    "reads any text as one of the three, and posts none that holds the token as a word",
    [Schema.String],
    ([text]) => {
      assert.include(["Ok", "Silent", "Text"], read(text)._tag)
      assert.deepStrictEqual(read(`${text} HEARTBEAT_OK`)._tag, "Ok")
    }
  )
})

describe("the task of a heartbeat's text", () => {
  const offered = [
    sampleHeartbeatTask({ id: "k17" }),
    sampleHeartbeatTask({ id: "k178" }),
    sampleHeartbeatTask({ id: "k9" })
  ]
  const focus = (text: string) => focusTaskOf(text, offered)?.task.id

  it("is the first that the text names by its whole id", () => {
    assert.strictEqual(focus("k178 is done, k9 is not"), "k178")
    assert.strictEqual(focus("I looked at (k9)."), "k9")
  })

  it("is the first offered when the text names none, or one that was not offered", () => {
    assert.strictEqual(focus("Half way."), "k17")
    assert.strictEqual(focus("See k1789 and xk9."), "k17")
  })

  it("is none when none was offered", () => {
    assert.isNull(focusTaskOf("k17", []))
  })
})
