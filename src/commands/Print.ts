import { Console, Effect } from "effect"
import { Flag } from "effect/cli"
import { Redactor } from "../layers/secrets/Redactor.ts"

/** `--json`: one JSON document on standard output instead of text. */
export const jsonFlag = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false))

/** Prints data to standard output through the redactor. */
export const print = (text: string): Effect.Effect<void, never, Redactor> =>
  Effect.flatMap(Redactor, ({ redact }) => Console.log(redact(text)))

/** Prints the value as JSON through the redactor. */
export const printJson = (value: unknown): Effect.Effect<void, never, Redactor> => print(JSON.stringify(value, null, 2))
