/** The fences around other people's text in a prompt, and the removal of their mark from that text. */

/** Replaces the mark in other people's text. */
const REMOVED = "[mark removed]"

/** Characters that a reader could overlook between two characters of a mark. */
const BETWEEN = "[^\\p{L}\\p{N}]{0,3}"

/**
 * The text without the mark, in any case, width or spacing: an agent may have repeated its mark in a thread, where
 * others can read it. Text without a mark stays unchanged.
 */
const withoutMark = (text: string, form: RegExp): string => {
  const plain = text.normalize("NFKC")
  const clean = plain.replace(form, REMOVED)
  return clean === plain ? text : clean
}

const mapStrings = (value: unknown, change: (text: string) => string): unknown => {
  if (typeof value === "string") return change(value)
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, change))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapStrings(item, change)]))
}

/** The value with the mark removed from all its texts. */
export const withoutFenceMark = <A>(mark: string, value: A): A => {
  const form = new RegExp([...mark].join(BETWEEN), "giu")
  return mapStrings(value, (text) => withoutMark(text, form)) as A
}

/** A block of other people's text, between two lines with the session's mark. */
export const fenced = (mark: string, label: string, body: string): string =>
  `--- ${label} ${mark} ---\n${body}\n--- end of ${label} ${mark} ---`
