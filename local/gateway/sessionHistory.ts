import type { ServerResponse } from "node:http"
import { json } from "./httpAnswers.ts"
import type { Sessions } from "./sessions.ts"

/** Answers /sessions/KEY/history with the last model call of the session. */
export const serveHistory = (path: string, sessions: Sessions, response: ServerResponse): void => {
  const sessionKey = decodeURIComponent(path.split("/")[2] ?? "")
  const session = sessions.find(sessionKey)
  if (session === undefined) {
    const error = { message: `Session not found: ${sessionKey}`, type: "not_found" }
    return json(response, 404, { ok: false, error })
  }
  const input = session.lastCallTokens
  const usage = { input, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: input }
  const text = [{ type: "text", text: "" }]
  const items = input === 0 ? [] : [{ role: "assistant", content: text, stopReason: "stop", usage }]
  json(response, 200, { sessionKey, items, messages: items, hasMore: false })
}
