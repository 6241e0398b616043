/** Text that fits a terminal's columns. */
import { truncate } from "./Text.ts"

/** The text with each line cut to the columns, so that a line of a table stays one line. Without colours. */
export const cutToWidth = (text: string, columns: number): string =>
  text
    .split("\n")
    .map((line) => truncate(line, columns))
    .join("\n")

const withoutColours = (text: string): string => text.replaceAll(/\p{Cc}\[[\d;]*m/gu, "")

/** Where a line continues: below its description, which follows two or more spaces, or below its first word. */
const indentOf = (line: string, columns: number): number => {
  const start = /^ */.exec(line)?.[0].length ?? 0
  const description = /^ *\S.*? {2,}(?=\S)/.exec(line)?.[0].length ?? start
  return description > columns / 2 ? start + 4 : description
}

/** The line, broken between words where it would be longer than the columns. */
const wrapLine = (line: string, columns: number): string => {
  const shown = withoutColours(line)
  if (shown.length <= columns) return line
  const indent = " ".repeat(indentOf(shown, columns))
  const lines: Array<string> = []
  let current: string | undefined
  for (const word of line.split(" ")) {
    const longer: string = current === undefined ? word : `${current} ${word}`
    if (current !== undefined && current.trim() !== "" && withoutColours(longer).length > columns) {
      lines.push(current.trimEnd())
      current = indent + word
    } else current = longer
  }
  return [...lines, current ?? ""].join("\n")
}

/** The text with its long lines broken between words, except the lines that a reader may copy. */
export const wrapToWidth = (text: string, columns: number, isForCopying: (line: string) => boolean): string =>
  text
    .split("\n")
    .map((line) => (isForCopying(withoutColours(line)) ? line : wrapLine(line, columns)))
    .join("\n")
