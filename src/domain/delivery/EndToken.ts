/** The tokens with which an agent ends a turn without text. Prompts name two of them; the third is the gateway's. */
export type EndToken = "NO_ACTION" | "NO_REPLY" | "HEARTBEAT_OK"

/** A token within words. */
const TOKEN = /(?<=^| )(?:no_action|no_reply|heartbeat_ok)(?= |$)/gi

/** Phrases that add nothing to a token: acknowledgements, labels, and the token in other words. */
const FILLERS = [
  "loading context for heartbeat",
  "ok|okay|sure|understood|acknowledged|noted|got it|thanks|thank you|all(?: is)? (?:good|fine|well|clear|quiet)",
  "(?:there (?:is|s) |i have )?nothing (?:else |more |further |new )?to (?:add|do|report|say)(?: here| now| for now)?",
  "no (?:further |more |new )?(?:action|reply|response|answer|comment)s?(?: is)?(?: needed| required| necessary)?(?: here| now| for now| from me)?",
  "(?:my |the )?(?:final )?(?:action|answer|heartbeat|output|reply|response|result|status)(?: is)?",
  "(?:i (?:will |ll |would )?(?:answer|end|reply|respond)|answering|ending|replying|responding)(?: (?:my|the|this) turn)?(?: with)?",
  "so|therefore"
]
const FILLER = new RegExp(`^(?:(?:${FILLERS.join("|")})(?: |$))*$`, "i")

/** A text longer than this next to a token is never filler. */
const FILLER_CHARACTERS = 120

const HTML_TAG =
  /<\/?(?:p|br|hr|b|i|u|s|em|strong|code|pre|div|span|sub|sup|small|mark|kbd|li|ul|ol|h[1-6]|blockquote|response|reply|answer|output|final|result|message|text)\s*\/?>/gi
const ENTITY = /&(?:nbsp|lt|gt|quot|apos|amp|shy|zwnj|zwj|#\d{1,6}|#x[\da-f]{1,6});/gi
/** The start or end of a code block, at the end of its line. */
const FENCE = /(?:`{3,}|~{3,})[ \t]*(?:text|txt|plaintext|plain|markdown|md|json|yaml|xml|html|bash|sh)?[ \t]*$/gim
const MENTION = /(?<![\w@./-])@[a-z0-9][a-z0-9_-]{0,63}(?![\w/]|\.\w)/gi

/**
 * The words of the text with single spaces between them: without mentions, markup, punctuation, emoji and invisible
 * characters.
 */
const plainWords = (text: string): string =>
  text
    .normalize("NFKC")
    .replace(/[\p{DI}\p{M}]/gu, "")
    .replace(/&lowbar;|&#95;|&#x5f;/gi, "_")
    .replace(ENTITY, " ")
    .replace(HTML_TAG, " ")
    .replace(/\\(?:text|textbf|textit|texttt|boxed|mathrm)(?=\{)/g, " ")
    // List numbers and check boxes.
    .replace(/(?<![\p{L}\p{N}][ \t]*)\d{1,3}[.)](?=[ \t]+\S)|\[[ x]\]/giu, " ")
    .replace(FENCE, "")
    // Escapes and emphasis can split a token: NO\_ACTION, NO_**ACTION**.
    .replace(/\\(?=[\p{P}\p{S}])|[*`~]/gu, "")
    .replace(MENTION, " ")
    .replace(/[^\p{L}\p{N}_]+/gu, " ")
    .replace(/(?<=^| )_+|_+(?= |$)/g, "")
    .replace(/\bNO (?=ACTION\b|REPLY\b)/g, "NO_")
    .replace(/\bHEARTBEAT OK\b/g, "HEARTBEAT_OK")
    .trim()

/** The token, if the text contains nothing else but formatting and filler; null for any other text. */
export const onlyTokenOf = (text: string): EndToken | null => {
  const words = plainWords(text)
  const tokens = words.match(TOKEN)
  if (tokens === null) return null
  const rest = words.replace(TOKEN, "").replace(/ +/g, " ").trim()
  if (rest.length > FILLER_CHARACTERS || !FILLER.test(rest)) return null
  return tokens[0].toUpperCase() as EndToken
}

const RAW_TOKEN = String.raw`(?:NO\\?_(?:ACTION|REPLY)|HEARTBEAT\\?_OK)`
/** A token after the last sentence, with its markup. */
const LAST_WORD = new RegExp(String.raw`(?<=[.!?…:;)\]])\s+[^\p{L}\p{N}\s]*${RAW_TOKEN}[^\p{L}\p{N}]*$`, "iu")

/**
 * The text without a token on a separate line at its start or end, or after its last sentence. A token within a
 * sentence stays.
 */
export const withoutToken = (text: string): string => {
  const lines = text.split("\n")
  const hasWords = (line: string) => plainWords(line) !== ""
  const first = lines.findIndex(hasWords)
  const last = lines.findLastIndex(hasWords)
  const from = first !== -1 && onlyTokenOf(lines[first] ?? "") !== null ? first + 1 : 0
  const to = last !== -1 && onlyTokenOf(lines[last] ?? "") !== null ? last : lines.length
  return lines.slice(from, to).join("\n").replace(LAST_WORD, "").trim() || text
}
