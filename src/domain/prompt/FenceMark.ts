/** The fences around other people's text in a prompt, and how that text is kept from closing them. */

/** What a mark is replaced by where others wrote it. */
const REMOVED = "[mark removed]"

/** Characters that a reader could overlook between two characters of a mark. */
const BETWEEN = "[^\\p{L}\\p{N}]{0,3}"

/**
 * The text without the mark, in whatever case, width or spacing it is written there: an agent may have repeated its mark
 * in a thread, where others can read it. Text that holds no mark stays as it is.
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

/** A value in which no text holds the mark; everything else of it is the same. */
export const withoutFenceMark = <A>(mark: string, value: A): A => {
  const form = new RegExp([...mark].join(BETWEEN), "giu")
  return mapStrings(value, (text) => withoutMark(text, form)) as A
}

/** A block of text that others wrote, between two lines that carry the session's mark. */
export const fenced = (mark: string, label: string, body: string): string =>
  `--- ${label} ${mark} ---\n${body}\n--- end of ${label} ${mark} ---`
