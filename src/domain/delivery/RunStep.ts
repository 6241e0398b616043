import { Schema } from "effect"

/** What an attempt did: a round (one request to the gateway), or a tool call over whichever transport. */
export const RunStep = Schema.Union([
  Schema.Struct({
    kind: Schema.Literal("round"),
    /** From 1. */
    round: Schema.Finite,
    durationMs: Schema.Finite,
    inputTokens: Schema.Finite,
    outputTokens: Schema.Finite,
    /** How it failed; null if it succeeded. */
    error: Schema.NullOr(Schema.String)
  }),
  Schema.Struct({
    kind: Schema.Literal("tool"),
    tool: Schema.String,
    durationMs: Schema.Finite,
    /** The code of its refusal, or how it failed; null if it succeeded. */
    error: Schema.NullOr(Schema.String)
  })
])
export type RunStep = typeof RunStep.Type
