/** ANSI colours for text on a terminal. */
const codes = { grey: 90, green: 32, yellow: 33, red: 31, cyan: 36 } as const
export type TerminalColor = keyof typeof codes

/** Paints a text in a colour. */
export type Paint = (color: TerminalColor, text: string) => string

/** Leaves the text as it is if `isColored` is false. */
export const paintIf =
  (isColored: boolean): Paint =>
  (color, text) =>
    isColored ? `\u001b[${codes[color]}m${text}\u001b[0m` : text
