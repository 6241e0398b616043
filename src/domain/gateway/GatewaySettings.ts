/** A JSON object, such as a configuration file. */
export type JsonObject = { readonly [key: string]: unknown }

/** The settings of one of the account's agents in the gateway's configuration. */
export interface AgentSettings {
  readonly slug: string
  /** Absolute. */
  readonly workspace: string
  /** The only skills that the agent may use, by name. */
  readonly skills: ReadonlyArray<string>
  /** Provider and model, e.g. `openai/gpt-5`; null means the gateway's default. */
  readonly model: string | null
}

/** The settings of an agent that the runtime wrote; it did not write those that are absent. */
export interface WrittenSettings {
  readonly slug: string
  readonly workspace: string
  readonly skills?: ReadonlyArray<string>
  readonly model?: string
}

/** The settings to write, and those that the runtime wrote earlier. */
export interface SettingsWish {
  readonly agents: ReadonlyArray<AgentSettings>
  /** The settings written earlier, possibly several of an agent. Agents that are no longer in `agents` are removed. */
  readonly formerly: ReadonlyArray<WrittenSettings>
  /** Whether the gateway should listen on loopback only, unless its configuration sets an address. */
  readonly bindsLoopback: boolean
  /** Whether keys whose change makes the gateway restart are deferred. */
  readonly defersBootOnly: boolean
}

/** The merged configuration, and which keys were changed or not. */
export interface MergedSettings {
  readonly settings: JsonObject
  /** Keys whose change was deferred. */
  readonly deferred: ReadonlyArray<string>
  /** Keys whose value was replaced although the runtime had not written it. */
  readonly replaced: ReadonlyArray<string>
  /** Keys of agents that were kept because the runtime had not written them. */
  readonly kept: ReadonlyArray<string>
  /** Agents with a workspace that the runtime did not choose. Their entries are not changed at all. */
  readonly foreign: ReadonlyArray<{ readonly slug: string; readonly workspace: unknown }>
  /** The settings that the runtime has now written. */
  readonly written: ReadonlyArray<WrittenSettings>
}

/** The runtime's settings do not fit into this configuration; the message names the key. */
export class SettingsUnusable extends Error {}

/** Whether the value is an object with keys. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The object with the value at the path. Missing objects are created; other keys keep their values and order. */
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

/** Settings for client tools, sessions and heartbeats, which the gateway applies without a restart. */
const always: ReadonlyArray<readonly [ReadonlyArray<string>, unknown]> = [
  // Agents would not find the runtime's tools behind Tool Search.
  [["tools", "toolSearch"], false],
  [["tools", "sessions", "visibility"], "self"],
  [["gateway", "http", "endpoints", "responses", "enabled"], true],
  // The runtime sends heartbeats. Answers to the gateway's heartbeats would be lost.
  [["agents", "defaults", "heartbeat", "every"], "0m"],
  // The runtime writes the first texts of workspaces too.
  [["agents", "defaults", "skipBootstrap"], true],
  // A reset session loses its history.
  [["session", "reset", "mode"], "none"]
]

/** The gateway treats the agents' sessions as direct messages, and a policy for that type overrides `session.reset`. */
const directReset = ["session", "resetByType", "direct"]

/** The setting that makes the gateway reset the agents' sessions, with its mode; null if there is none. */
export const sessionReset = (settings: JsonObject): { readonly key: string; readonly mode: unknown } | null => {
  const base = get(settings, ["session", "reset"])
  const baseMode = isObject(base) ? (base["mode"] ?? "daily") : "none"
  const direct = get(settings, directReset)
  const path = isObject(direct) ? directReset : ["session", "reset"]
  const directMode = isObject(direct) ? (direct["mode"] ?? (baseMode === "none" ? "daily" : baseMode)) : baseMode
  return directMode === "none" ? null : { key: [...path, "mode"].join("."), mode: directMode }
}

const isEqual = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

/** Whether the runtime wrote the entry's value. */
const isOurs = (
  formerly: ReadonlyArray<WrittenSettings>,
  slug: string,
  key: "workspace" | "skills" | "model",
  value: unknown
): boolean => formerly.some((former) => former.slug === slug && isEqual(former[key], value))

/**
 * The settings with an agent's entry. The control plane's value replaces one that the runtime did not write; without a
 * skill or model in the control plane, such a value stays.
 */
const withAgent = (settings: JsonObject, agent: AgentSettings, formerly: ReadonlyArray<WrittenSettings>) => {
  const { slug, workspace } = agent
  const path = [...entriesPath, slug]
  let next = set(settings, [...path, "workspace"], workspace)
  const replaced: Array<string> = []
  const kept: Array<string> = []
  const written: { skills?: ReadonlyArray<string>; model?: string } = {}
  const write = <K extends "skills" | "model">(key: K, wanted: AgentSettings[K], says: boolean) => {
    const found = get(settings, [...path, key])
    const isForeign = found !== undefined && !isEqual(found, wanted) && !isOurs(formerly, slug, key, found)
    if (isForeign) (says ? replaced : kept).push([...path, key].join("."))
    if (isForeign && !says) return
    if (wanted !== null) {
      next = set(next, [...path, key], wanted)
      Object.assign(written, { [key]: wanted })
    } else {
      const entry = get(next, path)
      if (isObject(entry)) next = set(next, path, without(entry, [key]))
    }
  }
  write("skills", [...agent.skills], agent.skills.length > 0)
  write("model", agent.model, agent.model !== null)
  return { settings: next, replaced, kept, written: { slug, workspace, ...written } }
}

const withoutAgent = (
  settings: JsonObject,
  { slug, workspace }: WrittenSettings,
  formerly: ReadonlyArray<WrittenSettings>
): JsonObject => {
  const entry = get(settings, [...entriesPath, slug])
  const entries = get(settings, entriesPath)
  // With another workspace the entry is no longer the runtime's.
  if (!isObject(entries) || !isObject(entry) || entry["workspace"] !== workspace) return settings
  const ours = (["skills", "model"] as const).filter((key) => isOurs(formerly, slug, key, entry[key]))
  const rest = without(entry, ["workspace", ...ours])
  return Object.keys(rest).length === 0
    ? set(settings, entriesPath, without(entries, [slug]))
    : set(settings, [...entriesPath, slug], rest)
}

/**
 * Merges the runtime's settings into the configuration and keeps all other keys. Throws SettingsUnusable if a value is
 * in the place of an object. Merging again changes nothing.
 */
export const mergeGatewaySettings = (existing: JsonObject, wish: SettingsWish): MergedSettings => {
  if (get(existing, ["agents", "list"]) !== undefined) {
    throw new SettingsUnusable(
      "agents.list is the format of releases before 2026.8.2: run `openclaw doctor --fix` to convert it to agents.entries"
    )
  }
  const { formerly } = wish
  let settings = existing
  for (const former of formerly) {
    if (!wish.agents.some(({ slug }) => slug === former.slug)) settings = withoutAgent(settings, former, formerly)
  }
  settings = set(settings, ["agents", "ownership"], "explicit")
  const entries = get(settings, entriesPath)
  if (entries === undefined) settings = set(settings, entriesPath, {})
  else if (!isObject(entries)) throw new SettingsUnusable("agents.entries must be an object")
  const replaced: Array<string> = []
  const kept: Array<string> = []
  const foreign: Array<MergedSettings["foreign"][number]> = []
  const written: Array<WrittenSettings> = []
  for (const agent of wish.agents) {
    const { slug } = agent
    const workspace = get(settings, [...entriesPath, slug, "workspace"])
    const isForeign = ![undefined, agent.workspace].some((ours) => ours === workspace)
    if (isForeign && !isOurs(formerly, slug, "workspace", workspace)) {
      foreign.push({ slug, workspace })
      kept.push([...entriesPath, slug].join("."))
      written.push(...formerly.filter((former) => former.slug === slug))
      continue
    }
    const merged = withAgent(settings, agent, formerly)
    settings = merged.settings
    replaced.push(...merged.replaced)
    kept.push(...merged.kept)
    written.push(merged.written)
  }
  const bootOnly: Array<readonly [ReadonlyArray<string>, unknown]> = [[["gateway", "mode"], "local"]]
  if (wish.bindsLoopback && get(settings, ["gateway", "bind"]) === undefined) {
    bootOnly.push([["gateway", "bind"], "loopback"])
  }
  const changed = bootOnly.filter(([path, value]) => get(settings, path) !== value)
  const hasDirectReset = get(settings, directReset) !== undefined
  const fixed: typeof always = [
    ...always,
    ...(hasDirectReset ? [[[...directReset, "mode"], "none"] as const] : []),
    ...(wish.defersBootOnly ? [] : changed)
  ]
  for (const [path, value] of fixed) {
    const found = get(settings, path)
    if (found !== undefined && found !== value) replaced.push(path.join("."))
    settings = set(settings, path, value)
  }
  const deferred = wish.defersBootOnly ? changed.map(([path]) => path.join(".")) : []
  return { settings, deferred, replaced, kept, foreign, written }
}
