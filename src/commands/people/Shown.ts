import { Console } from "effect"
import type { Effect } from "effect"
import type { Redactor } from "../../layers/secrets/Redactor.ts"
import { print, printJson } from "../Print.ts"

/** Prints a table, or its rows as JSON. Without rows it prints `none` to standard error. */
export const list = <A>(
  rows: ReadonlyArray<A>,
  isJson: boolean,
  table: (rows: ReadonlyArray<A>) => string,
  none: string
): Effect.Effect<void, never, Redactor> =>
  isJson ? printJson(rows) : rows.length === 0 ? Console.error(none) : print(table(rows))
