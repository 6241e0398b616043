/** Cuts at a character boundary, and ends with the mark. */
export const cut = (text: string, limit: number, mark = ` [cut, ${text.length} characters]`): string => {
  if (text.length <= limit) return text
  let end = Math.max(0, limit - mark.length)
  const code = text.charCodeAt(end - 1)
  if (code >= 0xd800 && code <= 0xdbff) end -= 1
  return text.slice(0, end) + mark
}

/** At most `limit` characters, with an ellipsis if the text is longer; well formed, so that it can be stored. */
export const truncate = (text: string, limit: number): string => cut(text, limit, "…").toWellFormed()

/** The text on one line: white space and control characters become one space. */
export const singleLine = (text: string): string => text.replace(/[\s\p{Cc}]+/gu, " ").trim()

/** A name or role that a person wrote, for a prompt: one line, no invisible characters, no fence or markup of ours. */
export const oneLine = (text: string, limit = 120): string =>
  cut(singleLine(text.replace(/\p{Cf}+/gu, " ").replace(/[<>`]/g, "'")), limit)
