import { withoutToken } from "../delivery/EndToken.ts"
import type { SpokenText } from "../delivery/Silence.ts"
import type { HeartbeatTask } from "./Heartbeat.ts"

/** An agent's answer to a heartbeat in which there is nothing to do. */
export const HEARTBEAT_OK = "HEARTBEAT_OK"

/** A line that some agents write before the token while they read their workspace. */
const LOADING_LINE = /^loading context for heartbeat[.…]*$/i

/** The meaning of the final text of a heartbeat's turn. */
export type HeartbeatReply =
  /** Nothing to do; `isStray` if there was a short remark next to the token, which is not posted. */
  | { readonly _tag: "Ok"; readonly isStray: boolean }
  /** Nothing to post: no text, or a placeholder. */
  | { readonly _tag: "Silent"; readonly reason: string }
  | { readonly _tag: "Text"; readonly text: string }

/** The token as the first or last word of a text, with any markup around it. */
const AT_AN_END =
  /^[^\p{L}\p{N}]*HEARTBEAT\\?_OK(?![\p{L}\p{N}_])[*_`~.,:;!]*|(?<![\p{L}\p{N}_])HEARTBEAT\\?_OK[^\p{L}\p{N}]*$/giu

/**
 * A remark next to the token of at most this length is not posted. The gateway uses the same limit for its heartbeats.
 */
const REMARK_CHARACTERS = 300

const MENTION = /(?<![\w@.])@[a-z0-9]/i

/** Reads the final text of a heartbeat's turn. */
export const readHeartbeatReply = (spoken: SpokenText): HeartbeatReply => {
  switch (spoken._tag) {
    case "Silent":
      return { _tag: "Silent", reason: spoken.reason }
    case "NothingToAdd":
      return { _tag: "Ok", isStray: false }
    case "Text": {
      const lines = spoken.text.split("\n").filter((line) => line.trim() !== "")
      if (lines.every((line) => LOADING_LINE.test(line.trim()))) {
        return { _tag: "Silent", reason: "only that it loads its context" }
      }
      const text = withoutToken(spoken.text).replace(AT_AN_END, "").trim()
      const isRemark = text !== spoken.text && text.length <= REMARK_CHARACTERS && !MENTION.test(text)
      return isRemark ? { _tag: "Ok", isStray: true } : { _tag: "Text", text }
    }
  }
}

const ID_CHARACTER = /[A-Za-z0-9_-]/

/** The position of the id as a separate word in the text; -1 if there is none. */
const positionOf = (text: string, id: string): number => {
  for (let at = text.indexOf(id); at >= 0; at = text.indexOf(id, at + 1)) {
    const before = text[at - 1] ?? " "
    const after = text[at + id.length] ?? " "
    if (!ID_CHARACTER.test(before) && !ID_CHARACTER.test(after)) return at
  }
  return -1
}

/**
 * The task in whose thread a heartbeat's text is posted: the first offered task whose id the text contains, otherwise
 * the first offered one; null if there is none.
 */
export const focusTaskOf = (text: string, offered: ReadonlyArray<HeartbeatTask>): HeartbeatTask | null => {
  const named = offered
    .map((row) => ({ row, at: positionOf(text, row.task.id) }))
    .filter(({ at }) => at >= 0)
    .toSorted((left, right) => left.at - right.at)
  return named[0]?.row ?? offered[0] ?? null
}
