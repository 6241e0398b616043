/** Compares the schemas of two releases' configurations with the settings that the runtime writes and reads. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { InstalledOpenClaw } from "../../local/openclaw/install.ts"
import { isObject, mergeGatewaySettings } from "../../src/domain/gateway/GatewaySettings.ts"

/** A JSON schema, as far as the comparison reads it. */
export interface ConfigSchema {
  readonly properties?: Readonly<Record<string, ConfigSchema>>
  readonly additionalProperties?: ConfigSchema | boolean
  readonly items?: ConfigSchema
  readonly anyOf?: ReadonlyArray<ConfigSchema>
  readonly oneOf?: ReadonlyArray<ConfigSchema>
  readonly allOf?: ReadonlyArray<ConfigSchema>
}

/** How the newer release's configuration differs, as settings with dots; `*` is any name, and `[]` an item. */
export interface ConfigChanges {
  /** Settings that the runtime writes or reads and that the newer release does not have. */
  readonly broken: ReadonlyArray<string>
  /** Those that are gone and new, without the settings inside of them. */
  readonly removed: ReadonlyArray<string>
  readonly added: ReadonlyArray<string>
}

const AGENT = "engineer"

const pathsOf = (value: object, above: string): ReadonlyArray<string> =>
  Object.entries(value).flatMap(([key, inner]) => {
    const path = `${above}${key === AGENT ? "*" : key}`
    return isObject(inner) && Object.keys(inner).length > 0 ? pathsOf(inner, `${path}.`) : [path]
  })

/** The settings that profile sync writes, and those that the gateway needs from a person. */
export const usedSettings: ReadonlyArray<string> = pathsOf(
  mergeGatewaySettings(
    { gateway: { auth: { mode: "token", token: "" } }, session: { resetByType: { direct: { mode: "daily" } } } },
    {
      agents: [{ slug: AGENT, workspace: "/workspace", skills: ["skill"], model: "provider/model" }],
      formerly: [],
      bindsLoopback: true,
      defersBootOnly: false
    }
  ).settings,
  ""
)

const addPaths = (schema: ConfigSchema, above: string, paths: Set<string>): void => {
  const { additionalProperties, allOf = [], anyOf = [], items, oneOf = [], properties = {} } = schema
  const inner = Object.entries(properties)
  if (typeof additionalProperties === "object") inner.push(["*", additionalProperties])
  for (const [key, each] of inner) {
    const path = above === "" ? key : `${above}.${key}`
    paths.add(path)
    addPaths(each, path, paths)
  }
  if (items !== undefined) addPaths(items, `${above}[]`, paths)
  for (const each of [...anyOf, ...oneOf, ...allOf]) addPaths(each, above, paths)
}

const settingsOf = (schema: ConfigSchema): ReadonlySet<string> => {
  const paths = new Set<string>()
  addPaths(schema, "", paths)
  return paths
}

/** The settings that only the first schema has, without those inside of others. */
const onlyIn = (one: ReadonlySet<string>, other: ReadonlySet<string>): ReadonlyArray<string> =>
  [...one].filter((path) => {
    const above = path.slice(0, path.lastIndexOf(".")).replace(/(\[\])+$/, "")
    return !other.has(path) && (!path.includes(".") || other.has(above) || !one.has(above))
  })

/** Compares the schema of a newer release with an older one. */
export const compareConfig = (older: ConfigSchema, newer: ConfigSchema): ConfigChanges => {
  const [before, after] = [settingsOf(older), settingsOf(newer)]
  return {
    broken: usedSettings.filter((path) => !after.has(path)),
    removed: onlyIn(before, after),
    added: onlyIn(after, before)
  }
}

/** The schema that an installed release prints. Throws if it prints none. */
export const readConfigSchema = ({ command }: InstalledOpenClaw): ConfigSchema => {
  const home = mkdtempSync(join(tmpdir(), "mission-control-openclaw-schema-"))
  try {
    const printed = execFileSync(process.execPath, [command, "config", "schema"], {
      cwd: home,
      env: { PATH: process.env["PATH"], HOME: home, OPENCLAW_STATE_DIR: home, OPENCLAW_OFFLINE: "1", NO_COLOR: "1" },
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
      stdio: ["ignore", "pipe", "pipe"]
    })
    return JSON.parse(printed)
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 3 })
  }
}
