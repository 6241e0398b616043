import { join } from "node:path"
import { bareSettings } from "../../local/openclaw/bareSettings.ts"

export interface GatewayConfigOptions {
  readonly version: string
  readonly port: number
  readonly token: string
  /** The scripted model, without `/v1`. */
  readonly modelUrl: string
  readonly root: string
  readonly agents: ReadonlyArray<string>
  /** The built-in tools that agents get; none by default. */
  readonly builtIns?: ReadonlyArray<string>
  /** The model's context window in tokens, near which the gateway compacts a history; 128,000 by default. */
  readonly contextWindow?: number
}

/**
 * A configuration with only two agents, the responses endpoint and the scripted provider, in the form that the release
 * accepts.
 */
export const gatewayConfig = (options: GatewayConfigOptions): object => {
  const { version, root } = options
  const keyed = isAtLeast(version, "2026.8.2")
  const workspaces = options.agents.map((id) => ({ id, workspace: join(root, "workspaces", id) }))
  const roster = keyed
    ? {
        ownership: "explicit",
        entries: Object.fromEntries(workspaces.map(({ id, workspace }) => [id, { workspace }]))
      }
    : { list: workspaces.map((agent, index) => ({ ...agent, default: index === 0 })) }
  return {
    gateway: {
      mode: "local",
      port: options.port,
      bind: "loopback",
      auth: { mode: "token", token: options.token },
      http: { endpoints: { responses: { enabled: true } } },
      controlUi: { enabled: false }
    },
    models: {
      mode: "replace",
      providers: {
        fake: {
          baseUrl: `${options.modelUrl}/v1`,
          apiKey: "fake-key",
          api: "openai-completions",
          models: [
            {
              id: "fake-1",
              name: "Fake 1",
              reasoning: false,
              input: ["text"],
              cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
              contextWindow: options.contextWindow ?? 128_000,
              maxTokens: 4096
            }
          ]
        }
      }
    },
    agents: {
      defaults: {
        model: { primary: "fake/fake-1" },
        skipBootstrap: true,
        maxConcurrent: 8,
        heartbeat: { every: "0m" },
        skills: [],
        ...(isAtLeast(version, "2026.7.1") ? { utilityModel: "" } : {})
      },
      ...roster
    },
    tools: { toolSearch: false, ...(options.builtIns === undefined ? { deny: ["*"] } : { allow: options.builtIns }) },
    plugins: { enabled: false },
    ...(keyed ? { telemetry: { enabled: false }, memory: { search: { enabled: false } } } : {}),
    ...bareSettings(root)
  }
}

const isAtLeast = (version: string, floor: string): boolean => {
  const [a, b] = [version, floor].map((text) => text.split(".").map(Number))
  for (const [index, part] of (b ?? []).entries()) {
    const difference = (a?.[index] ?? 0) - part
    if (difference !== 0) return difference > 0
  }
  return true
}
