/** Reads the control plane's file after a soak, and lists what is lost or doubled. */
import type { Value } from "convex/values"
import type { Document } from "../../local/plane/document.ts"
import { tableOf } from "../../local/plane/document.ts"
import { DurableFile } from "../../local/plane/durableFile.ts"

/** The requests: numbers whose message the control plane has accepted, and numbers for which that is unknown. */
export type Asked = { readonly certain: ReadonlySet<number>; readonly perhaps: ReadonlySet<number> }

/** The result of a soak. */
export type Ledger = {
  readonly notifications: number
  readonly byType: Readonly<Record<string, number>>
  readonly byEnd: Readonly<Record<string, number>>
  readonly replies: number
  readonly creations: number
  /** One line for each error. */
  readonly wrong: ReadonlyArray<string>
}

const countBy = (documents: ReadonlyArray<Document>, keyOf: (document: Document) => string): Record<string, number> =>
  Object.fromEntries([...Map.groupBy(documents, keyOf)].map(([key, some]) => [key, some.length]))

const duplicates = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...Map.groupBy(names, (name) => name)].filter(([, some]) => some.length > 1).map(([name]) => name)

type Event = Readonly<Record<string, Value | undefined>>

/** The events that caused the notification. */
const eventsOf = ({ events }: Document): ReadonlyArray<Event> => (events ?? []) as ReadonlyArray<Event>

const ended = new Set(["delivered", "dead", "discarded"])

/** Every document in the file of a stopped plane. */
export const documentsIn = (file: string): ReadonlyArray<Document> => {
  const durable = new DurableFile(file)
  try {
    return durable.restore().documents
  } finally {
    durable.close()
  }
}

/** Compares these documents with the requests. */
export const ledgerOf = (documents: ReadonlyArray<Document>, asked: Asked): Ledger => {
  const tables = Map.groupBy(documents, ({ _id }) => tableOf(_id) ?? "")
  const of = (table: string): ReadonlyArray<Document> => tables.get(table) ?? []
  const rows = of("notifications").filter((row) => row["recipientType"] === "agent")
  const messages = of("messages")
  const wrong: Array<string> = []

  for (const row of rows) {
    if (!ended.has(String(row["state"]))) wrong.push(`${row["type"]} ${row._id} is still ${row["state"]}`)
    if (row["state"] === "delivered" && row["outcome"] === undefined)
      wrong.push(`${row._id} was delivered without outcome`)
  }
  const answers = messages.filter(({ kind }) => kind === "reply" || kind === "fallback" || kind === "note")
  const byRun = Map.groupBy(answers, ({ runId }) => String(runId))
  for (const [run, some] of byRun) if (some.length > 1) wrong.push(`${some.length} answers of one notification, ${run}`)
  for (const row of rows.filter(({ outcome }) => outcome === "replied" || outcome === "fallback")) {
    if (!byRun.has(row._id)) wrong.push(`${row._id} has the outcome ${row["outcome"]} but no answer`)
  }

  const events = rows.flatMap((row) => eventsOf(row))
  const mentions = Map.groupBy(
    events.filter(({ type }) => type === "mention"),
    ({ messageId }) => String(messageId)
  )
  const numberOf = ({ content }: Document): number => Number(/this is request number (\d+)/.exec(String(content))?.[1])
  const requests = messages.filter((message) => message["kind"] === "message" && !Number.isNaN(numberOf(message)))
  const seen = Map.groupBy(requests, numberOf)
  for (const n of asked.certain) if (!seen.has(n)) wrong.push(`request ${n} is lost`)
  for (const [n, some] of seen) {
    if (some.length > 1) wrong.push(`request ${n} exists ${some.length} times`)
    if (!asked.certain.has(n) && !asked.perhaps.has(n)) wrong.push(`request ${n} was never made`)
    for (const message of some) {
      const count = mentions.get(message._id)?.length ?? 0
      if (count !== 1) wrong.push(`request ${n} is in ${count} notifications`)
    }
  }

  const titles = of("tasks")
    .map(({ title }) => String(title))
    .filter((title) => title.startsWith("Follow-up "))
  const notes = of("documents")
    .map(({ title }) => String(title))
    .filter((title) => title.startsWith("Note "))
  const questions = events.filter(({ type }) => type === "response_request").map(({ request }) => String(request))
  for (const name of [...duplicates(titles), ...duplicates(notes), ...duplicates(questions)]) {
    wrong.push(`"${name}" was created more than once`)
  }
  return {
    notifications: rows.length,
    byType: countBy(rows, ({ type }) => String(type)),
    byEnd: countBy(rows, ({ outcome, state }) => String(outcome ?? state)),
    replies: answers.length,
    creations: titles.length + notes.length + questions.length,
    wrong
  }
}
