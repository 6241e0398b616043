import { join } from "node:path"
import { Effect, FileSystem, Option, Schema } from "effect"
import { processIdentity } from "../host/ProcessGroup.ts"

const PidFile = Schema.Struct({
  pid: Schema.Int,
  /** Null where the kernel does not tell. */
  identity: Schema.NullOr(Schema.String),
  command: Schema.String,
  args: Schema.Array(Schema.String),
  port: Schema.Int
})
const decodePidFile = Schema.decodeUnknownOption(Schema.fromJsonString(PidFile))

/** Where the runtime that starts a gateway notes its process. */
export const pidFileOf = (stateDir: string): string => join(stateDir, "mission-control-gateway.json")

/** The gateway that a runtime has started from this state folder, if that process is still running. */
export const notedGateway = Effect.fnUntraced(function* (stateDir: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* Effect.option(fileSystem.readFileString(pidFileOf(stateDir)))
  const record = Option.flatMap(text, decodePidFile)
  const identity = Option.isSome(record) ? yield* processIdentity(record.value.pid) : null
  return Option.filter(record, (noted) => identity !== null && identity === noted.identity)
})
