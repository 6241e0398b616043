import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import { internalAction, internalMutation, internalQuery } from "../_generated/server.js"
import { signedHeaders } from "../model/webhooks/signature.ts"
import { addressProblem, isLocalAllowed } from "../model/webhooks/webhookAddress.ts"
import {
  type AttemptResult,
  lapseAttempt,
  recordAttempt,
  requestOf,
  startAttempts
} from "../model/webhooks/webhookDeliveries.ts"

const oneAttempt = { id: v.id("webhookDeliveries"), attempt: v.number() }

/** Starts the next attempt of these deliveries. Scheduled by the event, by a failed attempt and by a resend. */
export const attempt = internalMutation({
  args: { ids: v.array(v.id("webhookDeliveries")) },
  returns: v.null(),
  handler: async (ctx, { ids }): Promise<null> => {
    await startAttempts(ctx, ids)
    return null
  }
})

/** What an attempt sends, or null if the attempt is over. */
export const request = internalQuery({
  args: oneAttempt,
  returns: v.union(v.object({ url: v.string(), secret: v.string(), body: v.string() }), v.null()),
  handler: (ctx, { attempt, id }): Promise<{ url: string; secret: string; body: string } | null> =>
    requestOf(ctx, id, attempt)
})

/** Stores how an attempt ended. */
export const record = internalMutation({
  args: { ...oneAttempt, status: v.union(v.number(), v.null()), error: v.union(v.string(), v.null()) },
  returns: v.null(),
  handler: async (ctx, { attempt, id, ...result }): Promise<null> => {
    await recordAttempt(ctx, id, attempt, result)
    return null
  }
})

/** Fails an attempt whose result did not arrive. Scheduled with the attempt, and cancelled by its result. */
export const lapse = internalMutation({
  args: oneAttempt,
  returns: v.null(),
  handler: async (ctx, { attempt, id }): Promise<null> => {
    await lapseAttempt(ctx, id, attempt)
    return null
  }
})

/** How long a receiver may take. Standard Webhooks recommends 15 to 30 seconds. */
const timeoutMs = 20_000

/** A deployment's fetch ignores signals, so the limit is a timer. */
const withinTimeout = async (response: Promise<Response>): Promise<Response> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1_000} s`)), timeoutMs)
  })
  try {
    return await Promise.race([response, limit])
  } finally {
    clearTimeout(timer)
  }
}

const causeOf = (failure: unknown): string => {
  if (!(failure instanceof Error)) return String(failure)
  return failure.cause instanceof Error ? `${failure.message}: ${failure.cause.message}` : failure.message
}

const sent = async (url: string, headers: Record<string, string>, body: string): Promise<AttemptResult> => {
  // Checked again, because the rules or the deployment's switch may have changed since the webhook was added.
  const problem = addressProblem(url, isLocalAllowed())
  if (problem !== null) return { status: null, error: problem }
  try {
    const request: RequestInit = {
      method: "POST",
      redirect: "manual",
      headers: { ...headers, "content-type": "application/json", "user-agent": "mission-control" },
      body
    }
    const { body: answer, ok, status } = await withinTimeout(fetch(url, request))
    // The answer's text is not stored: it could be that of a private server.
    await answer?.cancel().catch(() => undefined)
    if (ok) return { status, error: null }
    const isRedirect = status >= 300 && status < 400
    return { status, error: `The receiver answered ${status}${isRedirect ? ". Redirects are not followed" : ""}.` }
  } catch (failure) {
    // The failure's text may contain the URL, whose path may be a secret.
    return { status: null, error: `Not sent: ${causeOf(failure).replaceAll(url, new URL(url).host)}.` }
  }
}

/** Sends an attempt. An action, which may be lost with its process; then `lapse` has the attempt retried. */
export const send = internalAction({
  args: oneAttempt,
  returns: v.null(),
  handler: async (ctx, { attempt, id }): Promise<null> => {
    const request = await ctx.runQuery(internal.scheduled.webhooks.request, { id, attempt })
    if (request === null) return null
    const { body, secret, url } = request
    const headers = await signedHeaders(secret, `msg_${id}`, Date.now(), body)
    await ctx.runMutation(internal.scheduled.webhooks.record, { id, attempt, ...(await sent(url, headers, body)) })
    return null
  }
})
