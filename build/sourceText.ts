import { parseSync, Visitor } from "rolldown/utils"

/** Where a text begins and ends in its source. */
type Range = readonly [start: number, end: number]

type Parsed = ReturnType<typeof parseSync>

/** Line comments on consecutive lines are one text, so that a phrase may continue on the next line. */
const commentRanges = (source: string, comments: Parsed["comments"]): ReadonlyArray<Range> => {
  const ranges: Array<Range> = []
  let isLine = false
  for (const { start, end, type } of comments) {
    const previous = ranges.at(-1)
    if (isLine && type === "Line" && previous && /^[^\S\n]*\n[^\S\n]*$/.test(source.slice(previous[1], start))) {
      ranges[ranges.length - 1] = [previous[0], end]
    } else {
      ranges.push([start, end])
    }
    isLine = type === "Line"
  }
  return ranges
}

/** String literals and the fixed parts of templates, without the paths of imports. */
const stringRanges = (program: Parsed["program"]): ReadonlyArray<Range> => {
  const imported = new Set<number>()
  const ranges: Array<Range> = []
  const skip = (node: { readonly source: { readonly start: number } | null }) => {
    if (node.source !== null) imported.add(node.source.start)
  }
  new Visitor({
    ImportDeclaration: skip,
    ExportAllDeclaration: skip,
    ExportNamedDeclaration: skip,
    ImportExpression: skip,
    TSImportType: skip,
    Literal: (node) => {
      if (typeof node.value === "string" && !imported.has(node.start)) ranges.push([node.start + 1, node.end - 1])
    },
    TemplateElement: (node) => {
      // In TypeScript the range includes the delimiters.
      ranges.push([node.start + 1, node.end - (node.tail ? 1 : 2)])
    }
  }).visit(program)
  return ranges
}

const blank = (text: string): string => text.replaceAll(/[^\n]/g, " ")

/** A comment without its marks, and a string without its escapes, as long as before. */
const words = (text: string): string =>
  text.replaceAll(/^\s*\/\*\*?|\*\/$|^\s*\*(?= |$)|^\s*\/\/|\\u\{[^}]*\}|\\u.{4}|\\./gm, blank)

/** The comments and strings of a source, and what is between them as blanks, so that every text keeps its place. */
const proseOf = (path: string, source: string): { readonly text: string; readonly ranges: ReadonlyArray<Range> } => {
  const { comments, errors, program } = parseSync(path, source)
  if (errors.length > 0) throw new Error(`${path} cannot be parsed: ${errors[0]?.message}`)
  const ranges = [...commentRanges(source, comments), ...stringRanges(program)].toSorted(([a], [b]) => a - b)
  let text = ""
  for (const [start, end] of ranges) text += blank(source.slice(text.length, start)) + words(source.slice(start, end))
  return { text: text + blank(source.slice(text.length)), ranges }
}

const position = (text: string, offset: number) => {
  const before = text.slice(0, offset)
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") - 1 }
}

const node = <Type extends string>(type: Type, text: string, start: number, end: number) => ({
  type,
  raw: text.slice(start, end),
  range: [start, end] as const,
  loc: { start: position(text, start), end: position(text, end) }
})

/** What textlint checks of a source: a paragraph for each comment and string, without code in backticks. */
export const sourceTree = (path: string, source: string) => {
  const { ranges, text } = proseOf(path, source)
  const str = (start: number, end: number) => ({ ...node("Str", text, start, end), value: text.slice(start, end) })
  const children = ranges.map(([start, end]) => {
    const parts = []
    let from = start
    for (const { 0: code, index } of text.slice(start, end).matchAll(/`[^`]+`/g)) {
      parts.push(str(from, start + index))
      from = start + index + code.length
    }
    return { ...node("Paragraph", text, start, end), children: [...parts, str(from, end)] }
  })
  return { text, ast: { ...node("Document", text, 0, text.length), children } }
}
