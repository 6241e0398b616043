/** Writes code in ASCII characters, and keeps its source map true. */

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** The first number of a source map's segment, and what follows it. */
const firstOf = (segment: string): { readonly value: number; readonly rest: string } => {
  let [bits, shift, index] = [0, 0, 0]
  for (let digit = 32; (digit & 32) !== 0; shift += 5) {
    digit = DIGITS.indexOf(segment[index++]!)
    bits += (digit & 31) * 2 ** shift
  }
  return { value: bits % 2 === 0 ? bits / 2 : -(bits - 1) / 2, rest: segment.slice(index) }
}

const encoded = (value: number): string => {
  let bits = value < 0 ? -value * 2 + 1 : value * 2
  let text = ""
  do {
    text += DIGITS[(bits % 32) + (bits >= 32 ? 32 : 0)]
    bits = Math.floor(bits / 32)
  } while (bits > 0)
  return text
}

/** The segments of one line. Each segment is moved right by `by` for each of `columns` to its left. */
const moved = (line: string, columns: ReadonlyArray<number>, by: number): string => {
  let [column, passed] = [0, 0]
  return line
    .split(",")
    .map((segment) => {
      if (segment === "") return segment
      const { rest, value } = firstOf(segment)
      column += value
      const before = passed
      while (passed < columns.length && columns[passed]! < column) passed++
      return encoded(value + (passed - before) * by) + rest
    })
    .join(",")
}

/**
 * Replaces each character outside ASCII by its escape, because Node.js keeps the source of a file above a megabyte in two
 * bytes per character if it has one. The code must have such characters only in strings, templates and patterns, as a minifier's
 * has.
 */
export const inAscii = (code: string, mappings: string): { readonly code: string; readonly mappings: string } => {
  const wide = /[^\0-\x7f]/g
  const escapeOf = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  const lines = mappings.split(";")
  code.split("\n").forEach((line, index) => {
    const columns = [...line.matchAll(wide)].map((match) => match.index)
    if (columns.length > 0 && lines[index] !== undefined) lines[index] = moved(lines[index], columns, 5)
  })
  return { code: code.replace(wide, escapeOf), mappings: lines.join(";") }
}
