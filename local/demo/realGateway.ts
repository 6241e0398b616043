/** The real gateway of the demonstration: its installation, its settings and the runtime's variables for it. */
import { mkdirSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { Scope } from "effect"
import { freePort } from "../launcher.ts"
import { bareSettings } from "../openclaw/bareSettings.ts"
import { type InstalledOpenClaw, installedOpenClaw, installOpenClaw, pinnedVersion } from "../openclaw/install.ts"
import { temporaryFolder } from "../temporaryFolder.ts"
import { DemoFailed } from "./demoFailed.ts"
import type { Provider } from "./provider.ts"
import type { Story } from "./story.ts"

/** How often the progress of the installation is printed, in packages. */
const progressStep = 100

/** Returns the supported release of OpenClaw, and installs it once if it is missing. */
const provideOpenClaw = (story: Story): Effect.Effect<InstalledOpenClaw, DemoFailed> =>
  Effect.gen(function* () {
    const found = installedOpenClaw(pinnedVersion)
    if (found !== undefined) return found
    story.say(`Installing OpenClaw ${pinnedVersion} in test/openclaw of this checkout (650 MB, only once) ...`)
    const installed = yield* Effect.tryPromise({
      try: (signal) =>
        installOpenClaw(pinnedVersion, {
          signal,
          onPackage: (count) => {
            if (count % progressStep === 0) story.say(`    ${count} packages`)
          }
        }),
      catch: (error) =>
        new DemoFailed({
          reason: `OpenClaw ${pinnedVersion} could not be installed: ${error instanceof Error ? error.message : String(error)}`
        })
    })
    story.say("    installed")
    return installed
  })

/** Tokens of a model that OpenClaw does not know. Ollama reserves memory for all of them. */
const contextWindow = 64_000

/**
 * The settings of the gateway; profile sync adds the agents. They never contain the key, which the gateway reads from
 * its environment. The agents get none of the gateway's tools, so that they cannot touch the newcomer's files.
 */
const settingsFor = ({ api, baseUrl, id, isCustom, key, keyName, model }: Provider, root: string): object => {
  const name = `${id}/${model}`
  const custom = {
    baseUrl,
    api,
    apiKey: key === undefined ? "no-key" : `\${${keyName}}`,
    models: [{ id: model, name: model, reasoning: false, input: ["text"], contextWindow, maxTokens: 8_192 }]
  }
  return {
    gateway: { auth: { mode: "token" }, controlUi: { enabled: false } },
    ...(isCustom ? { models: { mode: "replace", providers: { [id]: custom } } } : {}),
    agents: {
      ownership: "explicit",
      defaults: {
        model: { primary: name },
        utilityModel: "",
        // Answers faster and costs less.
        thinkingDefault: "low",
        skills: [],
        // Otherwise OpenClaw may have another program run the turns of some models.
        models: { [name]: { agentRuntime: { id: "openclaw" } } }
      },
      entries: {}
    },
    tools: { deny: ["*"] },
    plugins: isCustom ? { enabled: false } : { allow: [id] },
    telemetry: { enabled: false },
    memory: { search: { enabled: false } },
    ...bareSettings(root)
  }
}

/** Node.js keeps compiled code here, so that the next start is faster. OpenClaw's default is a shared temporary folder. */
const compileCache = fileURLToPath(new URL("../../node_modules/.cache/node", import.meta.url))

/** A gateway that the runtime starts, and the folder with all that belongs to it. */
export interface RealGateway {
  readonly url: string
  /** The runtime's variables. */
  readonly env: Readonly<Record<string, string>>
  readonly folder: string
  /** The folder of OpenClaw's package. */
  readonly packageFolder: string
}

/** Installs OpenClaw if it is missing, and writes the settings into a folder that the scope removes. */
export const prepareRealGateway = (
  story: Story,
  provider: Provider
): Effect.Effect<RealGateway, DemoFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const { folder: packageFolder, program } = yield* provideOpenClaw(story)
    const port = yield* freePort
    const folder = yield* temporaryFolder("mission-control-demo-")
    const stateDir = join(folder, "state")
    const temporary = join(folder, "tmp")
    const configPath = join(stateDir, "openclaw.json")
    yield* Effect.sync(() => {
      for (const path of [stateDir, temporary]) mkdirSync(path, { mode: 0o700 })
      writeFileSync(configPath, JSON.stringify(settingsFor(provider, folder), null, 2), { mode: 0o600 })
    })
    return {
      url: `http://127.0.0.1:${port}`,
      folder,
      packageFolder,
      env: {
        HOME: folder,
        TMPDIR: temporary,
        NODE_COMPILE_CACHE: compileCache,
        PATH: [dirname(process.execPath), process.env["PATH"]].join(delimiter),
        OPENCLAW_GATEWAY_PATH: program,
        OPENCLAW_GATEWAY_PORT: String(port),
        OPENCLAW_STATE_DIR: stateDir,
        OPENCLAW_CONFIG_PATH: configPath,
        OPENCLAW_PROFILE_SYNC: "true",
        OPENCLAW_NO_AUTO_UPDATE: "1",
        OPENCLAW_DISABLE_BONJOUR: "1"
      }
    }
  })
