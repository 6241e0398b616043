import { Effect } from "effect"
import { paintIf } from "../../domain/text/TerminalColor.ts"
import type { Paint } from "../../domain/text/TerminalColor.ts"
import { wrapToWidth } from "../../domain/text/TerminalWidth.ts"

/**
 * Paints text for this output: only if it is a terminal. As on no-color.org, NO_COLOR with any value but the empty one
 * switches colours off.
 */
export const paintFor = (output: { readonly isTTY?: boolean }): Paint =>
  paintIf(output.isTTY === true && (process.env["NO_COLOR"] ?? "") === "")

/** Breaks long lines of text for standard output between words: only if it is a terminal. */
export const wrapForTerminal = (text: string, isForCopying: (line: string) => boolean = () => false): string => {
  const { columns, isTTY } = process.stdout
  return isTTY === true ? wrapToWidth(text, columns, isForCopying) : text
}

/**
 * Waits until standard output has taken everything that was printed, or its reader is gone. A process that exits
 * earlier loses the rest of what it wrote to a pipe.
 */
export const outputTaken: Effect.Effect<void> = Effect.callback((resume) => {
  const { stdout } = process
  if (stdout.writableLength === 0) return resume(Effect.void)
  // The event of a reader that is gone comes after the answer.
  stdout.once("error", () => {})
  stdout.write("", () => resume(Effect.void))
})
