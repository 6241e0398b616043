import { DateTime, Schema } from "effect"
import { counted } from "../text/Count.ts"
import { shortIds } from "../text/ShortId.ts"
import { oneLine, singleLine } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"
import { NotificationType } from "./DeliveryContext.ts"

/** A dead letter with what an operator needs to judge it; times are the control plane's epoch milliseconds. */
export const DeadLetter = Schema.Struct({
  id: Schema.String,
  type: NotificationType,
  agentSlug: Schema.NullOr(Schema.String),
  taskId: Schema.String,
  taskTitle: Schema.NullOr(Schema.String),
  createdAt: Schema.Finite,
  diedAt: Schema.Finite,
  attempts: Schema.Finite,
  claims: Schema.Finite,
  error: Schema.NullOr(Schema.Struct({ class: Schema.String, message: Schema.String, at: Schema.Finite })),
  /** An answer was owed. */
  isRequired: Schema.Boolean,
  hasFallback: Schema.Boolean,
  /** Oldest first. */
  events: Schema.Array(Schema.Struct({ type: NotificationType, actorName: Schema.String, at: Schema.Finite })),
  traceId: Schema.NullOr(Schema.String)
})
export type DeadLetter = typeof DeadLetter.Type

const when = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))

/** A table with one line for each, the latest first. */
export const deadLetterTable = (letters: ReadonlyArray<DeadLetter>): string => {
  const short = shortIds(letters.map(({ id }) => id))
  return textTable(
    ["id", "died", "agent", "type", "events", "attempts", "error", "task"],
    letters.map((letter) => [
      short(letter.id),
      when(letter.diedAt),
      letter.agentSlug ?? "(removed)",
      letter.type,
      String(letter.events.length),
      String(letter.attempts),
      letter.error?.class ?? "-",
      letter.taskTitle ?? "(removed)"
    ])
  )
}

/** All facts about one, one in each line. */
export const describeDeadLetter = (letter: DeadLetter): string =>
  [
    `id         ${letter.id}`,
    `type       ${letter.type}${letter.isRequired ? ", an answer was owed" : ""}`,
    `agent      ${letter.agentSlug ?? "(removed)"}`,
    `task       ${letter.taskTitle ?? "(removed)"} (${letter.taskId})`,
    `created    ${when(letter.createdAt)}`,
    `died       ${when(letter.diedAt)}`,
    `attempts   ${letter.attempts}, claimed ${counted(letter.claims, "time")}`,
    `error      ${letter.error === null ? "-" : `${letter.error.class}: ${singleLine(letter.error.message)}`}`,
    `fallback   ${letter.hasFallback ? "posted" : "none"}`,
    ...letter.events.map(({ actorName, at, type }) => `event      ${when(at)} ${type} by ${oneLine(actorName)}`),
    `trace      ${letter.traceId ?? "-"}`
  ].join("\n")
