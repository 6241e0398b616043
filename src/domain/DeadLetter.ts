import { DateTime, Schema } from "effect"
import { NotificationType } from "./DeliveryContext.ts"
import { textTable } from "./TextTable.ts"

/** A notification that was given up, as an operator judges it; times are the control plane's epoch milliseconds. */
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
  /** Somebody was owed an answer. */
  isRequired: Schema.Boolean,
  hasFallback: Schema.Boolean,
  /** How many notifications died with it. */
  folded: Schema.Finite,
  traceId: Schema.NullOr(Schema.String)
})
export type DeadLetter = typeof DeadLetter.Type

const moment = (at: number): string => DateTime.formatIso(DateTime.makeUnsafe(at)).replace(/\.\d+Z$/, "Z")

const errorOf = (letter: DeadLetter): string =>
  letter.error === null ? "-" : `${letter.error.class}: ${letter.error.message}`

/** Dead letters as a table for a terminal, one line each. */
export const deadLetterTable = (letters: ReadonlyArray<DeadLetter>): string =>
  textTable(
    ["ID", "DIED", "AGENT", "TYPE", "ATTEMPTS", "TASK", "ERROR"],
    letters.map((letter) => [
      letter.id,
      moment(letter.diedAt),
      letter.agentSlug ?? "-",
      letter.type,
      String(letter.attempts),
      (letter.taskTitle ?? letter.taskId).slice(0, 40),
      errorOf(letter).slice(0, 80)
    ])
  )

/** Everything about one dead letter, a line for each thing. */
export const describeDeadLetter = (letter: DeadLetter): string =>
  [
    `Notification  ${letter.id}`,
    `Type          ${letter.type}`,
    `Agent         ${letter.agentSlug ?? "-"}`,
    `Task          ${letter.taskTitle ?? "-"} (${letter.taskId})`,
    `Created       ${moment(letter.createdAt)}`,
    `Given up      ${moment(letter.diedAt)}`,
    `Attempts      ${letter.attempts} (${letter.claims} claims)`,
    `Error         ${errorOf(letter)}`,
    `Answer owed   ${letter.isRequired ? "yes" : "no"}`,
    `Fallback      ${letter.hasFallback ? "posted" : "none"}`,
    `Died with it  ${letter.folded}`,
    `Trace         ${letter.traceId ?? "-"}`
  ].join("\n")
