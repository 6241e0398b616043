/** The text's first `length` characters. Never ends in half a surrogate pair, which Convex cannot store. */
export const cut = (text: string, length: number): string => {
  if (text.length <= length) return text
  const code = text.charCodeAt(length - 1)
  return text.slice(0, code >= 0xd800 && code <= 0xdbff ? length - 1 : length)
}
