/** A JSON object, as a configuration file holds it. */
export type JsonObject = { readonly [key: string]: unknown }

/** What the gateway's configuration says of one of our agents. */
export interface AgentSettings {
  readonly slug: string
  /** Absolute. */
  readonly workspace: string
  /** The only skills that the agent may use, by name. */
  readonly skills: ReadonlyArray<string>
  /** Provider and model, e.g. `openai/gpt-5`; null leaves it to the gateway's default. */
  readonly model: string | null
}

/** What is to stand in the configuration, and what of it we wrote earlier. */
export interface SettingsWish {
  readonly agents: ReadonlyArray<AgentSettings>
  /** Agents that we wrote earlier, with their workspaces; those that are not wished for any more go. */
  readonly formerly: ReadonlyArray<Pick<AgentSettings, "slug" | "workspace">>
  /** Whether the gateway is to listen on this machine alone where its configuration does not say. */
  readonly bindsLoopback: boolean
  /** Whether keys wait for which the gateway restarts itself. */
  readonly defersBootOnly: boolean
}

/** The merged configuration, and the keys that were left for later. */
export interface MergedSettings {
  readonly settings: JsonObject
  readonly deferred: ReadonlyArray<string>
}

/** Our part cannot stand in this configuration; the message names the key. */
export class SettingsUnusable extends Error {}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The object with the value at that path; objects on the way are made, everything beside it stays as and where it is. */
const set = (object: JsonObject, path: ReadonlyArray<string>, value: unknown, above = ""): JsonObject => {
  const [key = "", ...rest] = path
  if (rest.length === 0) return { ...object, [key]: value }
  const name = `${above}${key}`
  const inner = Object.hasOwn(object, key) ? object[key] : {}
  if (!isObject(inner)) throw new SettingsUnusable(`${name} must be an object`)
  return { ...object, [key]: set(inner, rest, value, `${name}.`) }
}

const get = (object: JsonObject, path: ReadonlyArray<string>): unknown => {
  let value: unknown = object
  for (const key of path) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key]
  }
  return value
}

const without = (object: JsonObject, keys: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)))

const entriesPath = ["agents", "entries"]

/** What client tools and our heartbeats need of the gateway; it takes these over without a restart. */
const always: ReadonlyArray<readonly [ReadonlyArray<string>, unknown]> = [
  // Hidden behind Tool Search our tools would never be called.
  [["tools", "toolSearch"], false],
  [["tools", "sessions", "visibility"], "self"],
  [["gateway", "http", "endpoints", "responses", "enabled"], true],
  // Heartbeats are ours; the gateway's own would answer nobody.
  [["agents", "defaults", "heartbeat", "every"], "0m"],
  // The workspaces' first texts are ours too.
  [["agents", "defaults", "skipBootstrap"], true]
]

const withAgent = (settings: JsonObject, agent: AgentSettings): JsonObject => {
  const path = [...entriesPath, agent.slug]
  let next = set(settings, [...path, "workspace"], agent.workspace)
  next = set(next, [...path, "skills"], [...agent.skills])
  if (agent.model !== null) return set(next, [...path, "model"], agent.model)
  const entry = get(next, path)
  return isObject(entry) ? set(next, path, without(entry, ["model"])) : next
}

const withoutAgent = (
  settings: JsonObject,
  { slug, workspace }: Pick<AgentSettings, "slug" | "workspace">
): JsonObject => {
  const entry = get(settings, [...entriesPath, slug])
  const entries = get(settings, entriesPath)
  // With another workspace it has become somebody else's agent.
  if (!isObject(entries) || !isObject(entry) || entry["workspace"] !== workspace) return settings
  const rest = without(entry, ["workspace", "skills", "model"])
  return Object.keys(rest).length === 0
    ? set(settings, entriesPath, without(entries, [slug]))
    : set(settings, [...entriesPath, slug], rest)
}

/**
 * The configuration with our part in it and every other key as it was; throws SettingsUnusable where an object of ours
 * cannot stand. Merging again changes nothing.
 */
export const mergeGatewaySettings = (existing: JsonObject, wish: SettingsWish): MergedSettings => {
  if (get(existing, ["agents", "list"]) !== undefined) {
    throw new SettingsUnusable(
      "agents.list is the form of releases before 2026.8.2: `openclaw doctor --fix` makes agents.entries of it"
    )
  }
  let settings = existing
  for (const former of wish.formerly) {
    if (!wish.agents.some(({ slug }) => slug === former.slug)) settings = withoutAgent(settings, former)
  }
  settings = set(settings, ["agents", "ownership"], "explicit")
  const entries = get(settings, entriesPath)
  if (entries === undefined) settings = set(settings, entriesPath, {})
  else if (!isObject(entries)) throw new SettingsUnusable("agents.entries must be an object")
  for (const agent of wish.agents) settings = withAgent(settings, agent)
  for (const [path, value] of always) settings = set(settings, path, value)
  const bootOnly: Array<readonly [ReadonlyArray<string>, unknown]> = [[["gateway", "mode"], "local"]]
  if (wish.bindsLoopback && get(settings, ["gateway", "bind"]) === undefined) {
    bootOnly.push([["gateway", "bind"], "loopback"])
  }
  const changed = bootOnly.filter(([path, value]) => get(settings, path) !== value)
  if (wish.defersBootOnly) return { settings, deferred: changed.map(([path]) => path.join(".")) }
  for (const [path, value] of changed) settings = set(settings, path, value)
  return { settings, deferred: [] }
}
