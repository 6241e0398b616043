import { Schema } from "effect"

/** The target versions of an upgrade or rollback; null for a part that does not change. */
export const VersionChange = Schema.Struct({
  id: Schema.String,
  kind: Schema.Literals(["upgrade", "rollback"]),
  runtimeVersion: Schema.NullOr(Schema.String),
  openclawVersion: Schema.NullOr(Schema.String),
  requestedAt: Schema.Finite
})
export type VersionChange = typeof VersionChange.Type

/** From when to when people watch the account's turns without a gap, in epoch milliseconds of the control plane. */
export const Watched = Schema.Struct({ since: Schema.Finite, until: Schema.Finite })
export type Watched = typeof Watched.Type

/**
 * People's commands for this runtime: pause, restart, change of version. `underway` is a change that a boot has taken.
 * `watched` is absent in the answers of earlier deployments.
 */
export const RuntimeCommands = Schema.Struct({
  paused: Schema.Boolean,
  restart: Schema.NullOr(Schema.Struct({ id: Schema.String, requestedAt: Schema.Finite })),
  upgrade: Schema.NullOr(VersionChange),
  underway: Schema.NullOr(Schema.Struct({ ...VersionChange.fields, takenBy: Schema.String })),
  watched: Schema.optionalKey(Schema.NullOr(Watched))
})
export type RuntimeCommands = typeof RuntimeCommands.Type

/** The answer of service/runtimes:protocol, and a part of the pulse's. */
export const ServedProtocols = Schema.Struct({ oldest: Schema.Finite, newest: Schema.Finite })

/** The control plane's answer to the pulse: pending commands, and everything that is also pushed. */
export const PulseAnswer = Schema.Struct({
  commands: RuntimeCommands,
  oldest: Schema.NullOr(Schema.Finite),
  nextDueAt: Schema.NullOr(Schema.Finite),
  rosterRevision: Schema.Finite,
  now: Schema.Finite,
  releasedLeases: Schema.Finite,
  /** The protocol versions that the deployment serves; absent means the first only. */
  protocol: Schema.optionalKey(ServedProtocols)
})
export type PulseAnswer = typeof PulseAnswer.Type
