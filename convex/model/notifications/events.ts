import type { Doc } from "../../_generated/dataModel.js"
import type { NotificationEvent, NotificationType } from "../../tables/notifications.ts"
import type { RunSettings } from "../../tables/runs.ts"
import { cut } from "../database/cut.ts"

/** The maximum number of events of one notification. */
export const maxEvents = 50

/** The fields of a notification that derive from its events. */
export type Derived = Pick<Doc<"notifications">, "type" | "hops" | "isRequired">

/** Highest rank first: a reply to several events counts as an answer to the first of these types. */
const byStrength: ReadonlyArray<NotificationType> = [
  "mention",
  "response_request",
  "assignment",
  "status_change",
  "thread_update"
]

/** Whether the event is a person's message, which may join a running turn. */
export const isPersonsMessage = ({ actor, messageId, type }: NotificationEvent): boolean =>
  actor.type === "person" && messageId !== undefined && (type === "mention" || type === "thread_update")

/** By how much an event overtakes older ones, in milliseconds. Messages from people wait least. */
const headStartOf = ({ actor, type }: NotificationEvent): number => {
  if (actor.type === "person" && (type === "mention" || type === "thread_update")) return 300_000
  if (type === "response_request") return 60_000
  return type === "assignment" ? 30_000 : 0
}

/** Whether the event's author is owed an answer. */
const isOwed = ({ actor, type }: NotificationEvent): boolean =>
  type === "thread_update" ? actor.type === "person" : type !== "status_change"

/** The order key of work that was never claimed: the earliest time of its events, each minus its head start. */
export const orderOf = (events: ReadonlyArray<NotificationEvent>): number =>
  Math.min(...events.map((event) => event.at - headStartOf(event)))

/** When work can be claimed: its order key, since when it can be claimed, and the time that it waits for. */
export interface Due {
  readonly at: number
  readonly readyAt: number
  readonly retryAt: number | undefined
}

/** The patch that ends a notification's wait for a time or a budget, when it is claimed, ends or is released. */
export const notWaiting = { retryAt: undefined, held: undefined }

/**
 * When work that was never claimed is due, after its latest event at `now`. Work that consists only of agents' updates
 * waits until no further update has arrived for the quiet time, at most for the quiet limit. Any other event makes it
 * due at once, and it stays due.
 */
export const dueOf = (
  events: ReadonlyArray<NotificationEvent>,
  before: Pick<Due, "readyAt"> | null,
  { quietLimitMs, quietTimeMs }: RunSettings,
  now: number
): Due => {
  const isPassive = events.every(({ actor, type }) => type === "thread_update" && actor.type === "agent")
  const isWaiting = before === null || before.readyAt > now
  const quietAt = Math.min(now + quietTimeMs, (events[0]?.at ?? now) + quietLimitMs)
  if (isPassive && isWaiting && quietAt > now) return { at: quietAt, readyAt: quietAt, retryAt: quietAt }
  return { at: orderOf(events), readyAt: Math.min(before?.readyAt ?? now, now), retryAt: undefined }
}

/** When work that was never claimed is due, if it consists of these events alone, which must not be empty. */
export const dueOfAll = (events: ReadonlyArray<NotificationEvent>, settings: RunSettings): Due => {
  let due: Due | null = null
  for (const [index, event] of events.entries()) due = dueOf(events.slice(0, index + 1), due, settings, event.at)
  if (due === null) throw new Error("A notification has at least one event.")
  return due
}

/**
 * The chain of agents' turns that a run on these events continues: that of the event with the most hops, or a new one.
 */
export const chainOf = ({ _id, events, hops }: Pick<Doc<"notifications">, "_id" | "events" | "hops">): string =>
  events.find((event) => hops > 0 && event.hops === hops)?.chain ?? _id

/** Derives the notification's fields from its events. */
export const derivedFrom = (events: ReadonlyArray<NotificationEvent>): Derived => ({
  type: byStrength.find((type) => events.some((event) => event.type === type)) ?? "thread_update",
  hops: events.some(({ actor }) => actor.type === "person") ? 0 : Math.max(...events.map(({ hops }) => hops)),
  isRequired: events.some(isOwed)
})

/** The characters that the events take in their row, for counting reads. */
export const eventsSize = (events: ReadonlyArray<NotificationEvent>): number =>
  events.reduce((sum, { answers = "", refusal = "", request = "" }) => {
    return sum + 300 + answers.length + refusal.length + request.length
  }, 0)

/** An event that the policy refused, by its index. */
export interface RefusedEvent {
  readonly event: number
  readonly reason: string
}

/** The fields derived from the accepted events, or from all events if the policy refused every one. */
export const derivedFromAccepted = (events: ReadonlyArray<NotificationEvent>): Derived => {
  const accepted = events.filter(({ refusal }) => refusal === undefined)
  return derivedFrom(accepted.length === 0 ? events : accepted)
}

/** The maximum length of a stored reason. */
export const maxReasonLength = 500

/**
 * The notification with the policy's refusals in its events. They replace those of an earlier end: a stopped notification
 * that a person runs again gets new verdicts.
 */
export const withRefusals = (
  row: Doc<"notifications">,
  refused: ReadonlyArray<RefusedEvent> | undefined
): Doc<"notifications"> => {
  if (refused === undefined) return row
  return {
    ...row,
    events: row.events.map((earlier, index) => {
      const { refusal: _, ...event } = earlier
      const verdict = refused.find((each) => each.event === index)
      return verdict === undefined ? event : { ...event, refusal: cut(verdict.reason, maxReasonLength) }
    })
  }
}
