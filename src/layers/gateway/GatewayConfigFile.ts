/** Reads openclaw.json, and plans the change of our settings in it as a change of its text. */
import { dirname, isAbsolute } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { Effect, FileSystem } from "effect"
import { mergeGatewaySettings, SettingsUnusable } from "../../domain/gateway/GatewaySettings.ts"
import type {
  AgentSettings,
  JsonObject,
  MergedSettings,
  WrittenSettings
} from "../../domain/gateway/GatewaySettings.ts"
import { digest, messageOf, readPlain, Refused } from "../host/OwnFiles.ts"
import { readRecord } from "../workspaces/SyncRecord.ts"
import { changeJson5, Json5Unusable, readJson5 } from "./Json5Text.ts"

/** Path of the configuration, and which of our settings may change now. */
export interface ConfigTarget {
  readonly configPath: string
  readonly bindsLoopback: boolean
  readonly defersBootOnly: boolean
}

/** A planned change of the configuration. */
export interface ConfigPlan extends Omit<MergedSettings, "settings"> {
  /** The whole new text; null without a change. */
  readonly config: string | null
  /** Path for a copy of the old text if the change replaces settings that the runtime did not write; otherwise null. */
  readonly copy: string | null
}

/** The content of the configuration file; the detail of `Broken` has the path and the place, and quotes nothing. */
export type GatewayConfigFile =
  | { readonly _tag: "Read"; readonly settings: JsonObject }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Broken"; readonly detail: string }

/** Reads the configuration file as the gateway does, which follows symbolic links. Only a change refuses them. */
export const readGatewayConfig = Effect.fn("GatewayConfigFile.readGatewayConfig")(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  return yield* fileSystem.stat(path).pipe(
    // Anything else, for example a pipe, could block the read for ever.
    Effect.filterOrFail(
      ({ type }) => type === "File",
      () => broken(`${path} is not a file`)
    ),
    Effect.andThen(fileSystem.readFileString(path)),
    Effect.flatMap((text) =>
      Effect.try({
        try: (): GatewayConfigFile => ({ _tag: "Read", settings: readJson5(text) }),
        catch: (error) => broken(`${path} ${messageOf(error)}`)
      })
    ),
    Effect.catch((problem) =>
      Effect.succeed(
        problem._tag === "Broken"
          ? problem
          : problem.reason._tag === "NotFound"
            ? ({ _tag: "Absent" } satisfies GatewayConfigFile)
            : broken(`${path} (${problem.reason._tag})`)
      )
    )
  )
})

const broken = (detail: string) => ({ _tag: "Broken", detail }) as const

/** The settings in the configuration file; empty if it is absent or broken. */
export const readGatewaySettings = (path: string) =>
  Effect.map(readGatewayConfig(path), (file): JsonObject => (file._tag === "Read" ? file.settings : {}))

/** Settings that the runtime wrote while its workspaces were in another root: each root has its own record. */
const writtenElsewhere = async (foreign: MergedSettings["foreign"]): Promise<ReadonlyArray<WrittenSettings>> => {
  const written: Array<WrittenSettings> = []
  for (const { slug, workspace } of foreign) {
    if (typeof workspace !== "string" || !isAbsolute(workspace)) continue
    const record = await readRecord(dirname(workspace)).catch(() => null)
    written.push(...(record?.agents ?? []).filter((agent) => agent.slug === slug && agent.workspace === workspace))
  }
  return written
}

/** Plans the change; refuses a file that cannot be read or that has conflicting settings. */
export const planConfig = async (
  { bindsLoopback, configPath, defersBootOnly }: ConfigTarget,
  agents: ReadonlyArray<AgentSettings>,
  formerly: ReadonlyArray<WrittenSettings>
): Promise<ConfigPlan> => {
  const text = await readPlain(configPath)
  try {
    const existing = text === null ? {} : readJson5(text)
    const merge = (known: ReadonlyArray<WrittenSettings>) =>
      mergeGatewaySettings(existing, { agents, formerly: known, bindsLoopback, defersBootOnly })
    const first = merge(formerly)
    const elsewhere = await writtenElsewhere(first.foreign)
    const { settings, ...rest } = elsewhere.length === 0 ? first : merge([...formerly, ...elsewhere])
    const isNew = text === null || /^\s*\{\s*\}\s*$/.test(text)
    const isSame = text !== null && isDeepStrictEqual(settings, existing)
    return {
      ...rest,
      config: isSame ? null : isNew ? `${JSON.stringify(settings, null, 2)}\n` : changeJson5(text, settings),
      copy: text === null || rest.replaced.length === 0 ? null : `${configPath}.kept-${digest(text).slice(0, 12)}`
    }
  } catch (error) {
    if (error instanceof Json5Unusable) throw new Refused(`${configPath} ${error.message}: correct it there`)
    if (error instanceof SettingsUnusable) throw new Refused(`${configPath}: ${error.message}`)
    throw error
  }
}
