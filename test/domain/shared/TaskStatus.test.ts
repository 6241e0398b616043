import { describe, expect, it } from "vitest"
import {
  agentTaskStatuses,
  canAgentMarkDone,
  nextStatusesFor,
  pathTo,
  taskStatuses,
  transitions
} from "../../../src/domain/shared/TaskStatus.ts"

const agent = (
  flags: Partial<{ canModifyTaskStatus: boolean; canReviewTasks: boolean; canMarkDone: boolean }> = {}
) => ({
  isOrchestrator: false,
  flags: { canModifyTaskStatus: true, canReviewTasks: false, canMarkDone: false, ...flags }
})

describe("a task's path", () => {
  it("consists of allowed steps only, ends at the requested status, and is the shortest", () => {
    for (const from of taskStatuses) {
      for (const to of taskStatuses) {
        const path = pathTo(from, to)
        if (path === null) continue
        expect([...path].at(-1) ?? from).toBe(to)
        for (const [index, step] of path.entries()) {
          expect(transitions[index === 0 ? from : (path[index - 1] ?? from)]).toContain(step)
        }
        if (transitions[from].includes(to)) expect(path).toEqual([to])
      }
    }
  })

  it("never passes through a final status, the inbox or blocked", () => {
    for (const from of taskStatuses) {
      for (const to of taskStatuses) {
        for (const step of (pathTo(from, to) ?? []).slice(0, -1)) {
          expect(["assigned", "in_progress", "review"]).toContain(step)
        }
      }
    }
  })

  it("leads from assigned to review through in_progress", () => {
    expect(pathTo("assigned", "review")).toEqual(["in_progress", "review"])
    expect(pathTo("blocked", "review")).toEqual(["in_progress", "review"])
  })

  it("does not enter assigned or in_progress without an assignee", () => {
    expect(pathTo("inbox", "in_progress", { assigneeCount: 0 })).toBeNull()
    expect(pathTo("blocked", "assigned", { assigneeCount: 0 })).toBeNull()
    expect(pathTo("review", "done", { assigneeCount: 0 })).toEqual(["done"])
  })

  it("reopens a done task for a person only", () => {
    expect(pathTo("done", "review")).toBeNull()
    expect(pathTo("done", "review", { isPerson: true })).toEqual(["review"])
    expect(pathTo("archived", "review", { isPerson: true })).toBeNull()
  })
})

describe("who marks done", () => {
  it("is a reviewer or an agent with canMarkDone, from review alone", () => {
    const allowed = [
      { ...agent(), isOrchestrator: true },
      agent({ canReviewTasks: true }),
      agent({ canMarkDone: true })
    ]
    for (const each of allowed) {
      for (const status of taskStatuses) expect(canAgentMarkDone(each, status)).toBe(status === "review")
    }
    for (const status of taskStatuses) expect(canAgentMarkDone(agent(), status)).toBe(false)
  })

  it("is no agent without canModifyTaskStatus", () => {
    const silent = { isOrchestrator: true, flags: agent({ canModifyTaskStatus: false, canMarkDone: true }).flags }
    expect(canAgentMarkDone(silent, "review")).toBe(false)
    for (const status of taskStatuses) expect(nextStatusesFor(silent, status)).toEqual([])
  })
})

describe("an agent's next statuses", () => {
  it("are those that an agent may set and that a path leads to", () => {
    expect(nextStatusesFor(agent(), "assigned")).toEqual(["in_progress", "review", "blocked"])
    expect(nextStatusesFor(agent(), "in_progress")).toEqual(["review", "blocked"])
    expect(nextStatusesFor(agent(), "review")).toEqual(["in_progress", "blocked"])
    expect(nextStatusesFor(agent({ canReviewTasks: true }), "review")).toEqual(["in_progress", "done", "blocked"])
    expect(nextStatusesFor(agent(), "inbox")).toEqual([])
    expect(nextStatusesFor(agent(), "done")).toEqual([])
    expect(nextStatusesFor(agent(), "archived")).toEqual([])
  })

  it("never include the present one, or one that an agent may not set", () => {
    for (const status of taskStatuses) {
      const next = nextStatusesFor({ ...agent({ canMarkDone: true }), isOrchestrator: true }, status)
      expect(next).not.toContain(status)
      for (const each of next) expect(agentTaskStatuses).toContain(each)
    }
  })
})
