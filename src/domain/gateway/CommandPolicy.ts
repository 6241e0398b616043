import { isObject } from "./GatewaySettings.ts"
import type { JsonObject } from "./GatewaySettings.ts"

/** The gateway's names for its tool that runs commands, alone and in a group. */
const commandNames: ReadonlySet<string> = new Set(["exec", "bash", "group:runtime"])
/** The gateway's tool profiles without such a tool. */
const limitedProfiles: ReadonlySet<unknown> = new Set(["minimal", "messaging"])

const namesIn = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((each) => typeof each === "string").map((each) => each.trim().toLowerCase()) : []

/** Whether one of these tools, groups or patterns may include commands. */
const mayMeanCommands = (names: ReadonlyArray<string>): boolean =>
  names.some((name) => commandNames.has(name) || name.includes("*"))

/** The tool policy of the configuration or of an agent's entry. */
const policyOf = (owner: unknown) => {
  const tools = isObject(owner) && isObject(owner["tools"]) ? owner["tools"] : {}
  const [allow, deny, alsoAllow] = [namesIn(tools["allow"]), namesIn(tools["deny"]), namesIn(tools["alsoAllow"])]
  return {
    profile: tools["profile"],
    grants: [...allow, ...alsoAllow],
    isDenied: deny.some((name) => commandNames.has(name) || name === "*"),
    isLeftOut: allow.length > 0 && !mayMeanCommands([...allow, ...alsoAllow])
  }
}

/**
 * Whether the gateway's configuration may let the agent run commands. False only if it excludes them: by `deny`, by an
 * `allow` without them, or by a profile without them. Restrictions by model or sandbox are ignored, so that every agent
 * with a shell gets the rules for it.
 */
export const mayRunCommands = (configuration: JsonObject, slug: string): boolean => {
  const { agents } = configuration
  const entries = isObject(agents) && isObject(agents["entries"]) ? agents["entries"] : {}
  const account = policyOf(configuration)
  const own = policyOf(Object.hasOwn(entries, slug) ? entries[slug] : {})
  const isLimited = limitedProfiles.has(own.profile ?? account.profile)
  if (isLimited && !mayMeanCommands([...account.grants, ...own.grants])) return false
  return ![account, own].some(({ isDenied, isLeftOut }) => isDenied || isLeftOut)
}
