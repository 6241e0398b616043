import MarkdownIt from "markdown-it"

/** The mentions in a text, in lower case and without duplicates: slugs, quoted names, and whether there is an @all. */
export interface Mentions {
  readonly slugs: ReadonlyArray<string>
  readonly names: ReadonlyArray<string>
  readonly all: boolean
}

const maxNameLength = 100
const maxSlugLength = 64

/**
 * Emphasis is not parsed, because its marks separate words anyway. HTML is parsed tag by tag, so Markdown in it counts.
 */
const markdown = new MarkdownIt("commonmark", { maxNesting: 100 }).disable(["emphasis", "html_block", "text_join"])

/** What precedes a line's text: indentation, quote marks and list markers. */
const containerPrefix = /^(?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t])))*[ \t]*/

/**
 * Moves fences that share a line with other words to a separate line, as their authors mean them: "Run: ```",
 * "code```", "``` thanks", and a list item's "- ```" if code or closing fence are not indented. Does nothing if the
 * fences do not form pairs.
 */
const withSeparateFences = (text: string): string => {
  if (!text.includes("```")) return text
  const lines = text.split("\n").map((line) => ({ line, runs: [...line.matchAll(/`{3,}/g)] }))
  // Two runs in one line enclose code within it.
  const fences = lines.filter(({ runs }) => runs.length % 2 === 1)
  if (fences.length % 2 === 1) return text
  let seen = 0
  return lines
    .map(({ line, runs }, index) => {
      const last = runs.at(-1)
      if (last === undefined || runs.length % 2 === 0) return line
      seen += 1
      const isOpening = seen % 2 === 1
      const isOutside = isOpening && [lines[index + 1], fences[seen]].some((each) => /^[^\s>]/.test(each?.line ?? ""))
      const [markers] = containerPrefix.exec(line) ?? [""]
      const inside = isOutside ? "" : markers.replaceAll(/[^>\s]/g, " ")
      const fence = last.index
      const end = fence + last[0].length
      const rest = line.slice(end)
      if (fence > markers.length) {
        return /^[^\s`]*\s*$/.test(rest) ? `${line.slice(0, fence)}\n${inside}${line.slice(fence)}` : line
      }
      if (/^[ \t]+\S/.test(rest)) return `${line.slice(0, end)}\n${inside}${rest.trim()}`
      return isOutside ? line.slice(markers.length) : line
    })
    .join("\n")
}

/** HTML elements whose content is code or a quotation. */
const hiddenElement = /^<(\/?)(code|pre|blockquote)\b/i

/** The author's own words in a Markdown text: without code, quotations and link targets. */
const ownWords = (text: string): string => {
  const source = withSeparateFences(text.replaceAll(/\r\n?/g, "\n"))
  const lines = source.split("\n")
  const words: Array<string> = []
  let quotes = 0
  let hidden: { readonly element: string; readonly from: number } | undefined
  for (const block of markdown.parse(source, {})) {
    if (block.type === "blockquote_open") quotes += 1
    if (block.type === "blockquote_close") quotes -= 1
    if (block.type !== "inline") continue
    const first = block.map?.[0] ?? 0
    const tokens =
      quotes === 0
        ? (block.children ?? [])
        : // A line without a mark below a quotation is the author's answer to it.
          markdown
            .parseInline(
              block.content
                .split("\n")
                .filter((_, index) => index > 0 && !/^\s*>/.test(lines[first + index] ?? ">"))
                .join("\n"),
              {}
            )
            .flatMap(({ children }) => children ?? [])
    for (const { content, info, type } of tokens) {
      if (type === "text") words.push(content)
      // An escaped at sign is a sign, and mentions no one.
      else if (type === "text_special") words.push(info === "escape" && content === "@" ? " " : content)
      else if (type === "softbreak" || type === "hardbreak") words.push("\n")
      else words.push(" ")
      const [, closing, element = ""] = (type === "html_inline" ? hiddenElement.exec(content) : null) ?? []
      if (closing === "" && hidden === undefined) hidden = { element: element.toLowerCase(), from: words.length }
      if (closing === "/" && hidden?.element === element.toLowerCase()) {
        words.length = hidden.from
        hidden = undefined
      }
    }
    words.push("\n\n")
    if (hidden?.element === "code") hidden = undefined
  }
  return words.join("")
}

/** Addresses in a text, up to the first character that people would not write in one. */
const url = /(?::\/\/|\bwww\.)[^\s<>()[\]{}"'`,;|\u0080-\uffff]*/g

/** A letter of a script that separates words. Letters without case (漢字, ไทย, العربية) may touch other words. */
const isWord = (char: string | undefined): boolean => char !== undefined && /[\p{LC}\p{Nd}]/u.test(char)

/** The quotation marks that close what this one opens. */
const closingMarks = ['"“”„‟〝〞〟«»＂', "'‘’‚‛‹›＇", "「」『』｢｣", "《》〈〉"]

/** The name in quotation marks at this position and its end, if there is one. */
const nameAt = (text: string, at: number): { readonly name: string; readonly end: number } | null => {
  const opening = text[at]
  const closing = opening === undefined ? undefined : closingMarks.find((marks) => marks.includes(opening))
  if (closing === undefined) return null
  for (let end = at + 1; end <= at + 1 + maxNameLength; end += 1) {
    const char = text[end]
    if (char === undefined || char === "\n") return null
    // An apostrophe inside a word closes nothing.
    if (closing.includes(char) && !(closing.includes("'") && isWord(text[end + 1]))) {
      const name = text
        .slice(at + 1, end)
        .trim()
        .toLowerCase()
      return name === "" ? null : { name, end: end + 1 }
    }
  }
  return null
}

/** The text with full-width characters as ASCII; positions stay the same. */
const withoutWidth = (text: string): string =>
  text.replaceAll(/[！-～]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0)).replaceAll("﹫", "@")

/** Whether the text before a mention, apart from joining marks, makes it a part of an address. */
const isJoined = (text: string, at: number, lastEnd: number): boolean => {
  let start = at
  while (start > lastEnd && /[-+._/]/.test(text[start - 1] ?? "")) start -= 1
  if (start === lastEnd) return false
  return isWord(text[start - 1]) || text[start - 1] === "@" || text.slice(start, at).includes("/")
}

const slugPattern = /[a-z0-9][a-z0-9_-]*/iy
/** Characters after `@slug` that make it a part of something longer: an address, a package, a word. */
const continuation = /[\p{LC}\p{Nd}]|[./][\p{LC}\p{Nd}_]|@[a-z0-9][a-z0-9_-]*\.[\p{LC}\p{Nd}]/iuy

/**
 * The mentions in a message: `@slug`, `@"name"` in quotation marks of any language, and `@all`. Code, quotations, link
 * targets, e-mail addresses and package names do not count. Reads the text as Markdown, in time linear in its length.
 */
export const parseMentions = (text: string): Mentions => {
  const slugs = new Set<string>()
  const names = new Set<string>()
  let all = false
  if (/[@＠﹫]/.test(text)) {
    const words = ownWords(text).replaceAll(url, (address) => " ".repeat(address.length))
    const plain = withoutWidth(words)
    let lastEnd = -1
    for (let at = plain.indexOf("@"); at !== -1; at = plain.indexOf("@", at + 1)) {
      if (isJoined(plain, at, lastEnd)) continue
      const quoted = nameAt(words, at + 1)
      if (quoted !== null) {
        names.add(quoted.name)
        at = quoted.end - 1
        lastEnd = quoted.end
        continue
      }
      slugPattern.lastIndex = at + 1
      const run = slugPattern.exec(plain)?.[0] ?? ""
      // Trailing marks belong to the sentence. A run longer than a slug is not one.
      let length = run.length
      while (/[-_]/.test(run[length - 1] ?? "")) length -= 1
      const slug = run.slice(0, length).toLowerCase()
      continuation.lastIndex = at + 1 + run.length
      if (slug === "" || slug.length > maxSlugLength || continuation.test(plain)) continue
      lastEnd = at + 1 + slug.length
      if (slug === "all") all = true
      else slugs.add(slug)
    }
  }
  return { slugs: [...slugs], names: [...names], all }
}
