import { Schema } from "effect"

/** An event of the gateway's WebSocket. */
const EventFrame = Schema.Struct({
  type: Schema.Literal("event"),
  event: Schema.String,
  payload: Schema.optionalKey(Schema.Unknown)
})

/** The answer to a request. */
const AnswerFrame = Schema.Struct({
  type: Schema.Literal("res"),
  id: Schema.String,
  ok: Schema.Boolean,
  payload: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(
    Schema.Struct({
      code: Schema.optionalKey(Schema.String),
      message: Schema.String,
      retryable: Schema.optionalKey(Schema.Boolean)
    })
  )
})

export type AnswerFrame = typeof AnswerFrame.Type

/** A frame of the gateway's WebSocket. */
export type Frame = typeof EventFrame.Type | AnswerFrame

/** A frame as it arrives: the text of a JSON object. */
export const FrameText = Schema.fromJsonString(Schema.Union([EventFrame, AnswerFrame]))
