import { v } from "convex/values"
import { refusal } from "../access/refusal.ts"
import { createOnce } from "../runs/effects.ts"
import { mustOrchestrate } from "../runs/runs.ts"
import { taskOf } from "../tasks/taskView.ts"
import { maxMessageLength, postMessage } from "../threads/messages.ts"
import { defineTool } from "./agentTool.ts"

/** task_message: posts a message in a task's thread once per run and arguments. Only the orchestrator has it. */
export const postInThread = defineTool({
  name: "task_message",
  args: { taskId: v.string(), content: v.string() },
  returns: v.object({ messageId: v.string(), repeated: v.boolean() }),
  prepare: async (ctx, run, { content, taskId }) => {
    mustOrchestrate(run)
    const task = await taskOf(ctx, run.accountId, taskId)
    if (content.trim() === "") throw refusal("invalid", "The message is empty. Write a text.")
    if (content.length > maxMessageLength) {
      throw refusal("limit", `A message has at most ${maxMessageLength} characters. Shorten it.`)
    }
    const once = { taskId: task._id, content }
    return {
      task,
      once,
      act: () =>
        createOnce(ctx, run, "task_message", once, async () => {
          const written = { runId: run.id, epoch: run.epoch }
          const messageId: string = await postMessage(ctx, task, { content, kind: "message", run: written }, run.origin)
          return { result: { messageId }, summary: `posted in "${task.title}"` }
        })
    }
  }
})
