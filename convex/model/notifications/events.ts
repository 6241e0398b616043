import type { Doc } from "../../_generated/dataModel.js"
import type { NotificationEvent, NotificationType } from "../../tables/notifications.ts"
import { cut } from "../database/cut.ts"
import type { RunSettings } from "./origin.ts"

/** The most events that one notification holds. */
export const maxEvents = 50

/** What is derived from the events of a notification. */
export type Derived = Pick<Doc<"notifications">, "type" | "hops" | "isRequired">

/** The strongest type first: what an answer to several events is an answer to. */
const byStrength: ReadonlyArray<NotificationType> = [
  "mention",
  "response_request",
  "assignment",
  "status_change",
  "thread_update"
]

/** By how much an event goes before older ones, in milliseconds: a person who writes waits least. */
const headStartOf = ({ actor, type }: NotificationEvent): number => {
  if (actor.type === "person" && (type === "mention" || type === "thread_update")) return 300_000
  if (type === "response_request") return 60_000
  return type === "assignment" ? 30_000 : 0
}

/** Whether the event's author is owed an answer. */
const isOwed = ({ actor, type }: NotificationEvent): boolean =>
  type === "thread_update" ? actor.type === "person" : type !== "status_change"

/** The order key of work that nobody tried: the earliest of its events, each less its head start. */
export const orderOf = (events: ReadonlyArray<NotificationEvent>): number =>
  Math.min(...events.map((event) => event.at - headStartOf(event)))

/** When work is claimed: its place in the order, since when it can be claimed, and the moment that it waits for. */
export interface Due {
  readonly at: number
  readonly readyAt: number
  readonly retryAt: number | undefined
}

/** What a notification no longer waits for once it is claimed, ends or may begin: a moment, or a budget. */
export const notWaiting = { retryAt: undefined, held: undefined }

/**
 * When work that nobody tried is due, after the last of its events at `now`. Agents' updates alone wait until nothing
 * has come for the quiet time, at most for its limit; any other event makes the work due at once, and it stays due.
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

/** The chain of agents' turns that a run on these events continues: that of the event with the most hops, or its own. */
export const chainOf = ({ _id, events, hops }: Pick<Doc<"notifications">, "_id" | "events" | "hops">): string =>
  events.find((event) => hops > 0 && event.hops === hops)?.chain ?? _id

/** The notification's own fields, from its events. */
export const derivedFrom = (events: ReadonlyArray<NotificationEvent>): Derived => ({
  type: byStrength.find((type) => events.some((event) => event.type === type)) ?? "thread_update",
  hops: events.some(({ actor }) => actor.type === "person") ? 0 : Math.max(...events.map(({ hops }) => hops)),
  isRequired: events.some(isOwed)
})

/** The characters that the events take in their row, as reads are counted. */
export const eventsSize = (events: ReadonlyArray<NotificationEvent>): number =>
  events.reduce((sum, { refusal, request }) => sum + 300 + (request?.length ?? 0) + (refusal?.length ?? 0), 0)

/** An event that the policy refused, by its position. */
export interface RefusedEvent {
  readonly event: number
  readonly reason: string
}

/** What is derived from the events without a refusal of the policy; from all of them if it refused every one. */
export const derivedFromAccepted = (events: ReadonlyArray<NotificationEvent>): Derived => {
  const accepted = events.filter(({ refusal }) => refusal === undefined)
  return derivedFrom(accepted.length === 0 ? events : accepted)
}

/** The longest reason of a verdict or an outcome that is stored. */
export const maxReasonLength = 500

/** The notification with the verdicts of the policy in its events. */
export const withRefusals = (
  row: Doc<"notifications">,
  refused: ReadonlyArray<RefusedEvent> = []
): Doc<"notifications"> => ({
  ...row,
  events: row.events.map((event, index) => {
    const verdict = refused.find((each) => each.event === index)
    return verdict === undefined ? event : { ...event, refusal: cut(verdict.reason, maxReasonLength) }
  })
})
