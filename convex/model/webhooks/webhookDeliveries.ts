import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { cut } from "../database/cut.ts"
import { disableWebhook } from "./disabling.ts"
import { disabledAfterMs, retryDelay } from "./retryDelay.ts"

/** How many deliveries of a failing webhook may be pending. Further events are stored as failed, and can be resent. */
const maxPending = 100

/** How long an attempt waits, at least, while another attempt of the same failing webhook runs. */
const turnMs = 30_000

/** How long after its start an attempt without a result has failed. Longer than the request's limit and a busy scheduler. */
const watchMs = 120_000

const maxErrorLength = 300

/** How an attempt ended: the status of the answer, null without one, and what was wrong, null if it succeeded. */
export interface AttemptResult {
  readonly status: number | null
  readonly error: string | null
}

const fail = async (ctx: MutationCtx, id: Id<"webhookDeliveries">, error: string): Promise<void> => {
  const ended = { state: "failed" as const, error, endedAt: Date.now(), nextAttemptAt: undefined }
  await ctx.db.patch("webhookDeliveries", id, ended)
}

/**
 * The pending deliveries of a failing webhook, at most one more than allowed. None if it is not failing, so that the
 * attempts of a burst of events do not conflict.
 */
const pendingOf = async (
  ctx: Pick<QueryCtx, "db">,
  { _id, failingSince }: Doc<"webhooks">
): Promise<ReadonlyArray<Doc<"webhookDeliveries">>> =>
  failingSince === undefined
    ? []
    : await ctx.db
        .query("webhookDeliveries")
        .withIndex("by_state", (q) => q.eq("webhookId", _id).eq("state", "pending"))
        .take(maxPending + 1)

/**
 * Starts the next attempt of each delivery that is still pending. A scheduled action may be lost with its process, so a
 * scheduled mutation watches each attempt: if no result arrives, the attempt has failed and is retried.
 */
export const startAttempts = async (ctx: MutationCtx, ids: ReadonlyArray<Id<"webhookDeliveries">>): Promise<void> => {
  for (const id of ids) {
    const delivery = await ctx.db.get("webhookDeliveries", id)
    if (delivery === null || delivery.state !== "pending" || delivery.watchJobId !== undefined) continue
    const webhook = await ctx.db.get("webhooks", delivery.webhookId)
    if (webhook === null || webhook.disabled !== undefined) {
      await fail(ctx, id, `The webhook was ${webhook === null ? "removed" : "disabled"} before this attempt.`)
      continue
    }
    const pending = await pendingOf(ctx, webhook)
    if (delivery.attempts === 0 && pending.length > maxPending) {
      await fail(ctx, id, `${maxPending} deliveries of this webhook were pending. Resend this one.`)
      continue
    }
    // One at a time: otherwise a receiver that hangs would take every slot of the deployment's scheduler.
    if (pending.some(({ watchJobId }) => watchJobId !== undefined)) {
      const delay = Math.round(turnMs * (1 + Math.random()))
      await ctx.db.patch("webhookDeliveries", id, { nextAttemptAt: Date.now() + delay })
      await ctx.scheduler.runAfter(delay, internal.scheduled.webhooks.attempt, { ids: [id] })
      continue
    }
    const attempt = delivery.attempts + 1
    await ctx.scheduler.runAfter(0, internal.scheduled.webhooks.send, { id, attempt })
    const watchJobId = await ctx.scheduler.runAfter(watchMs, internal.scheduled.webhooks.lapse, { id, attempt })
    await ctx.db.patch("webhookDeliveries", id, { attempts: attempt, watchJobId, nextAttemptAt: undefined })
  }
}

/** The delivery, if this attempt is the running one. */
const runningAttempt = async (
  ctx: Pick<QueryCtx, "db">,
  id: Id<"webhookDeliveries">,
  attempt: number
): Promise<Doc<"webhookDeliveries"> | null> => {
  const delivery = await ctx.db.get("webhookDeliveries", id)
  const isRunning = delivery?.state === "pending" && delivery.attempts === attempt && delivery.watchJobId !== undefined
  return isRunning ? delivery : null
}

/** What an attempt sends. Null if the attempt is over, or the webhook was removed or disabled since. */
export const requestOf = async (
  ctx: Pick<QueryCtx, "db">,
  id: Id<"webhookDeliveries">,
  attempt: number
): Promise<{ url: string; secret: string; body: string } | null> => {
  const delivery = await runningAttempt(ctx, id, attempt)
  const webhook = delivery === null ? null : await ctx.db.get("webhooks", delivery.webhookId)
  if (delivery === null || webhook === null || webhook.disabled !== undefined) return null
  return { url: webhook.url, secret: webhook.secret, body: delivery.body }
}

/** Stores a success, also of an attempt that was treated as lost. */
const recordSuccess = async (ctx: MutationCtx, id: Id<"webhookDeliveries">, status: number | null): Promise<void> => {
  const delivery = await ctx.db.get("webhookDeliveries", id)
  if (delivery?.state !== "pending") return
  if (delivery.watchJobId !== undefined) await ctx.scheduler.cancel(delivery.watchJobId)
  await ctx.db.patch("webhookDeliveries", id, {
    state: "delivered",
    status,
    error: undefined,
    watchJobId: undefined,
    nextAttemptAt: undefined,
    endedAt: Date.now()
  })
  const webhook = await ctx.db.get("webhooks", delivery.webhookId)
  if (webhook?.failingSince !== undefined) await ctx.db.patch("webhooks", webhook._id, { failingSince: undefined })
}

/** 410 Gone: the receiver wants nothing more, by Standard Webhooks. */
const gone = 410

/** Stores a failed attempt, which is retried. After a day of failures the webhook is disabled. */
const recordFailure = async (
  ctx: MutationCtx,
  delivery: Doc<"webhookDeliveries">,
  status: number | null,
  error: string
): Promise<void> => {
  const { _id: id, attempts } = delivery
  const now = Date.now()
  const failed = { status, error: cut(error, maxErrorLength), watchJobId: undefined }
  const webhook = await ctx.db.get("webhooks", delivery.webhookId)
  const failingSince = webhook?.failingSince ?? now
  const reason =
    status === gone
      ? "its receiver answered 410 Gone"
      : now - failingSince >= disabledAfterMs
        ? "every attempt of the last 24 hours failed"
        : null
  if (webhook !== null && webhook.disabled === undefined) {
    if (reason !== null) await disableWebhook(ctx, webhook, reason)
    else if (webhook.failingSince === undefined) await ctx.db.patch("webhooks", webhook._id, { failingSince })
  }
  const delay = reason === null && webhook?.disabled === undefined ? retryDelay(attempts, Math.random()) : null
  if (delay === null) {
    await ctx.db.patch("webhookDeliveries", id, { ...failed, state: "failed", endedAt: now })
    return
  }
  await ctx.db.patch("webhookDeliveries", id, { ...failed, nextAttemptAt: now + delay })
  await ctx.scheduler.runAfter(delay, internal.scheduled.webhooks.attempt, { ids: [id] })
}

/** Stores how an attempt ended. */
export const recordAttempt = async (
  ctx: MutationCtx,
  id: Id<"webhookDeliveries">,
  attempt: number,
  { error, status }: AttemptResult
): Promise<void> => {
  if (error === null) return await recordSuccess(ctx, id, status)
  const delivery = await runningAttempt(ctx, id, attempt)
  if (delivery?.watchJobId === undefined) return
  await ctx.scheduler.cancel(delivery.watchJobId)
  await recordFailure(ctx, delivery, status, error)
}

/** Fails an attempt whose result is lost. */
export const lapseAttempt = async (ctx: MutationCtx, id: Id<"webhookDeliveries">, attempt: number): Promise<void> => {
  const delivery = await runningAttempt(ctx, id, attempt)
  if (delivery === null) return
  // The watching job is this one. Convex drops what a cancelled job schedules.
  await recordFailure(ctx, delivery, null, "The attempt was interrupted, and its result is lost.")
}
