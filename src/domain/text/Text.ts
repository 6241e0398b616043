/** Cuts a text at a character boundary and appends a mark with its length. */
export const cut = (text: string, limit: number): string => {
  if (text.length <= limit) return text
  const mark = ` [cut, ${text.length} characters]`
  let end = Math.max(0, limit - mark.length)
  const code = text.charCodeAt(end - 1)
  if (code >= 0xd800 && code <= 0xdbff) end -= 1
  return text.slice(0, end) + mark
}

/** The text in one line: white space of any kind becomes one space. */
export const singleLine = (text: string): string => text.replace(/\s+/g, " ").trim()

/** At most `limit` characters, with an ellipsis if the text is longer; well formed, so that it can be stored. */
export const truncate = (text: string, limit: number): string =>
  text.length <= limit ? text.toWellFormed() : `${text.slice(0, limit - 1).toWellFormed()}…`

/** Names and roles come from people: one line, no control characters, no fence or markup of ours. */
export const oneLine = (text: string, limit = 120): string =>
  cut(
    text
      .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
      .replace(/[<>`]/g, "'")
      .replace(/\s+/g, " ")
      .trim(),
    limit
  )
