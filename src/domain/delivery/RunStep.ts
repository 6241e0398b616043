import { Schema } from "effect"

const times = {
  /** From the start of the attempt; absent in steps of earlier releases. */
  startMs: Schema.optionalKey(Schema.Finite),
  durationMs: Schema.Finite
}

/** A step of an attempt: a round (one request to the gateway), or a tool call over either transport. */
export const RunStep = Schema.Union([
  Schema.Struct({
    kind: Schema.Literal("round"),
    /** From 1. */
    round: Schema.Finite,
    ...times,
    inputTokens: Schema.Finite,
    outputTokens: Schema.Finite,
    /** How it failed; null if it succeeded. */
    error: Schema.NullOr(Schema.String)
  }),
  Schema.Struct({
    kind: Schema.Literal("tool"),
    tool: Schema.String,
    ...times,
    /** The code of its refusal, or its failure; null if it succeeded. */
    error: Schema.NullOr(Schema.String)
  })
])
export type RunStep = typeof RunStep.Type

/** When a step happened. */
export type StepTimes = Required<Pick<RunStep, "startMs" | "durationMs">>
