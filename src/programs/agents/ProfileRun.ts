import { Effect, Option } from "effect"
import { planProfiles } from "../../domain/gateway/ProfilePlan.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { readGatewaySettings } from "../../layers/gateway/GatewayConfigFile.ts"
import { planSync, SyncFailed, syncProfiles } from "../../layers/workspaces/Workspaces.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { sharedTexts } from "./ProfileSync.ts"

/**
 * A single run of profile sync, regardless of OPENCLAW_PROFILE_SYNC. `defersBootOnly` defers keys whose change restarts
 * the gateway.
 */
const prepare = Effect.fnUntraced(function* (defersBootOnly: boolean) {
  const config = yield* RuntimeConfig
  const texts = yield* sharedTexts
  const profiles = yield* (yield* ControlPlane).profiles
  return {
    plan: planProfiles(profiles, texts, yield* readGatewaySettings(config.gatewayConfigPath)),
    target: {
      workspaceRoot: config.workspaceRoot,
      configPath: config.gatewayConfigPath,
      bindsLoopback: Option.isNone(config.gatewayUrl),
      defersBootOnly
    }
  }
})

/** The changes that a run would make; only reads. */
export const planProfileRun = Effect.fn("ProfileRun.planProfileRun")(function* (defersBootOnly: boolean) {
  const { plan, target } = yield* prepare(defersBootOnly)
  const steps = yield* Effect.tryPromise({
    try: () => planSync(target, plan),
    catch: (cause) => new SyncFailed({ detail: String(cause) })
  })
  return { target, steps }
})

/** Makes the changes and returns them. */
export const applyProfileRun = Effect.fn("ProfileRun.applyProfileRun")(function* (defersBootOnly: boolean) {
  const { plan, target } = yield* prepare(defersBootOnly)
  return { target, steps: yield* syncProfiles(target, plan) }
})
