import { assert, describe, it } from "@effect/vitest"
import { logLine } from "../../../src/domain/observability/LogLine.ts"
import type { LogEvent } from "../../../src/domain/observability/LogLine.ts"
import { paintIf } from "../../../src/domain/text/TerminalColor.ts"

const id = "00000000000000000000000000010000notifications".slice(0, 37)
const fields = {
  loop: "delivery-loop",
  notification: id,
  agent: "engineer",
  session: "0123456789ab",
  attempt: "1",
  type: "mention"
}

const lineOf = (change: Partial<LogEvent> = {}) =>
  logLine(
    {
      timestamp: "2026-01-02T03:04:05.678Z",
      level: "INFO",
      message: "delivery replied",
      fields,
      cause: undefined,
      ...change
    },
    paintIf(false)
  )

describe("a line of the log on a terminal", () => {
  it("names the agent first, then the event with its duration, and the run's id last", () => {
    assert.strictEqual(
      lineOf({ fields: { ...fields, durationMillis: "44" } }),
      `03:04:05.678 INFO  engineer: delivery replied in 44 ms type=mention notification=${id}`
    )
    assert.include(lineOf({ fields: { ...fields, attempt: "2", durationMillis: "61234" } }), "in 61.2 s attempt=2 type")
  })

  it("has at most 140 columns for the lines of a run, and always its id", () => {
    const traced = { ...fields, attempt: "12", traceId: "ab".repeat(16), tool: "request_responses", success: "false" }
    for (const agent of ["qa", "engineer", "customer-support"]) {
      for (const message of ["tool called", "delivery replied", "delivery retrying: TurnTimeout: no end in 900 s"]) {
        const line = lineOf({ message, fields: { ...traced, agent } })
        assert.isAtMost(line.length, 140)
        assert.include(line, `${agent}: ${message}`)
        assert.include(line, `notification=${id}`)
      }
    }
  })

  it("never cuts a message", () => {
    const message = "x".repeat(300)
    assert.include(lineOf({ message }), `${message} notification=`)
  })

  it("names the loop of a line without a run, and the program that another line comes from", () => {
    assert.include(lineOf({ message: "died", fields: { loop: "heartbeats" } }), "INFO  died loop=heartbeats")
    assert.include(lineOf({ message: "hello", fields: { source: "openclaw" } }), "INFO  openclaw: hello")
  })
})
