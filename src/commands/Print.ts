import { Console, Effect } from "effect"
import { Flag } from "effect/cli"
import { outputTaken } from "../layers/host/Terminal.ts"
import { Redactor } from "../layers/secrets/Redactor.ts"

/** `--json`: one JSON document on standard output instead of text. */
export const jsonFlag = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false))

/** Clears the screen and its history, and moves to its top; for terminals only. */
const CLEAR = "\u001b[2J\u001b[3J\u001b[H"

/** The text in place of the last one on a terminal, otherwise below it. */
export const asScreen = (text: string): string => (process.stdout.isTTY === true ? `${CLEAR}${text}` : `${text}\n`)

/** Prints data to standard output through the redactor. */
export const print = (text: string): Effect.Effect<void, never, Redactor> =>
  Effect.flatMap(Redactor, ({ redact }) => Effect.andThen(Console.log(redact(text)), outputTaken))

/** Prints the value as JSON through the redactor. */
export const printJson = (value: unknown): Effect.Effect<void, never, Redactor> => print(JSON.stringify(value, null, 2))
