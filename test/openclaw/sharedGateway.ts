/** The gateway and the scripted model that `npm run test:openclaw` starts once for all of its test files. */
import { Effect } from "effect"
import type { Script } from "../../local/model/script.ts"

/** A variable that run.ts sets. */
export const setting = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is missing: run npm run test:openclaw`)
  return value
}

/** The shared gateway's address and token, for `runtimeEnv`. */
export const sharedGateway = (): { readonly url: string; readonly token: string } => ({
  url: setting("OPENCLAW_TEST_URL"),
  token: setting("OPENCLAW_TEST_TOKEN")
})

/**
 * Makes the shared model play only this script. Repeating rules of an earlier test file would answer the prompts of the
 * next file.
 */
export const playScript = (script: Script): Effect.Effect<void> =>
  Effect.promise(async () => {
    const url = `${setting("OPENCLAW_TEST_MODEL_URL")}/__local/script`
    await fetch(url, { method: "DELETE" })
    const body = JSON.stringify(script)
    const response = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } })
    if (!response.ok) throw new Error(`the model refused the script: ${await response.text()}`)
  })
