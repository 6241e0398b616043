/** A real gateway for one test, with the tools and the model that it needs. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { RealGateway } from "./realGateway.ts"
import { setting } from "./sharedGateway.ts"

/** Starts the gateway in the new folder `root`. The end of the scope stops it and removes the folder. */
export const startGateway = Effect.fnUntraced(function* (options: {
  readonly name: string
  readonly modelUrl: string
  readonly builtIns: ReadonlyArray<string>
}) {
  const { builtIns, modelUrl, name } = options
  const root = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), `mission-control-${name}-`))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  )
  const gateway = yield* Effect.acquireRelease(
    Effect.promise(() =>
      RealGateway.start({
        version: setting("OPENCLAW_TEST_VERSION"),
        command: setting("OPENCLAW_TEST_COMMAND"),
        modelUrl,
        root,
        builtIns
      })
    ),
    (started) => Effect.promise(() => started.stop())
  )
  return { gateway, root }
})
