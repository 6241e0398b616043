import { Command } from "effect/cli"
import { liveness } from "./Liveness.ts"
import { urlFlag } from "./LocalEndpoint.ts"

/** `healthcheck`: whether the process is alive, for containers that have no other program for it. */
export const healthcheck = Command.make("healthcheck", { url: urlFlag }, ({ url }) => liveness(url)).pipe(
  Command.withDescription("Check whether the runtime on this machine is alive; exit code 0 or 1"),
  Command.withShortDescription("Check whether the runtime on this machine is alive"),
  Command.withExamples([{ command: "mission-control-runtime healthcheck", description: "A container's HEALTHCHECK" }])
)
