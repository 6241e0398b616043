import { assert, describe, it } from "@effect/vitest"
import { describeInbox, describeTask, taskTable } from "../../../src/domain/people/PersonViews.ts"
import type { InboxItem, Task } from "../../../src/domain/people/PersonViews.ts"

const at = Date.UTC(2026, 0, 5, 10)
const item = (changes: Partial<InboxItem>): InboxItem => ({
  id: "n1",
  type: "mention",
  from: { name: "Engineer", slug: "engineer" },
  taskId: "kd7abcd1efgh",
  taskTitle: "Login",
  text: "Please look.",
  createdAt: at,
  ...changes
})
const task: Task = {
  id: "kd7abcd1efgh",
  title: "Login",
  description: "It fails.",
  status: "blocked",
  priority: 3,
  labels: [],
  assignees: [{ id: "a1", name: "Engineer", slug: "engineer" }],
  blockedReason: "waits for Ana",
  openQuestions: [
    { text: "Which database?\nPostgres?", askedBy: { name: "Engineer", slug: "engineer" }, person: "Ana", askedAt: at }
  ],
  updatedAt: at
}

describe("the inbox", () => {
  it("shows questions first, each with its asker, task, time and the command to answer", () => {
    const text = describeInbox([
      item({}),
      item({ type: "response_request", text: "Which database?\nPostgres?" }),
      item({ type: "thread_update", from: { name: "Mission Control", slug: null }, taskId: "kx2", taskTitle: null })
    ])
    assert.strictEqual(
      text,
      [
        "Questions to you:",
        "",
        '2026-01-05 10:00 UTC  @engineer asks in "Login", task kd7abcd1:',
        "    Which database?",
        "    Postgres?",
        '    Answer: post kd7abcd1 "<your answer>"',
        "",
        "Unread:",
        "",
        '2026-01-05 10:00 UTC  @engineer mentions you in "Login", task kd7abcd1:',
        "    Please look.",
        "",
        '2026-01-05 10:00 UTC  Mission Control writes in "a deleted task", task kx2:',
        "    Please look."
      ].join("\n")
    )
  })
})

describe("a blocked task", () => {
  it("names the open question, the person, and the command to answer", () => {
    const text = describeTask(task)
    assert.include(text, "status      blocked: waits for Ana\n")
    assert.include(
      text,
      [
        "waits for   Ana, whom @engineer asked at 2026-01-05 10:00 UTC:",
        "    Which database?",
        "    Postgres?",
        '    Ana answers with: post kd7abcd1 "<answer>"'
      ].join("\n")
    )
  })

  it("names the people for whom it waits in the list", () => {
    assert.include(taskTable([task]), "blocked, waits for Ana")
    const { openQuestions: _, ...answered } = task
    assert.notInclude(taskTable([answered]), "waits for")
  })
})
