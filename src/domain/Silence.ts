/** What the final text of a turn means: words for the thread, "nothing to add", or no answer at all. */
export type SpokenText =
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "NothingToAdd"; readonly token: string }
  | { readonly _tag: "Silent"; readonly reason: string }

const NOTHING_TO_ADD = new Set(["HEARTBEAT_OK", "NO_ACTION"])
const SILENT_TOKENS = new Set(["NO_REPLY", "NO", "NO_"])

/** Texts with which the gateway fills in for a model that said nothing (versions 2026.2.19 to 2026.7.1). */
const PLACEHOLDERS = [
  "no response from openclaw.",
  "⚠️ agent couldn't generate a response. please try again.",
  "agent couldn't generate a response. please try again."
]

/** Longer replies are cut with a mark; the control plane's documents hold at most a mebibyte. */
export const MAX_REPLY_CHARACTERS = 100_000

/** The text without the `@slug`s in front of it, since a placeholder may follow them. */
const withoutLeadingMentions = (text: string): string => {
  let rest = text.trimStart()
  while (rest.startsWith("@")) {
    const end = rest.search(/[\s,:]/)
    if (end === -1) return ""
    rest = rest.slice(end).replace(/^[\s,:]+/, "")
  }
  return rest
}

/** Reads the final text of a turn. Silence tokens and placeholders count only when they stand alone. */
export const readSpokenText = (raw: string): SpokenText => {
  const text = raw.trim()
  const bare = withoutLeadingMentions(text).trim()
  if (bare === "") return { _tag: "Silent", reason: text === "" ? "empty text" : "only mentions" }
  if (SILENT_TOKENS.has(bare)) return { _tag: "Silent", reason: bare }
  if (PLACEHOLDERS.includes(bare.toLowerCase().replaceAll("’", "'"))) return { _tag: "Silent", reason: "placeholder" }
  if (NOTHING_TO_ADD.has(bare)) return { _tag: "NothingToAdd", token: bare }
  return { _tag: "Text", text }
}

/** Cuts a reply to what a thread can hold, without splitting a surrogate pair, and says so in its last line. */
export const cutReply = (text: string, limit = MAX_REPLY_CHARACTERS): string => {
  if (text.length <= limit) return text
  const mark = `\n\n[cut: the reply had ${text.length} characters, the limit is ${limit}]`
  let end = Math.max(0, limit - mark.length)
  const code = text.charCodeAt(end - 1)
  if (code >= 0xd800 && code <= 0xdbff) end -= 1
  return text.slice(0, end) + mark
}
