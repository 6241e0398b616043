import { Console, Effect } from "effect"
import type { PersonFailure } from "../../layers/people/PersonClient.ts"
import type { Redactor } from "../../layers/secrets/Redactor.ts"
import { endWith } from "../EndedWith.ts"
import type { EndedWith } from "../EndedWith.ts"
import { print, printJson } from "../Print.ts"

/** Prints a refusal of the deployment with its code and ends with 1, or with 69 if the deployment does not answer. */
export const refusalShown = <A, E, R>(
  effect: Effect.Effect<A, E | PersonFailure, R>
): Effect.Effect<A, Exclude<E, PersonFailure> | EndedWith, R> =>
  Effect.catchTags(effect as Effect.Effect<A, PersonFailure, R>, {
    ControlPlaneRefused: ({ code, detail }) => endWith(1, `${detail} (${code})`),
    ControlPlaneUnavailable: ({ detail, function: path }) => endWith(69, `${path} failed: ${detail}`)
  }) as never

/** Prints a table, or its rows as JSON. Without rows it prints `none` to standard error. */
export const list = <A>(
  rows: ReadonlyArray<A>,
  isJson: boolean,
  table: (rows: ReadonlyArray<A>) => string,
  none: string
): Effect.Effect<void, never, Redactor> =>
  isJson ? printJson(rows) : rows.length === 0 ? Console.error(none) : print(table(rows))
