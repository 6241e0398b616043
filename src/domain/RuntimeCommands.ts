import { Schema } from "effect"

/** What people asked of this runtime: to pause, to restart, to change its version. */
export const RuntimeCommands = Schema.Struct({
  paused: Schema.Boolean,
  restart: Schema.NullOr(Schema.Struct({ id: Schema.String, requestedAt: Schema.Finite })),
  upgrade: Schema.NullOr(
    Schema.Struct({
      id: Schema.String,
      kind: Schema.Literals(["upgrade", "rollback"]),
      runtimeVersion: Schema.NullOr(Schema.String),
      openclawVersion: Schema.NullOr(Schema.String),
      requestedAt: Schema.Finite
    })
  )
})
export type RuntimeCommands = typeof RuntimeCommands.Type

/** The control plane's answer to the pulse: pending commands and everything that is otherwise pushed. */
export const PulseAnswer = Schema.Struct({
  commands: RuntimeCommands,
  oldest: Schema.NullOr(Schema.Finite),
  nextDueAt: Schema.NullOr(Schema.Finite),
  rosterRevision: Schema.Finite,
  now: Schema.Finite,
  releasedLeases: Schema.Finite
})
export type PulseAnswer = typeof PulseAnswer.Type
