/** Whom a text mentions, in lower case and without repetition: slugs, quoted names, and whether it says @all. */
export interface Mentions {
  readonly slugs: ReadonlyArray<string>
  readonly names: ReadonlyArray<string>
  readonly all: boolean
}

const maxNameLength = 100
const maxSlugLength = 64

const isWord = (char: string | undefined): boolean => char !== undefined && /[\p{L}\p{N}_]/u.test(char)
const isSlugStart = (char: string | undefined): boolean => char !== undefined && /[a-zA-Z0-9]/.test(char)
const isSlugPart = (char: string | undefined): boolean => char !== undefined && /[a-zA-Z0-9_-]/.test(char)

/** The text without fenced code and block quotes; lines without text are left empty. */
const withoutBlocks = (text: string): string => {
  const kept: Array<string> = []
  let fence: { readonly char: string; readonly length: number } | null = null
  for (const line of text.split("\n")) {
    const trimmed = line.trimStart()
    const char = trimmed[0]
    let length = 0
    if (char === "`" || char === "~") while (trimmed[length] === char) length += 1
    if (fence !== null) {
      if (char === fence.char && length >= fence.length && trimmed.slice(length).trim() === "") fence = null
      continue
    }
    // A backtick after the opening run makes it inline code of one line, not a fence.
    if (length >= 3 && char !== undefined && !(char === "`" && trimmed.slice(length).includes("`"))) {
      fence = { char, length }
      kept.push("")
      continue
    }
    kept.push(char === ">" || char === undefined ? "" : line)
  }
  return kept.join("\n")
}

/** The text with each inline code span replaced by a space; a run of backticks that none of its length closes stays. */
const withoutInlineCode = (text: string): string => {
  const runs: Array<{ readonly at: number; readonly length: number }> = []
  for (const match of text.matchAll(/`+/g)) runs.push({ at: match.index, length: match[0].length })
  const nextOfLength = new Map<number, number>()
  const closing: Array<number | undefined> = Array.from({ length: runs.length })
  for (let index = runs.length - 1; index >= 0; index -= 1) {
    const run = runs[index]
    if (run === undefined) continue
    closing[index] = nextOfLength.get(run.length)
    nextOfLength.set(run.length, index)
  }
  const kept: Array<string> = []
  let position = 0
  let index = 0
  while (index < runs.length) {
    const open = runs[index]
    const closeIndex = closing[index]
    const close = closeIndex === undefined ? undefined : runs[closeIndex]
    if (open === undefined || close === undefined || closeIndex === undefined) {
      index += 1
      continue
    }
    kept.push(text.slice(position, open.at), " ")
    position = close.at + close.length
    index = closeIndex + 1
  }
  kept.push(text.slice(position))
  return kept.join("")
}

/**
 * Whom a message mentions: `@slug`, `@"name"` and `@all`. Code (inline and fenced), block quotes and e-mail addresses
 * do not count. One pass, linear in the text.
 */
export const parseMentions = (text: string): Mentions => {
  const slugs = new Set<string>()
  const names = new Set<string>()
  let all = false
  if (text.includes("@")) {
    // Inline code ends with its paragraph, so that a stray backtick hides nothing further down.
    const plain = withoutBlocks(text).split("\n\n").map(withoutInlineCode).join("\n\n")
    let at = plain.indexOf("@")
    while (at !== -1) {
      let end = at + 1
      const before = plain[at - 1]
      if (!(isWord(before) || before === "." || before === "-" || before === "+" || before === "@" || before === "/")) {
        if (plain[end] === '"') {
          const window = plain.slice(end + 1, end + 2 + maxNameLength)
          const close = window.search(/["\n]/)
          const name = close > 0 && window[close] === '"' ? window.slice(0, close).trim().toLowerCase() : ""
          if (name !== "") {
            names.add(name)
            end += close + 2
          }
        } else if (isSlugStart(plain[end])) {
          while (isSlugPart(plain[end])) end += 1
          // Trailing marks belong to the sentence; a run longer than a slug can be is none, and is not looked at again.
          let last = end
          while (plain[last - 1] === "-" || plain[last - 1] === "_") last -= 1
          const slug = last - at > maxSlugLength + 1 ? "" : plain.slice(at + 1, last).toLowerCase()
          // "@host.example" and "@user@host" are addresses; "@slug." at the end of a sentence is a mention.
          const isAddress = plain[end] === "@" || (plain[end] === "." && isWord(plain[end + 1])) || isWord(plain[end])
          if (!isAddress && slug !== "") {
            if (slug === "all") all = true
            else slugs.add(slug)
          }
        }
      }
      at = plain.indexOf("@", end)
    }
  }
  return { slugs: [...slugs], names: [...names], all }
}
