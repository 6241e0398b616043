import { assert, describe, it } from "@effect/vitest"
import { followUpsOf } from "../../src/domain/HeartbeatFollowUps.ts"
import { orchestratorAgent, sampleHeartbeatContext, sampleHeartbeatTask } from "./sampleHeartbeat.ts"

const minute = 60_000
const day = 24 * 60 * minute
const now = 10 * day

const of = (tasks: ReadonlyArray<ReturnType<typeof sampleHeartbeatTask>>, isOrchestrator = true) =>
  followUpsOf(sampleHeartbeatContext({ tasks, ...(isOrchestrator ? { agent: orchestratorAgent } : {}) }), now).map(
    ({ task }) => task.id
  )
const silentFor = (id: string, millis: number, task: Parameters<typeof sampleHeartbeatTask>[0] = {}) =>
  sampleHeartbeatTask({ id, ...task }, { lastAssigneeAt: now - millis })

describe("the follow-ups of a heartbeat", () => {
  it("are the tasks whose assignees are silent for 15 minutes", () => {
    assert.deepStrictEqual(of([silentFor("a", 15 * minute), silentFor("b", 15 * minute - 1)]), ["a"])
    assert.deepStrictEqual(of([silentFor("a", 20 * minute, { status: "assigned" })]), ["a"])
  })

  it("wait a day for those that are blocked", () => {
    assert.deepStrictEqual(
      of([silentFor("a", day, { status: "blocked" }), silentFor("b", day - 1, { status: "blocked" })]),
      ["a"]
    )
  })

  it("count from the task's last change while no assignee gave a sign yet", () => {
    assert.deepStrictEqual(
      of([
        sampleHeartbeatTask({ id: "new", updatedAt: now - minute }),
        sampleHeartbeatTask({ id: "old", updatedAt: now - 16 * minute })
      ]),
      ["old"]
    )
  })

  it("are three at most, the longest silent first", () => {
    const tasks = [20, 50, 30, 40].map((minutes) => silentFor(`m${minutes}`, minutes * minute))
    assert.deepStrictEqual(of(tasks), ["m50", "m40", "m30"])
  })

  it("pass over tasks in review and tasks without assignees, and are the orchestrator's alone", () => {
    assert.deepStrictEqual(of([silentFor("a", day, { status: "review" }), silentFor("b", day, { assignees: [] })]), [])
    assert.deepStrictEqual(of([silentFor("a", day)], false), [])
  })
})
