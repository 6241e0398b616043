import { existsSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { convexToJson, type JSONValue } from "convex/values"
import { type Call } from "./call.ts"
import { type Change } from "./readSet.ts"
import { type Running } from "./running.ts"

/** Who called: a client without a person (a runtime), a person, an administrator, or the plane itself. */
type CallerKind = "client" | "person" | "administrator" | "plane"

/** A call of a mutation as it was when it ended. */
export type RecordedCall = {
  readonly path: string
  readonly caller: CallerKind
  readonly args: JSONValue
  /** The time that the function saw. */
  readonly at: number
  /** Its answer, or the data of the error with which it failed (null if it has none). */
  readonly value?: JSONValue
  readonly refused?: JSONValue
}

/** A call of the history. */
export type HistoricCall = RecordedCall & {
  readonly number: number
  /** What it wrote; `after` is null for a deleted document. */
  readonly changes: ReadonlyArray<{ readonly id: string; readonly table: string; readonly after: JSONValue }>
}

/** More calls than this are not recorded. */
export const maxCalls = 100_000

/** Fields that are not recorded: secrets, and the contexts of claimed runs, which would be most of the file. */
const leftOut = /(?:token|secret|hash|password|key|^context)$/i

const callerKindOf = ({ identity, isAdmin, origin }: Call): CallerKind =>
  origin !== "client" ? "plane" : identity !== null ? "person" : isAdmin ? "administrator" : "client"

/** The call for the history; undefined if its function did not begin. */
export const recordedCall = ({ at, call, refused, value = null }: Running): RecordedCall | undefined => {
  if (at === null) return undefined
  const { args, path } = call
  return { path, caller: callerKindOf(call), args, at, ...(refused === undefined ? { value } : { refused }) }
}

/** The line of the history for a call. */
export const lineOf = (call: RecordedCall, changes: ReadonlyArray<Change>): string =>
  JSON.stringify(
    {
      ...call,
      changes: changes.map(({ after, id, table }) => ({
        id,
        table,
        after: after === null ? null : convexToJson(after as never)
      }))
    },
    (key, value: unknown) => (leftOut.test(key) ? undefined : value)
  )

/** Reads the history of a plane's file; fails if the file has none, or if a plane uses it. */
export const readHistory = (file: string): ReadonlyArray<HistoricCall> => {
  // SQLite would create it.
  if (!existsSync(file)) throw new Error("there is no such file")
  const database = new DatabaseSync(file)
  try {
    const found = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'calls'").get()
    if (found === undefined) {
      throw new Error("it has no history: start the local control plane with --data FILE --history on a new file")
    }
    return database
      .prepare("SELECT number, json FROM calls ORDER BY number")
      .all()
      .map(({ json, number }) => ({ ...JSON.parse(json as string), number }))
  } finally {
    database.close()
  }
}
