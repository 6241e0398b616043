/** People's messages that join a running turn. */
import type { Infer } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { NotificationEvent } from "../../tables/notifications.ts"
import type { RunSettings } from "../../tables/runs.ts"
import { eventViews } from "../contexts/deliveryContext.ts"
import type { eventView } from "../contexts/deliveryContextView.ts"
import { RunBudget } from "../contexts/readBudget.ts"
import { derivedFrom, dueOfAll, isPersonsMessage, maxEvents, orderOf } from "../notifications/events.ts"
import { insertForAgent } from "../notifications/notify.ts"
import { type Fence, heldSession, mustBeNotification } from "../queue/fences.ts"
import type { LeasedSession } from "../queue/sessions.ts"
import { isStopping, openStops } from "./openStops.ts"

type Notification = Doc<"notifications">

/** The maximum number of messages that one call joins to the turn. */
const maxJoined = 20
/** More notifications than wait for one agent and task, unless each is full. */
const maxWaiting = 5
/** More requests than one agent has for another about one task while it waits. */
const maxRequests = 10

interface Placed {
  readonly event: NotificationEvent
  /** Its index before other events left. */
  readonly from: number
}

/** Corrects the indexes of response requests after other events left their notification. */
const moveRequests = async (ctx: MutationCtx, row: Notification, left: ReadonlyArray<Placed>): Promise<void> => {
  const { agentId, taskId } = row
  for (const [index, { event, from }] of left.entries()) {
    const askerId = ctx.db.normalizeId("agents", event.actor.id ?? "")
    if (event.type !== "response_request" || from === index || agentId === undefined || askerId === null) continue
    const requests = await ctx.db
      .query("responseRequests")
      .withIndex("by_pair", (q) => q.eq("recipientId", agentId).eq("taskId", taskId).eq("askerId", askerId))
      .order("desc")
      .take(maxRequests)
    const request = requests.find((each) => each.notificationId === row._id && each.event === from)
    if (request !== undefined) await ctx.db.patch("responseRequests", request._id, { event: index })
  }
}

/** Leaves these events in a waiting notification, as if the others had never been there. Without any it is deleted. */
const keepOnly = async (
  ctx: MutationCtx,
  row: Notification,
  left: ReadonlyArray<Placed>,
  settings: RunSettings
): Promise<void> => {
  if (left.length === 0) return await ctx.db.delete("notifications", row._id)
  const events = left.map(({ event }) => event)
  const { at, readyAt, retryAt } = dueOfAll(events, settings)
  const due = row.held === undefined ? { at, readyAt, retryAt } : { held: { ...row.held, at, readyAt } }
  await ctx.db.patch("notifications", row._id, { events, ...derivedFrom(events), ...due })
  await moveRequests(ctx, row, left)
}

/** Takes people's messages for the run's agent and task out of the notifications that wait behind it, oldest first. */
const takeWaiting = async (
  ctx: MutationCtx,
  session: LeasedSession,
  row: Notification,
  settings: RunSettings
): Promise<Array<NotificationEvent>> => {
  const taken: Array<NotificationEvent> = []
  const most = Math.min(maxJoined, maxEvents - row.events.length)
  const waiting = await ctx.db
    .query("notifications")
    .withIndex("by_untried", (q) =>
      q.eq("agentId", row.agentId).eq("taskId", row.taskId).eq("state", "ready").eq("claims", 0)
    )
    .take(maxWaiting)
  const stops = waiting.length === 0 ? [] : await openStops(ctx, row.accountId)
  for (const each of waiting) {
    if (each.sessionId !== session._id || isStopping(stops, each)) continue
    const left: Array<Placed> = []
    for (const [from, event] of each.events.entries()) {
      if (taken.length < most && isPersonsMessage(event)) taken.push({ ...event, joined: session.lease.epoch })
      else left.push({ event, from })
    }
    if (left.length < each.events.length) await keepOnly(ctx, each, left, settings)
  }
  return taken
}

/**
 * Moves people's messages that wait behind the run into its notification. Returns the events that joined in this
 * attempt, except for the first `known`, so that a call repeated after a lost answer returns them again. The joined
 * messages get the full number of attempts, of which this is the first. At most 20 join, and no more than the
 * notification can hold; the others wait for their own turn.
 */
export const joinRun = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  { known, settings, ...fence }: Fence & { readonly known: number; readonly settings: RunSettings }
): Promise<{ events: Array<Infer<typeof eventView>> }> => {
  const session = await heldSession(ctx, accountId, fence)
  const row = await mustBeNotification(ctx, fence)
  const taken = await takeWaiting(ctx, session, row, settings)
  const events = [...row.events, ...taken]
  if (taken.length > 0) {
    const renewed = { attempts: 1, failures: 0, silences: 0, sharedSince: undefined }
    await ctx.db.patch("notifications", row._id, { events, ...derivedFrom(events), ...renewed })
  }
  if (session.news !== undefined) await ctx.db.patch("sessions", session._id, { news: undefined })
  const from = events.length - events.filter(({ joined }) => joined === fence.epoch).length + known
  const { views } = await eventViews(ctx, { ...row, events }, from, [], new RunBudget())
  return { events: views }
}

/** A notification at the end of its turn, and the events that joined the turn although no request showed them. */
export interface Shown {
  readonly row: Notification
  readonly unshown: ReadonlyArray<NotificationEvent>
}

/** The notification without the events that joined in this attempt after the first `joined`. */
export const shownIn = (row: Notification, epoch: number, joined = 0): Shown => {
  const count = row.events.filter((event) => event.joined === epoch).length
  if (count <= joined) return { row, unshown: [] }
  const events = row.events.slice(0, row.events.length - count + joined)
  return { row: { ...row, events, ...derivedFrom(events) }, unshown: row.events.slice(events.length) }
}

/** The messages that joined the notification in this attempt. */
export const joinedMessages = ({ events }: Notification, epoch: number): Array<Id<"messages">> =>
  events.flatMap(({ joined, messageId }) => (joined !== epoch || messageId === undefined ? [] : [messageId]))

/** Makes events that no request showed a separate notification, which was never claimed. */
export const requeueUnshown = async (ctx: MutationCtx, { row, unshown }: Shown): Promise<void> => {
  const { agentId, sessionId } = row
  if (unshown.length === 0 || agentId === undefined || sessionId === undefined) return
  const events = unshown.map((each) => {
    const { joined: _, ...event } = each
    return event
  })
  const due = { at: orderOf(events), readyAt: Date.now(), retryAt: undefined }
  await insertForAgent(ctx, { _id: row.taskId, accountId: row.accountId }, { agentId, sessionId }, events, due)
}

/** The fields of a notification that change if events leave it. */
export const eventFields = ({ events, hops, isRequired, type }: Notification) => ({ events, hops, isRequired, type })
