/** The address at which this machine's runtime answers. */
import { Effect, FileSystem } from "effect"
import type { ConfigProvider } from "effect"
import { variables } from "../../domain/settings/Variables.ts"
import { ConfigInvalid } from "./ConfigChecks.ts"
import { makeReader } from "./ConfigReader.ts"

/** The base URL of a listener. A wildcard is an address to listen on, so callers use the loopback address instead. */
export const baseUrlOf = (host: string, port: number): string => {
  const reachable = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`
}

/** Reads HEALTH_HOST and HEALTH_PORT alone, so that probes need no other variable. */
export const readLocalUrl = Effect.fn("Config.readLocalUrl")(function* (provider: ConfigProvider.ConfigProvider) {
  const read = makeReader(provider, yield* FileSystem.FileSystem)
  return yield* Effect.gen(function* () {
    return baseUrlOf(yield* read.host("HEALTH_HOST", variables.HEALTH_HOST.usual), yield* read.integer("HEALTH_PORT"))
  }).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
})
