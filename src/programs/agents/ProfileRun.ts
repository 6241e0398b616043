import { Effect, Option } from "effect"
import { planProfiles } from "../../domain/gateway/ProfilePlan.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { readGatewayConfig } from "../../layers/GatewayConfigFile.ts"
import { planSync, SyncFailed, syncProfiles } from "../../layers/Workspaces.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { sharedTexts } from "./ProfileSync.ts"

/** One run of profile sync by hand, beside whatever OPENCLAW_PROFILE_SYNC says; `defersBootOnly` leaves a working gateway alone. */
const prepare = Effect.fnUntraced(function* (defersBootOnly: boolean) {
  const config = yield* RuntimeConfig
  const texts = yield* sharedTexts
  const profiles = yield* (yield* ControlPlane).profiles
  return {
    plan: planProfiles(profiles, texts, yield* readGatewayConfig(config.gatewayConfigPath)),
    target: {
      workspaceRoot: config.workspaceRoot,
      configPath: config.gatewayConfigPath,
      bindsLoopback: Option.isNone(config.gatewayUrl),
      defersBootOnly
    }
  }
})

/** What a run would do; reads only. */
export const planProfileRun = Effect.fn("ProfileRun.planProfileRun")(function* (defersBootOnly: boolean) {
  const { plan, target } = yield* prepare(defersBootOnly)
  const steps = yield* Effect.tryPromise({
    try: () => planSync(target, plan),
    catch: (cause) => new SyncFailed({ detail: String(cause) })
  })
  return { target, steps }
})

/** Does it, and answers what was done. */
export const applyProfileRun = Effect.fn("ProfileRun.applyProfileRun")(function* (defersBootOnly: boolean) {
  const { plan, target } = yield* prepare(defersBootOnly)
  return { target, steps: yield* syncProfiles(target, plan) }
})
