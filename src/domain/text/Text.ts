/** Cuts a text at a character boundary and appends a mark with its length. */
export const cut = (text: string, limit: number): string => {
  if (text.length <= limit) return text
  const mark = ` [cut, ${text.length} characters]`
  let end = Math.max(0, limit - mark.length)
  const code = text.charCodeAt(end - 1)
  if (code >= 0xd800 && code <= 0xdbff) end -= 1
  return text.slice(0, end) + mark
}

/** A name, role or other short text from people, on one line and without control characters, markup or backticks. */
export const oneLine = (text: string, limit = 120): string =>
  cut(
    text
      .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
      .replace(/[<>`]/g, "'")
      .replace(/\s+/g, " ")
      .trim(),
    limit
  )
