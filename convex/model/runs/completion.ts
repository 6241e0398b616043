import type { Infer } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { notificationOutcome } from "../../tables/notifications.ts"
import type { requestTokens, RunSettings } from "../../tables/runs.ts"
import { refusal } from "../access/refusal.ts"
import { agentActor } from "../accounts/actor.ts"
import { accountOf, flagsOf } from "../agents/agents.ts"
import { acceptBegunWork } from "../approvals/approvalEnds.ts"
import { recordJoined, type TurnState } from "../contexts/seenTasks.ts"
import { cut } from "../database/cut.ts"
import { type RefusedEvent, chainOf, maxReasonLength, withRefusals } from "../notifications/events.ts"
import type { Origin } from "../notifications/origin.ts"
import { type Fence, endOf, fenced, mustBeNotification } from "../queue/fences.ts"
import type { LeasedSession } from "../queue/sessions.ts"
import { decidedOtherwise } from "../tasks/decisions.ts"
import { moveTask } from "../tasks/tasks.ts"
import { postMessage } from "../threads/messages.ts"
import { endAttempt } from "../usage/attempts.ts"
import { modelOf, type Spending } from "../usage/usage.ts"
import { postFallback, runFieldsOf } from "./fallback.ts"
import type { Cause } from "./fallbackMessage.ts"
import { eventFields, joinedMessages, requeueUnshown, shownIn } from "./joins.ts"
import { type Trace, traceOf } from "./traces.ts"

type Notification = Doc<"notifications">

const originOf = (row: Notification, agent: Doc<"agents">, settings: RunSettings): Origin => ({
  actor: agentActor(agent),
  hops: row.hops + 1,
  chain: chainOf(row),
  settings
})

const silent: Cause = { class: "TurnSilent", message: "" }

export interface Completion extends Fence, Trace {
  readonly outcome: Infer<typeof notificationOutcome>
  readonly turn: TurnState
  readonly reply?: string
  readonly note?: string
  readonly refused?: ReadonlyArray<RefusedEvent>
  /** How many of the events that joined this attempt were in a request. */
  readonly joined?: number
  readonly reason?: string
  readonly truncated?: boolean
  readonly usage?: Spending
  readonly requestTokens?: Infer<typeof requestTokens>
  readonly isHistoryLong?: boolean
  readonly settings: RunSettings
}

/**
 * Sets an assigned task to in_progress once an assignee that may change statuses replied or acted. Does nothing if a
 * person set the task back to assigned during the turn.
 */
const beginWork = async (
  ctx: MutationCtx,
  agent: Doc<"agents">,
  lease: LeasedSession["lease"],
  task: Doc<"tasks">,
  origin: Origin
): Promise<void> => {
  if (task.status !== "assigned" || !task.assigneeIds.includes(agent._id)) return
  if (decidedOtherwise(task, lease, { status: "in_progress" }) !== null) return
  const account = await accountOf(ctx, task.accountId)
  if (!flagsOf(account, agent).canModifyTaskStatus) return
  const { task: begun } = await moveTask(ctx, task, { to: "in_progress" }, origin)
  if (account.toolPolicies !== undefined) await acceptBegunWork(ctx, lease.run, begun)
}

/** Posts the run's reply, note or fallback in the thread. Returns the message's id. */
const postReply = async (
  ctx: MutationCtx,
  row: Notification,
  lease: LeasedSession["lease"],
  args: Completion
): Promise<Id<"messages"> | null> => {
  const reply = args.reply?.trim() ?? ""
  const note = args.note?.trim() ?? ""
  if (args.outcome === "fallback") {
    return await postFallback(ctx, row, args.epoch, reply === "" ? silent : reply)
  }
  const isSilent = reply === "" && note === ""
  if (isSilent && args.outcome !== "replied" && args.outcome !== "acted") return null
  const task = await ctx.db.get("tasks", row.taskId)
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (task === null || agent === null) return null
  const origin = originOf(row, agent, args.settings)
  const runFields = runFieldsOf(row, args.epoch)
  let messageId: Id<"messages"> | null = null
  if (reply !== "") {
    const run = {
      ...runFields,
      ...(args.truncated === true ? { isTruncated: true } : {}),
      ...modelOf(args.usage)
    }
    messageId = await postMessage(ctx, task, { content: reply, kind: "reply", run }, origin)
  } else if (note !== "") {
    messageId = await postMessage(ctx, task, { content: note, kind: "note", run: runFields }, origin)
  }
  if (args.outcome === "replied" || args.outcome === "acted") await beginWork(ctx, agent, lease, task, origin)
  return messageId
}

/** Stores outcome, reply, usage and their effects in this transaction, and frees the session. */
export const completeRun = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Completion
): Promise<{ messageId: string | null; now: number }> => {
  const now = Date.now()
  const fence = await fenced<{ messageId: string | null }>(ctx, accountId, args, "complete")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const shown = shownIn(await mustBeNotification(ctx, args), args.epoch, args.joined)
  const row = withRefusals(shown.row, args.refused)
  if (args.outcome === "replied" && (args.reply?.trim() ?? "") === "") {
    throw refusal("invalid", "The outcome replied needs a reply. Send its text, or another outcome.")
  }
  const messageId = await postReply(ctx, row, session.lease, args)
  const answer = { messageId }
  await ctx.db.patch("notifications", row._id, {
    state: "delivered",
    ...eventFields(row),
    outcome: args.outcome,
    crashes: 0,
    endedAt: now,
    ...(args.reason === undefined ? {} : { outcomeReason: cut(args.reason, maxReasonLength) }),
    ...(args.outcome === "fallback" ? { hasFallback: true } : {}),
    ...traceOf(args),
    ...endOf(args, "complete", answer)
  })
  await requeueUnshown(ctx, shown)
  if (args.turn === "answered") await recordJoined(ctx, session, joinedMessages(row, args.epoch))
  const attemptEnd = { end: args.outcome, ...(args.reason === undefined ? {} : { reason: args.reason }) }
  await endAttempt(
    ctx,
    session,
    args.usage,
    { ...attemptEnd, ...traceOf(args) },
    {
      // The attempt completed, so the session keeps the generation in which it ran.
      generation: session.lease.generation,
      turn: args.turn,
      isHistoryLong: args.isHistoryLong ?? false,
      isStopped: args.outcome === "stopped",
      ...(args.requestTokens === undefined ? {} : { requestTokens: args.requestTokens })
    }
  )
  return { ...answer, now }
}
