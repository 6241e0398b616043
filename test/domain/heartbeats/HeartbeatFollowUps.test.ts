import { assert, describe, it } from "@effect/vitest"
import { followUpsOf } from "../../../src/domain/heartbeats/HeartbeatFollowUps.ts"
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

  it("count from the task's last change if no assignee has been active yet", () => {
    assert.deepStrictEqual(
      of([
        sampleHeartbeatTask({ id: "new", updatedAt: now - minute }),
        sampleHeartbeatTask({ id: "old", updatedAt: now - 16 * minute })
      ]),
      ["old"]
    )
  })

  it("are three at most", () => {
    const tasks = [20, 50, 30, 40].map((minutes) => silentFor(`m${minutes}`, minutes * minute))
    assert.lengthOf(of(tasks), 3)
  })

  it("include reviews in which no one wrote for 15 minutes, with any assignees", () => {
    const review = (id: string, updatedAt: number, lastMessageAt: number | null) =>
      sampleHeartbeatTask({ id, status: "review", assignees: [], updatedAt }, { lastMessageAt })
    const waiting = now - 15 * minute
    assert.deepStrictEqual(
      of([review("a", waiting, null), review("b", 0, waiting + 1), review("c", waiting + 1, 0), review("d", 0, 0)]),
      ["a", "d"]
    )
  })

  it("exclude tasks without assignees, and exist for the orchestrator only", () => {
    assert.deepStrictEqual(of([silentFor("b", day, { assignees: [] })]), [])
    assert.deepStrictEqual(of([silentFor("a", day)], false), [])
  })

  const many = (status: "blocked" | "in_progress", count: number) =>
    Array.from({ length: count }, (_, index) => silentFor(`${status}${index}`, 2 * day, { status }))

  it("leave two places to tasks that are not blocked, however many are, and one to the blocked ones", () => {
    const chosen = (others: number, blocked: number) => {
      const ids = of([...many("in_progress", others), ...many("blocked", blocked)])
      return ids.map((id) => id.replace(/\d+/, ""))
    }
    assert.deepStrictEqual(chosen(1, 200), ["in_progress", "blocked", "blocked"])
    assert.deepStrictEqual(chosen(2, 200), ["in_progress", "in_progress", "blocked"])
    assert.deepStrictEqual(chosen(200, 200), ["in_progress", "in_progress", "blocked"])
    assert.deepStrictEqual(chosen(5, 0), ["in_progress", "in_progress", "in_progress"])
    assert.deepStrictEqual(chosen(0, 5), ["blocked", "blocked", "blocked"])
  })

  it.each([1, 15, 20, 60, 1_440])("take turns when a heartbeat comes every %i minutes", (interval) => {
    const tasks = [...many("in_progress", 10), ...many("blocked", 10)]
    const seen = new Set<string>()
    for (let heartbeat = 0; heartbeat < 40; heartbeat += 1) {
      const dueAt = 1_767_607_200_000 + heartbeat * interval * minute
      const context = sampleHeartbeatContext({ tasks, agent: orchestratorAgent })
      const due = { ...context, heartbeat: { ...context.heartbeat, dueAt } }
      for (const { task } of followUpsOf(due, now)) seen.add(task.id)
    }
    assert.strictEqual(seen.size, 20)
  })
})
