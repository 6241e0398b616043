import { cut } from "../text/Text.ts"
import { onlyTokenOf } from "./EndToken.ts"
import type { EndToken } from "./EndToken.ts"

/** The meaning of a turn's final text: text for the thread, "nothing to add", or no answer. */
export type SpokenText =
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "NothingToAdd"; readonly token: EndToken }
  | { readonly _tag: "Silent"; readonly reason: string }

/** The rest of an unfinished NO_REPLY that the gateway leaves. */
const CUT_TOKENS = new Set(["NO", "NO_"])

/** Placeholders of the gateway or its tools for a model without an answer (versions 2026.2.19 to 2026.9.6). */
const PLACEHOLDERS = new Set([
  "no response from openclaw",
  "no reply from agent",
  "no response from agent",
  "no response generated. please try again",
  "agent couldn't generate a response",
  "agent couldn't generate a response. please try again"
])

const isPlaceholder = (text: string): boolean =>
  PLACEHOLDERS.has(
    text
      .toLowerCase()
      .replaceAll("’", "'")
      .replace(/^⚠️?\s*|[.!]+$/gu, "")
  )

/** The gateway's text for a model without an answer after a failed tool call, e.g. "⚠️ Message Send blocked". */
const BLOCKED_TOOL = /^⚠️ (?:🧩 )?[^\n]{1,100} blocked$/u

/**
 * Longer replies are cut with a mark. The control plane stores a reply too long for the thread as a document of at most
 * this length.
 */
export const MAX_REPLY_CHARACTERS = 200_000

/** A `@slug` at the start of a text with the separator after it. `@scope/name` and addresses do not count. */
const LEADING_MENTION = /^@[a-z0-9][a-z0-9_-]{0,63}(?:[\s,:]+|$)/i

/** The text without leading `@slug`s, because a placeholder may follow them. */
const withoutLeadingMentions = (text: string): string => {
  let rest = text
  for (let match = LEADING_MENTION.exec(rest); match !== null; match = LEADING_MENTION.exec(rest)) {
    rest = rest.slice(match[0].length)
  }
  return rest
}

/** Reads the final text of a turn. Tokens and placeholders count only without any other text. */
export const readSpokenText = (raw: string): SpokenText => {
  const text = raw.trim()
  const bare = withoutLeadingMentions(text).trim()
  if (bare === "") return { _tag: "Silent", reason: text === "" ? "empty text" : "only mentions" }
  if (CUT_TOKENS.has(bare)) return { _tag: "Silent", reason: bare }
  if (BLOCKED_TOOL.test(bare) || isPlaceholder(bare)) return { _tag: "Silent", reason: "placeholder" }
  const token = onlyTokenOf(text)
  return token === null ? { _tag: "Text", text } : { _tag: "NothingToAdd", token }
}

/**
 * Cuts a reply to the length that the control plane can store, without splitting a surrogate pair, and adds a note as
 * the last line.
 */
export const cutReply = (text: string, limit = MAX_REPLY_CHARACTERS): string =>
  cut(text, limit, `\n\n[cut: the reply had ${text.length} characters, the limit is ${limit}]`)
