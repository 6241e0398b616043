import { randomBytes } from "node:crypto"
import { Effect } from "effect"
import type { Scope } from "effect"
import { launchGateway, launchModel } from "../launcher.ts"
import type { LaunchFailed } from "../launcher.ts"
import type { DemoFailed } from "./demoFailed.ts"
import { demoScript, gatewayArgs } from "./demoScript.ts"
import { prepareRealGateway } from "./realGateway.ts"
import type { Story } from "./story.ts"

/** A gateway of the demo's team, whose model plays a script. */
export type DemoGateway = {
  readonly url: string
  /** The runtime's variables for it. */
  readonly env: Readonly<Record<string, string>>
  /** The server on which the script is replaced. */
  readonly scriptUrl: string
}

/** Starts the scripted gateway. */
const startScripted: Effect.Effect<DemoGateway, LaunchFailed, Scope.Scope> = Effect.gen(function* () {
  const token = randomBytes(16).toString("hex")
  const { url } = yield* launchGateway({ args: gatewayArgs, env: { OPENCLAW_GATEWAY_TOKEN: token } })
  return { url, env: { OPENCLAW_GATEWAY_URL: url, OPENCLAW_GATEWAY_TOKEN: token }, scriptUrl: url }
})

/** Prepares the real gateway, which the runtime starts, and starts a scripted model for it. */
const prepareReal = (story: Story): Effect.Effect<DemoGateway, LaunchFailed | DemoFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const model = yield* launchModel({ args: ["--script", demoScript] })
    const { env, url } = yield* prepareRealGateway(story, {
      id: "scripted",
      model: "demo",
      api: "openai-completions",
      isCustom: true,
      baseUrl: `${model.url}/v1`,
      keyName: "SCRIPTED_API_KEY",
      key: undefined
    })
    return { url, env, scriptUrl: model.url }
  })

/** The gateway of that kind, with the scripted model. */
export const startDemoGateway = (
  kind: "scripted" | "openclaw",
  story: Story
): Effect.Effect<DemoGateway, LaunchFailed | DemoFailed, Scope.Scope> =>
  kind === "scripted" ? startScripted : prepareReal(story)
