/** Cuts at a character boundary and says so. */
export const cut = (text: string, limit: number): string => {
  if (text.length <= limit) return text
  const mark = ` [cut, ${text.length} characters]`
  let end = Math.max(0, limit - mark.length)
  const code = text.charCodeAt(end - 1)
  if (code >= 0xd800 && code <= 0xdbff) end -= 1
  return text.slice(0, end) + mark
}

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
