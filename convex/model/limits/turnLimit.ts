import type { Doc } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { systemActor } from "../accounts/actor.ts"
import { notifyMember, responsibleFor } from "../notifications/notify.ts"
import { personOrigin } from "../notifications/origin.ts"
import { skipCausedByAgents } from "../notifications/skips.ts"
import { subscribersOf } from "../tasks/subscriptions.ts"
import { postMessage } from "../threads/messages.ts"
import { announce } from "../webhooks/announce.ts"
import { countTurn } from "./taskLoops.ts"

/** The maximum number of read intervals when the limit is reached, in addition to those of the subscribers. */
export const intervalsPerLimit = 40

const noticeOf = (maxTurns: number): string =>
  `Agents have had ${maxTurns} turns on this task since a person last acted on it, which is the limit ` +
  "(MAX_AGENT_TURNS_PER_TASK). From now on their messages here notify no agent, and their heartbeats skip the task. " +
  "Write a message here to let them continue."

/**
 * Counts the first claim of a notification as a turn on its task. The last allowed turn closes the task to agents until
 * a person acts on it: skips pending notifications that only agents caused, posts a note in the thread, and notifies
 * the person responsible for the task and the account's webhooks. Returns whether it closed the task. Reads and writes
 * one row; at the limit also reads the task's subscribers and waiting notifications, and the webhooks.
 */
export const enforceTurnLimit = async (
  ctx: MutationCtx,
  row: Doc<"notifications">,
  maxTurns: number
): Promise<boolean> => {
  const turns = await countTurn(ctx, { _id: row.taskId, accountId: row.accountId })
  if (turns < maxTurns) return false
  const task = await ctx.db.get("tasks", row.taskId)
  if (task === null || task.isAtTurnLimit) return false
  await ctx.db.patch("tasks", task._id, { isAtTurnLimit: true })
  await skipCausedByAgents(ctx, task._id, "agents have used up their turns on the task")
  const origin = personOrigin(systemActor)
  const text = noticeOf(maxTurns)
  const messageId = await postMessage(ctx, task, { content: text, kind: "note" }, origin)
  await announce(ctx, task.accountId, { type: "limit.turns", data: { taskId: task._id, limit: maxTurns, text } })
  const recipient = await responsibleFor(ctx, task)
  const isSubscribed = (await subscribersOf(ctx, task._id)).some(({ memberId }) => memberId === recipient?._id)
  if (recipient !== null && !isSubscribed) {
    await notifyMember(ctx, task, recipient._id, origin, { type: "thread_update", messageId })
  }
  return true
}
