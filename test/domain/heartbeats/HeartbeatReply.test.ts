import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { readSpokenText } from "../../../src/domain/delivery/Silence.ts"
import { focusTaskOf, readHeartbeatReply } from "../../../src/domain/heartbeats/HeartbeatReply.ts"
import { sampleHeartbeatTask } from "./sampleHeartbeat.ts"

const read = (text: string) => readHeartbeatReply(readSpokenText(text))

describe("the reading of a heartbeat's text", () => {
  it("treats the token alone, or after lines about loading the context, as nothing to do", () => {
    for (const text of [
      "HEARTBEAT_OK",
      "  HEARTBEAT_OK \n",
      "NO_ACTION",
      "NO_REPLY",
      "**HEARTBEAT_OK**",
      "`heartbeat_ok`.",
      "Loading context for heartbeat\nHEARTBEAT_OK",
      "Loading context for heartbeat...\n\nloading context for heartbeat\nHEARTBEAT_OK"
    ]) {
      assert.deepStrictEqual(read(text), { _tag: "Ok", isStray: false }, text)
    }
  })

  it("does not post a short remark before or after the token, and reports it", () => {
    for (const text of [
      "I looked at task_1, all is well. HEARTBEAT_OK",
      "HEARTBEAT_OK\nI looked at task_1.",
      "HEARTBEAT_OK, task_1 waits for its review",
      "Still waiting\n\n**HEARTBEAT_OK**"
    ]) {
      assert.deepStrictEqual(read(text), { _tag: "Ok", isStray: true }, text)
    }
  })

  it("posts a long text without the token at its start or end", () => {
    const alert = `Disk full on the build machine. ${"The last three builds of task_1 failed. ".repeat(8)}`.trim()
    for (const text of [
      `${alert}\n\nHEARTBEAT_OK`,
      `${alert} HEARTBEAT_OK`,
      `${alert}\n> **HEARTBEAT\\_OK**.`,
      `HEARTBEAT_OK\n\n${alert}`
    ]) {
      assert.deepStrictEqual(read(text), { _tag: "Text", text: alert }, text)
    }
  })

  it("posts a short text that mentions someone, without the token", () => {
    assert.deepStrictEqual(read("@qa please look at task_1.\nHEARTBEAT_OK"), {
      _tag: "Text",
      text: "@qa please look at task_1."
    })
  })

  it("never posts silence, placeholders, or that a context is being loaded", () => {
    for (const text of [
      "",
      "  ",
      "No reply from agent.",
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
    for (const text of ["The tests are green.", "I set MY_HEARTBEAT_OK_FLAG.", "It said HEARTBEAT_OK, but failed."]) {
      assert.deepStrictEqual(read(text), { _tag: "Text", text })
    }
  })

  it.prop(
    "reads any text as one of the three, and posts no token at its end",
    { text: Schema.String, count: Schema.Literals([1, 400]) },
    ({ count, text }) => {
      assert.include(["Ok", "Silent", "Text"], read(text)._tag)
      const reply = read(`${`${text} `.repeat(count)}HEARTBEAT_OK`)
      assert.notStrictEqual(reply._tag, "Silent")
      if (reply._tag === "Text") assert.notInclude(reply.text, "HEARTBEAT_OK")
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
