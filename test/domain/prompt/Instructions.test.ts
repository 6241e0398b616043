import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { NotificationType, TaskStatus } from "../../../src/domain/delivery/DeliveryContext.ts"
import { formatHeartbeatMessage } from "../../../src/domain/heartbeats/HeartbeatPrompt.ts"
import { formatNotificationMessage } from "../../../src/domain/prompt/Prompt.ts"
import { lead, person, sampleContext, sampleEvent, sampleMessage, sampleTask } from "../delivery/sampleContext.ts"
import { sampleHeartbeatContext, sampleHeartbeatTask } from "../heartbeats/sampleHeartbeat.ts"

const delivery = formatNotificationMessage(sampleContext(), { accepted: [sampleEvent()], attempt: 1 })

describe("the instructions of a session and generation", () => {
  it.prop(
    "are byte for byte the same in every delivery",
    {
      type: NotificationType,
      status: TaskStatus,
      words: Schema.String,
      attempts: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
      isPerson: Schema.Boolean,
      hasTask: Schema.Boolean
    },
    ({ attempts, hasTask, isPerson, status, type, words }) => {
      const actor = isPerson ? person : lead
      const message = sampleMessage({ content: words, author: actor })
      const context = sampleContext({
        events: [sampleEvent({ type, actor, message })],
        task: hasTask ? sampleTask({ status, title: words, assignees: [] }) : null,
        thread: [message],
        briefing: words,
        mentionableAgents: [{ slug: "other", name: words, role: words }],
        documents: [{ id: "d", title: words, type: "note", content: words }],
        earlier: { attempts, lastError: null, effects: [{ tool: "task_status", summary: words, at: 0 }] }
      })
      const { instructions } = formatNotificationMessage(context, { accepted: context.events, attempt: attempts + 1 })
      assert.strictEqual(instructions, delivery.instructions)
    }
  )

  it("are the same for its heartbeats", () => {
    for (const tasks of [[], [sampleHeartbeatTask()], [sampleHeartbeatTask({ status: "review" })]]) {
      const context = sampleHeartbeatContext({ tasks })
      const { instructions } = formatHeartbeatMessage(context, { attempt: 2, followUps: tasks, now: 1 })
      assert.strictEqual(instructions, delivery.instructions)
    }
  })

  it("do not change with the capability of a run", () => {
    const over = (httpTools: string) =>
      formatNotificationMessage(sampleContext(), { accepted: [sampleEvent()], attempt: 1, httpTools }).instructions
    assert.strictEqual(over("mc_run_one"), over("mc_run_two"))
  })
})
