import { paintIf } from "../../domain/text/TerminalColor.ts"
import type { Paint } from "../../domain/text/TerminalColor.ts"

/** Paints text for this output: only if it is a terminal. As on no-color.org, NO_COLOR with any value but the empty one switches colours off. */
export const paintFor = (output: { readonly isTTY?: boolean }): Paint =>
  paintIf(output.isTTY === true && (process.env["NO_COLOR"] ?? "") === "")
