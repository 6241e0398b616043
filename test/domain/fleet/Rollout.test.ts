import { assert, describe, it } from "@effect/vitest"
import {
  describeProgress,
  isMoving,
  nextCommand,
  progressLine,
  rolloutAccountTable
} from "../../../src/domain/fleet/Rollout.ts"
import type { Rollout } from "../../../src/domain/fleet/Rollout.ts"

const counts = {
  waiting: 0,
  retrying: 0,
  underway: 0,
  done: 0,
  failed: 0,
  left_out: 0,
  skipped: 0,
  rolling_back: 0,
  rolled_back: 0,
  rollback_failed: 0
}

const rollout: Rollout = {
  id: "r",
  kind: "upgrade",
  runtimeVersion: "1.1.0",
  openclawVersion: null,
  state: "stopped",
  wave: 1,
  waves: [
    { size: 1, counts: { ...counts, done: 1 } },
    { size: 10, counts: { ...counts, done: 7, failed: 1, underway: 2 } },
    { size: 50, counts: { ...counts, waiting: 50 } }
  ],
  deadlineMs: 1_800_000,
  observeMs: 300_000,
  startedAt: 0,
  steppedAt: 0,
  endedAt: null,
  log: [{ at: Date.UTC(2026, 0, 5, 10, 0, 7), text: "wave 2 of 3 began" }]
}

describe("a rollout in words", () => {
  it("has a line for each wave with the states that occur, and the log", () => {
    assert.strictEqual(
      describeProgress(rollout, true),
      [
        "upgrade to runtime 1.1.0: stopped",
        "WAVE  ACCOUNTS  WAITING  UNDERWAY  DONE  FAILED",
        "1     1         -        -         1     -",
        "2     10        -        2         7     1",
        "3     50        50       -         -     -",
        "",
        "2026-01-05 10:00:07  wave 2 of 3 began"
      ].join("\n")
    )
    assert.strictEqual(progressLine(rollout), "wave 2 of 3: 2 underway, 7 done, 1 failed")
  })

  it("offers the commands of a stopped rollout, and no rollback of a restart", () => {
    assert.include(nextCommand(rollout), "`fleet rollout rollback`")
    assert.notInclude(nextCommand({ ...rollout, kind: "restart" }), "rollback")
    for (const state of ["running", "rolling_back", "cancelling", "done", "rolled_back", "cancelled"] as const) {
      assert.isNull(nextCommand({ ...rollout, state }))
      assert.strictEqual(isMoving({ ...rollout, state }), ["running", "rolling_back", "cancelling"].includes(state))
    }
  })

  it("lists accounts with the reason, also deleted ones", () => {
    const account = { accountId: "k1234567890", name: null, wave: 0, position: 0, begunAt: null, runtimes: [] }
    assert.strictEqual(
      rolloutAccountTable([{ ...account, state: "left_out", reason: "the account was deleted" }]),
      "ACCOUNT   NAME       WAVE  STATE     REASON\nk1234567  (deleted)  1     left out  the account was deleted"
    )
  })
})
