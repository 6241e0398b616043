import { Console, Effect } from "effect"
import type { PersonFailure } from "../../layers/PersonClient.ts"
import type { Redactor } from "../../layers/Redactor.ts"
import { endWith } from "../EndedWith.ts"
import type { EndedWith } from "../EndedWith.ts"
import { print, printJson } from "../Print.ts"

/** What the deployment refused, with its code, and exit code 1; an unreachable deployment ends with 69. */
export const refusalShown = <A, E, R>(
  effect: Effect.Effect<A, E | PersonFailure, R>
): Effect.Effect<A, Exclude<E, PersonFailure> | EndedWith, R> =>
  Effect.catchTags(effect as Effect.Effect<A, PersonFailure, R>, {
    ControlPlaneRefused: ({ code, detail }) => endWith(1, `${detail} (${code})`),
    ControlPlaneUnavailable: ({ detail, function: path }) => endWith(69, `${path} failed: ${detail}`)
  }) as never

/** A table, or the JSON of its rows; `none` is said on standard error if there are none. */
export const list = <A>(
  rows: ReadonlyArray<A>,
  isJson: boolean,
  table: (rows: ReadonlyArray<A>) => string,
  none: string
): Effect.Effect<void, never, Redactor> =>
  isJson ? printJson(rows) : rows.length === 0 ? Console.error(none) : print(table(rows))
