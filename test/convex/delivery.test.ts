import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { fenceOf, first, seededPlane } from "./controlPlane.ts"

describe("a notification's way", () => {
  it("goes from a person's message to a claim, a context, a reply in the thread and a delivered row", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "Ship it", assigneeIds: [plane.engineer] })
    const assignment = first((await plane.claim()).deliveries)
    expect(assignment).toMatchObject({ attempt: 1, spent: false, alone: false, lane: 2 })
    const answers = await plane.query(api.service.notifications.context, {
      ids: [first(assignment.notificationIds), "nonsense"]
    })
    expect(answers[1]).toEqual({ id: "nonsense", broken: "notification_missing" })
    const { context } = answers[0] as Extract<(typeof answers)[number], { context: unknown }>
    expect(context).toMatchObject({
      notification: { type: "assignment", isRequired: true },
      sessionKey: `agent:engineer:${plane.accountId}`.toLowerCase(),
      recipientIsAssignee: true,
      task: { id: taskId, status: "assigned" }
    })

    const { messageId } = await plane.mutate(api.service.notifications.complete, {
      ...fenceOf(assignment),
      outcome: "replied",
      reply: "On it.",
      maxHops: 12
    })
    expect(await plane.thread(taskId)).toMatchObject([{ id: messageId, content: "On it.", kind: "reply" }])
    expect(await plane.row(first(assignment.notificationIds))).toMatchObject({ state: "delivered", outcome: "replied" })
    expect((await plane.query(api.service.tasks.load, { taskId })).task.status).toBe("in_progress")
  })
})
