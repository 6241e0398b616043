import { randomBytes } from "node:crypto"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { Scope } from "effect"
import { demoTeam } from "../account.ts"
import { launch, launchGateway } from "../launcher.ts"
import type { LaunchFailed } from "../launcher.ts"

/** A gateway that serves the demo's team. */
export type DemoGateway = { readonly url: string; readonly token: string }

const script = fileURLToPath(new URL("script.json", import.meta.url))
const realGateway = fileURLToPath(new URL("../../test/openclaw/serve.ts", import.meta.url))

/** The gateway's arguments: the demo's team and the script of its model. */
export const gatewayArgs: ReadonlyArray<string> = [
  "--agents",
  demoTeam.map(({ slug }) => slug).join(","),
  "--script",
  script
]

/** Starts the scripted gateway, or the real one with the scripted model behind it. */
export const startDemoGateway = (
  kind: "scripted" | "openclaw"
): Effect.Effect<DemoGateway, LaunchFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const token = randomBytes(16).toString("hex")
    const env = { OPENCLAW_GATEWAY_TOKEN: token }
    const gateway =
      kind === "scripted"
        ? yield* launchGateway({ args: gatewayArgs, env })
        : yield* launch({
            name: "openclaw",
            command: process.execPath,
            args: [realGateway, "--die-with-parent", ...gatewayArgs],
            env,
            readyTimeout: 600_000,
            stopTimeout: 20_000
          })
    return { url: gateway.url, token: String(gateway.ready["token"] ?? token) }
  })
