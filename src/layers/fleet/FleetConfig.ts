import type { Redacted } from "effect"
import { ConfigProvider, Context, Effect, FileSystem, Layer, Option, Result } from "effect"
import { readDeploymentUrl } from "../../domain/settings/EnvironmentValue.ts"
import { ConfigInvalid } from "../Config.ts"
import { makeReader } from "../config/ConfigReader.ts"

/** What the commands for a fleet need of the environment: the deployment and its key. */
export class FleetConfig extends Context.Service<
  FleetConfig,
  { readonly convexUrl: string; readonly deployKey: Redacted.Redacted }
>()("runtime-service/layers/fleet/FleetConfig") {
  /** Reads the environment; fails with every problem. */
  static readonly layer = Layer.effect(
    FleetConfig,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const read = makeReader(yield* ConfigProvider.ConfigProvider, yield* FileSystem.FileSystem)
  const convexUrl = yield* Effect.result(
    read.required("CONVEX_URL", readDeploymentUrl, "the deployment's address, e.g. https://name-123.convex.cloud")
  )
  const deployKey = yield* Effect.result(
    Effect.flatMap(
      read.secret("CONVEX_DEPLOY_KEY"),
      Option.match({
        onNone: () => Effect.fail("CONVEX_DEPLOY_KEY is missing: set it to a deploy key of the deployment"),
        onSome: Effect.succeed
      })
    )
  )
  if (Result.isFailure(convexUrl) || Result.isFailure(deployKey)) {
    const problemsOf = Result.match({ onSuccess: () => [], onFailure: (problem: string) => [problem] })
    return yield* new ConfigInvalid({ problems: [...problemsOf(convexUrl), ...problemsOf(deployKey)] })
  }
  return FleetConfig.of({ convexUrl: convexUrl.success, deployKey: deployKey.success })
})
