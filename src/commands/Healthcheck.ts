import { Command } from "effect/cli"
import { liveness } from "./Liveness.ts"
import { urlFlag } from "./LocalEndpoint.ts"

/** `healthcheck`: whether the process lives, for a container's health check without any other program. */
export const healthcheck = Command.make("healthcheck", { url: urlFlag }, ({ url }) => liveness(url)).pipe(
  Command.withDescription("Say whether the runtime of this machine lives: exit code 0 or 1"),
  Command.withExamples([
    { command: "mission-control-runtime healthcheck", description: "As HEALTHCHECK of a container" }
  ])
)
