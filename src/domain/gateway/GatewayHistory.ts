import { Option, Schema } from "effect"

/** A page of a session's history, the answer of `GET /sessions/{key}/history`. Only model calls are of interest. */
const HistoryJson = Schema.Struct({
  items: Schema.Array(
    Schema.Struct({
      role: Schema.optionalKey(Schema.String),
      usage: Schema.optionalKey(
        Schema.Struct({ input: Schema.Finite, cacheRead: Schema.Finite, cacheWrite: Schema.Finite })
      )
    })
  )
})

const decodeHistory = Schema.decodeUnknownOption(Schema.fromJsonString(HistoryJson))

/**
 * The input tokens of the session's last model call, including its history; null if the answer does not contain them.
 * Unlike the usage of a response this is not a sum over the calls of the gateway's own tools.
 */
export const readHistoryTokens = (body: string): number | null => {
  const history = decodeHistory(body)
  if (Option.isNone(history)) return null
  const tokens = history.value.items.flatMap(({ role, usage }) =>
    role === "assistant" && usage !== undefined ? [usage.input + usage.cacheRead + usage.cacheWrite] : []
  )
  return tokens.findLast((count) => count > 0) ?? null
}
