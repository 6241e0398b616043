import { v } from "convex/values"
import { refusal } from "../model/access/refusal.ts"
import { serviceMutation } from "../model/access/serviceFunctions.ts"
import { createOnce } from "../model/runs/effects.ts"
import { liveRun, mustOrchestrate, runArgs } from "../model/runs/runs.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { maxMessageLength, postMessage } from "../model/threads/messages.ts"

/**
 * Posts a message in another task's thread, once per run and arguments (task_message; only the orchestrator). For
 * runtimes. Reads the task's subscriptions, the subscribed and mentioned agents and members, and about ten more rows.
 */
export const post = serviceMutation({
  args: { ...runArgs, taskId: v.string(), content: v.string() },
  returns: v.object({ messageId: v.string(), repeated: v.boolean() }),
  handler: async (ctx, args) => {
    const run = await liveRun(ctx, ctx.accountId, args)
    mustOrchestrate(run)
    const task = await taskOf(ctx, ctx.accountId, args.taskId)
    const { content } = args
    if (content.trim() === "") throw refusal("invalid", "The message is empty. Write a text.")
    if (content.length > maxMessageLength) {
      throw refusal("limit", `A message has at most ${maxMessageLength} characters. Shorten it.`)
    }
    return await createOnce(ctx, run, "task_message", { taskId: task._id, content }, async () => {
      const written = { runId: run.id, epoch: run.epoch }
      const messageId: string = await postMessage(ctx, task, { content, kind: "message", run: written }, run.origin)
      return { result: { messageId }, summary: `posted in "${task.title}"` }
    })
  }
})
