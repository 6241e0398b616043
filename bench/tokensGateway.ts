/** The gateway of `npm run bench -- tokens`: the real one if it is installed. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { installedOpenClaw, pinnedVersion } from "../local/openclaw/install.ts"
import { temporaryFolder } from "../local/temporaryFolder.ts"
import { RealGateway } from "../test/openclaw/realGateway.ts"

const installed = process.env["BENCH_GATEWAY"] === "scripted" ? undefined : installedOpenClaw(pinnedVersion)

/** Whether the real gateway answers: `npm run test:openclaw` has installed it, and BENCH_GATEWAY is not `scripted`. */
export const isReal = installed !== undefined

/** The gateway that the figures were measured with. */
export const gatewayName = isReal ? `OpenClaw ${pinnedVersion}` : "the scripted gateway"

/** Starts a real gateway with these agents; returns the runtime's variables for it. */
export const startReal = (
  modelUrl: string,
  agents: ReadonlyArray<string>
): Effect.Effect<Record<string, string>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const root = yield* temporaryFolder("mission-control-tokens-")
    const gateway = yield* Effect.acquireRelease(
      Effect.promise(() =>
        RealGateway.start({
          version: pinnedVersion,
          command: installed?.command ?? "",
          modelUrl: modelUrl.replace(/\/v1$/, ""),
          root,
          agents,
          builtIns: ["read", "write", "edit", "exec"],
          // Otherwise the gateway would have the model summarize a history that comes near the window.
          contextWindow: 1_000_000
        })
      ),
      (started) => Effect.promise(() => started.stop())
    )
    // An aborted bench must not leave a gateway of a gigabyte behind.
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const end = () => {
          gateway.kill()
          rmSync(root, { recursive: true, force: true, maxRetries: 3 })
          process.exit(130)
        }
        process.once("SIGINT", end).once("SIGTERM", end)
        return end
      }),
      (end) => Effect.sync(() => process.off("SIGINT", end).off("SIGTERM", end))
    )
    return {
      OPENCLAW_GATEWAY_URL: gateway.url,
      OPENCLAW_GATEWAY_TOKEN: gateway.token,
      OPENCLAW_PROFILE_SYNC: "true",
      OPENCLAW_CONFIG_PATH: gateway.configPath,
      OPENCLAW_WORKSPACE_ROOT: join(root, "workspaces")
    }
  })
