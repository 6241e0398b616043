import { join } from "node:path"
import { Effect, FileSystem, Option, Schema } from "effect"
import { processIdentity } from "../host/ProcessGroup.ts"

const PidFile = Schema.Struct({
  pid: Schema.Int,
  /** Null if the system has no /proc. */
  identity: Schema.NullOr(Schema.String),
  command: Schema.String,
  args: Schema.Array(Schema.String),
  port: Schema.Int
})
const decodePidFile = Schema.decodeUnknownOption(Schema.fromJsonString(PidFile))

/** Path of the file with the process of the gateway that a runtime started. */
export const pidFileOf = (stateDir: string): string => join(stateDir, "mission-control-gateway.json")

/** The gateway that a runtime started from this state directory, if that process is still running. */
export const notedGateway = Effect.fnUntraced(function* (stateDir: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* Effect.option(fileSystem.readFileString(pidFileOf(stateDir)))
  const record = Option.flatMap(text, decodePidFile)
  const identity = Option.isSome(record) ? yield* processIdentity(record.value.pid) : null
  return Option.filter(record, (noted) => identity !== null && identity === noted.identity)
})
