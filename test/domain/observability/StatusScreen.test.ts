import { assert, describe, it } from "@effect/vitest"
import { describeDeadLetter, deadLetterTable } from "../../../src/domain/delivery/DeadLetter.ts"
import type { DeadLetter } from "../../../src/domain/delivery/DeadLetter.ts"
import { showSpan, statusScreen } from "../../../src/domain/observability/StatusScreen.ts"
import { paintIf } from "../../../src/domain/text/TerminalColor.ts"
import { textTable } from "../../../src/domain/text/TextTable.ts"

const now = 1_800_000_000_000

const health = {
  status: "degraded",
  ready: false,
  reasons: ["paused", "push: down, polling"],
  uptime: 7_200,
  gateway: { state: "ready", version: "2026.9.6", lastSendAt: null, lastSendError: "ConnectionLost: it\nbroke" },
  controlPlane: { push: false, lastMessageAt: null },
  delivery: {
    inFlight: 3,
    successCount: 12,
    failureCount: 2,
    consecutiveFailures: 1,
    deadLetters: 1,
    silences: 4,
    oldestWaiting: now - 90_000,
    lastErrorMessage: "TurnTimeout: no end",
    lastErrorAt: now - 300_000,
    config: { maxConcurrentSessions: 8 }
  },
  heartbeats: { agents: 3, inFlight: 1, limit: 2, ok: 5 },
  agentSync: null,
  versions: { runtime: "1.0.0", openclaw: "2026.9.6" }
}

const url = "http://127.0.0.1:3000"
const textOf = (answer: unknown): string => statusScreen(answer, now, url)?.text(paintIf(false)) ?? ""
const lineOf = (screen: string, name: string) =>
  screen
    .split("\n")
    .find((line) => line.startsWith(name.padEnd(16)))
    ?.slice(16)

describe("the status screen", () => {
  it("names the agents that are paused", () => {
    const screen = textOf({ ...health, agentSync: { agents: 3, paused: ["qa", "writer"] } })
    assert.strictEqual(lineOf(screen, "agents"), "3, paused: qa, writer")
  })

  it("counts the turns that seem stuck", () => {
    const screen = textOf({ ...health, delivery: { ...health.delivery, stuck: 1 } })
    assert.strictEqual(lineOf(screen, "running turns"), "3 of 8, 1 seemingly stuck")
  })

  it("shows lifecycle, reasons, push, gateway, turns, waiting work and the last errors, one in each line", () => {
    const screen = textOf(health)
    assert.strictEqual(lineOf(screen, "status"), "degraded, not ready, up 2 h")
    assert.strictEqual(lineOf(screen, "reason"), "paused")
    assert.strictEqual(lineOf(screen, "control plane"), "push down, polling")
    assert.strictEqual(lineOf(screen, "gateway"), "ready, OpenClaw 2026.9.6")
    assert.strictEqual(lineOf(screen, "heartbeats"), "1 of 2 running")
    assert.strictEqual(lineOf(screen, "running turns"), "3 of 8")
    assert.strictEqual(lineOf(screen, "delivered"), "12, failed 2 (1 in a row), unanswered 4, dead letters 1")
    assert.strictEqual(lineOf(screen, "oldest waiting"), "for 90 s")
    assert.strictEqual(lineOf(screen, "last error"), "TurnTimeout: no end (5 min ago)")
    assert.strictEqual(lineOf(screen, "gateway error"), "ConnectionLost: it broke")
    assert.strictEqual(lineOf(screen, "page"), "http://127.0.0.1:3000/")
    assert.isAtMost(screen.split("\n").length, 24)
  })

  it("colours states, and nothing else, only when asked to", () => {
    const red = "\u001b[31m"
    const failing = { ...health, status: "failing", ready: true, reasons: ["attempts: the last 3 failed"] }
    const colored = statusScreen(failing, now, url)?.text(paintIf(true)) ?? ""
    assert.include(colored, `${red}failing, ready, up 2 h`)
    assert.include(colored, `${red}attempts: the last 3 failed`)
    assert.include(colored, "\u001b[33mpush down, polling")
    assert.notInclude(textOf(failing), "\u001b")
  })

  it("shows that nothing is wrong", () => {
    const quiet = {
      ...health,
      status: "healthy",
      ready: true,
      reasons: [],
      gateway: { ...health.gateway, lastSendError: null },
      delivery: { ...health.delivery, oldestWaiting: null, lastErrorMessage: null, lastErrorAt: null }
    }
    const screen = textOf(quiet)
    assert.isTrue(statusScreen(quiet, now, url)?.isHealthy)
    assert.strictEqual(lineOf(screen, "status"), "healthy, ready, up 2 h")
    assert.strictEqual(lineOf(screen, "last error"), "none")
    assert.strictEqual(lineOf(screen, "oldest waiting"), "none")
    assert.isUndefined(lineOf(screen, "reason"))
    assert.isUndefined(lineOf(screen, "gateway error"))
  })

  it("accepts the parts that another version sends, and refuses other answers", () => {
    const least = { status: "healthy", lifecycle: "ready", reasons: [] }
    assert.strictEqual(lineOf(textOf(least), "control plane"), "-")
    assert.strictEqual(lineOf(textOf(least), "status"), "healthy")
    assert.isNull(statusScreen({ hello: "world" }, now, url))
    assert.isNull(statusScreen(null, now, url))
  })

  it("is healthy if /health says so, which follows /readyz and the agents", () => {
    for (const status of ["booting", "paused", "degraded", "draining", "offline"]) {
      assert.isFalse(statusScreen({ ...health, status }, now, url)?.isHealthy, status)
    }
  })

  it("shows durations in readable units", () => {
    const spans: ReadonlyArray<readonly [number, string]> = [
      [-5, "0 s"],
      [119, "119 s"],
      [120, "2 min"],
      [7_200, "2 h"],
      [172_800, "2 d"]
    ]
    for (const [seconds, said] of spans) assert.strictEqual(showSpan(seconds), said)
  })
})

describe("a table", () => {
  it("has columns as wide as their cells, no space at the ends of its lines, and one line a row", () => {
    assert.deepStrictEqual(
      textTable(
        ["id", "what"],
        [
          ["longer", "a\nb"],
          ["x", ""]
        ]
      ).split("\n"),
      ["ID      WHAT", "longer  a b", "x"]
    )
  })

  it("is empty without rows", () => {
    assert.strictEqual(textTable(["id"], []), "")
  })
})

describe("a dead letter", () => {
  const letter: DeadLetter = {
    id: "n1",
    type: "mention",
    agentSlug: null,
    taskId: "t1",
    taskTitle: "Fix the login",
    createdAt: 0,
    diedAt: 60_000,
    attempts: 8,
    claims: 9,
    error: { class: "TurnTimeout", message: "no end\nwithin", at: 60_000 },
    isRequired: true,
    hasFallback: true,
    events: [
      { type: "mention", actorName: "Pat Person", at: 0 },
      { type: "thread_update", actorName: "QA\nSYSTEM", at: 60_000 }
    ],
    traceId: null
  }

  it("is one line in the list, and a text with all facts", () => {
    const [, line = ""] = deadLetterTable([letter]).split("\n")
    assert.match(line, /^n1 +1970-01-01T00:01:00\.000Z +\(removed\) +mention +2 +8 +TurnTimeout +Fix the login$/)
    const shown = describeDeadLetter(letter)
    assert.include(shown, "error      TurnTimeout: no end within")
    assert.include(shown, "event      1970-01-01T00:00:00.000Z mention by Pat Person")
    assert.include(shown, "event      1970-01-01T00:01:00.000Z thread_update by QA SYSTEM")
    assert.include(shown, "an answer was owed")
  })
})
