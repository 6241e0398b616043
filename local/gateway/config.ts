import { readFileSync, watch } from "node:fs"
import { basename, dirname } from "node:path"
import { evaluate, parse } from "@humanwhocodes/momoa"
import { z } from "zod"

/** The parts of OpenClaw's configuration that the scripted gateway uses. */
export interface GatewayConfig {
  /** Agent ids, in the order of the roster. */
  readonly agents: ReadonlyArray<string>
  /** Workspace and allowed skills by agent; absent for agents that have none. */
  readonly workspaces: Readonly<Record<string, Workspace>>
  readonly token: string | undefined
  /** Read only at the start: like the real gateway, it ignores a later change of the port. */
  readonly port: number | undefined
  /** Number of concurrent runs; the real default is max(8, 4 x CPUs). */
  readonly maxConcurrent: number
  /** Whether client tools are hidden behind Tool Search; undefined means the release's default. */
  readonly toolSearch: boolean | undefined
  /** Whether `tools.deny` is `*`, which also denies the tools of Tool Search. */
  readonly deniesAll: boolean
  /** Whether POST /v1/responses exists. */
  readonly responses: boolean
}

export interface Workspace {
  readonly folder: string
  /** All skills if undefined. None if every tool is denied, because an agent could not read them. */
  readonly skills: ReadonlyArray<string> | undefined
}

export const defaultConfig: GatewayConfig = {
  agents: ["alpha", "beta"],
  workspaces: {},
  token: undefined,
  port: undefined,
  maxConcurrent: 8,
  toolSearch: false,
  deniesAll: false,
  responses: true
}

/** The configuration cannot be used; the gateway exits with code 78. */
export class ConfigRefused extends Error {
  constructor(message: string) {
    super(message)
    this.name = "ConfigRefused"
  }
}

const agentId = z.string().regex(/^[a-z0-9_][a-z0-9_-]{0,63}$/)

/** An object that allows only the named keys; keys without a description accept anything. */
const keys = (names: string): Record<string, z.ZodOptional<z.ZodUnknown>> =>
  Object.fromEntries(names.split(" ").map((name) => [name, z.unknown().optional()]))

const schema = z.strictObject({
  ...keys(
    "$schema meta env wizard diagnostics logging update telemetry browser ui secrets auth accessGroups acp models nodeHost worktreeRoot worktreeAcceleration security bindings broadcast attachments messages tts commands approvals session cron transcripts hooks channels discovery talk cloudWorkers desktop memory mcp skills plugins surfaces proxy"
  ),
  gateway: z
    .strictObject({
      ...keys(
        "customBindHost publicOrigin portals controlUi cliAgents terminal roles trustedProxies allowRealIpFallback tools tailscale remote reload tls push nodes"
      ),
      port: z.number().int().positive().optional(),
      mode: z.enum(["local", "remote"]).optional(),
      bind: z.enum(["auto", "lan", "loopback", "custom", "tailnet"]).optional(),
      auth: z
        .strictObject({
          ...keys("password allowTailscale identityScopes rateLimit trustedProxy"),
          mode: z.enum(["none", "token", "password", "trusted-proxy"]).optional(),
          token: z.string().optional()
        })
        .optional(),
      http: z
        .strictObject({
          ...keys("securityHeaders"),
          endpoints: z
            .strictObject({
              ...keys("chatCompletions"),
              responses: z.looseObject({ enabled: z.boolean().optional() }).optional()
            })
            .optional()
        })
        .optional()
    })
    .optional(),
  agents: z
    .strictObject({
      ownership: z.literal("explicit").optional(),
      defaults: z
        .strictObject({
          ...keys(
            "params model modelSelectionScope utilityModel decisionModel imageModel mediaModels voiceModel pdfModel pdfMaxMb pdfMaxPages models modelPolicy workspace cwd silentReply repoRoot skipBootstrap skipOptionalBootstrapFiles contextInjection bootstrapMaxChars bootstrapTotalMaxChars experimental userTimezone startupContext contextPruning compaction embeddedAgent thinkingDefault fastModeDefault verboseDefault toolProgressDetail reasoningDefault elevatedDefault blockStreamingDefault blockStreamingBreak timeoutSeconds mediaMaxMb imageMaxDimensionPx imageQuality typingIntervalSeconds systemAgent authInheritance sessionStore subagents contextLimits blockStreamingChunk blockStreamingCoalesce humanDelay typingMode sandbox"
          ),
          maxConcurrent: z.number().int().positive().optional(),
          skills: z.array(z.string()).optional(),
          heartbeat: z
            .strictObject(
              keys(
                "every activeHours model session target directPolicy to accountId prompt timeoutSeconds lightContext isolatedSession agentId"
              )
            )
            .optional()
        })
        .optional(),
      entries: z
        .record(
          agentId,
          z.strictObject({
            ...keys(
              "description cwd agentDir utilityModel decisionModel model models modelPolicy thinkingDefault verboseDefault toolProgressDetail reasoningDefault fastModeDefault contextInjection bootstrapMaxChars bootstrapTotalMaxChars experimental subagents embeddedAgent params runtime memory humanDelay typingMode tts skillsLimits contextLimits heartbeat identity groupChat sandbox tools default"
            ),
            name: z.string().optional(),
            workspace: z.string().optional(),
            skills: z.array(z.string()).optional()
          })
        )
        .optional()
    })
    .optional(),
  tools: z
    .strictObject({
      ...keys(
        "profile allow alsoAllow byProvider toolsBySender web github media links sessions loopDetection codeMode swarm message agentToAgent elevated exec fs subagents sandbox sessions_spawn updatePlan"
      ),
      deny: z.array(z.string()).optional(),
      toolSearch: z
        .union([
          z.boolean(),
          z.strictObject({
            ...keys("codeTimeoutMs searchDefaultLimit maxSearchLimit"),
            enabled: z.boolean().optional(),
            mode: z.enum(["code", "tools", "directory"]).optional()
          })
        ])
        .optional()
    })
    .optional()
})

/** One problem of a configuration file. */
export interface ConfigIssue {
  /** Dotted path; `<root>` is the whole file. */
  readonly path: string
  readonly message: string
}

/** Every problem of the configuration in that file, as `openclaw config validate` lists them; empty if it is valid. */
export const configIssues = (path: string): ReadonlyArray<ConfigIssue> => {
  const text = contentOf(path)
  if (text === undefined) return [{ path: "<root>", message: "file not found" }]
  try {
    return issuesOf(parseJson5(text))
  } catch (error) {
    return [{ path: "<root>", message: `JSON5 parse failed: ${(error as Error).message}` }]
  }
}

/** Reads the file as the real gateway does. */
const parseJson5 = (text: string): unknown => evaluate(parse(text, { mode: "json5" }))

const issuesOf = (input: unknown): ReadonlyArray<ConfigIssue> => {
  const parsed = schema.safeParse(input)
  if (!parsed.success) {
    return parsed.error.issues.map(({ path, message }) => ({ path: path.join(".") || "<root>", message }))
  }
  const { agents, gateway } = parsed.data
  const issues: Array<ConfigIssue> = []
  if (Object.keys(agents?.entries ?? {}).length > 1 && agents?.ownership !== "explicit") {
    issues.push({ path: "agents.ownership", message: "more than one agent needs ownership explicit" })
  }
  if (gateway?.bind !== undefined && gateway.bind !== "loopback" && gateway.auth?.mode === "none") {
    issues.push({ path: "gateway.bind", message: `Refusing to bind gateway to ${gateway.bind} without auth.` })
  }
  return issues
}

/** Reads and checks a configuration file; throws ConfigRefused with the real gateway's message. */
export const readConfig = (path: string): GatewayConfig => {
  const text = contentOf(path)
  if (text === undefined) {
    throw new ConfigRefused(`Missing config. Run \`openclaw setup\` or set gateway.mode=local (${path})`)
  }
  let input: unknown
  try {
    input = parseJson5(text)
  } catch (cause) {
    throw new ConfigRefused(`existing config is missing gateway.mode, the file is broken: ${(cause as Error).message}`)
  }
  const issues = issuesOf(input)
  if (issues.length > 0) {
    const listed = issues.map((issue) => `${issue.path}: ${issue.message}`).join("; ")
    throw new ConfigRefused(`Invalid config at ${path}: ${listed}`)
  }
  const config = schema.parse(input)
  if (config.gateway?.mode !== "local") {
    throw new ConfigRefused("Gateway start blocked: set gateway.mode=local (current: unset)")
  }
  const toolSearch = config.tools?.toolSearch
  const deniesAll = config.tools?.deny?.includes("*") === true
  const workspaces: Record<string, Workspace> = {}
  for (const [id, { workspace, skills }] of Object.entries(config.agents?.entries ?? {})) {
    if (workspace !== undefined)
      workspaces[id] = { folder: workspace, skills: deniesAll ? [] : (skills ?? config.agents?.defaults?.skills) }
  }
  return {
    agents: Object.keys(config.agents?.entries ?? {}),
    workspaces,
    token: config.gateway.auth?.mode === "none" ? undefined : config.gateway.auth?.token,
    port: config.gateway.port,
    maxConcurrent: config.agents?.defaults?.maxConcurrent ?? defaultConfig.maxConcurrent,
    toolSearch: typeof toolSearch === "object" ? (toolSearch.enabled ?? true) : toolSearch,
    deniesAll,
    responses: config.gateway.http?.endpoints?.responses?.enabled === true
  }
}

/**
 * Watches a configuration file, also through renames. Reports each valid new version, or why it was skipped. Returns
 * the function that stops watching.
 */
export const watchConfig = (
  path: string,
  onChange: (config: GatewayConfig) => void,
  onSkipped: (reason: string) => void
): (() => void) => {
  let last = contentOf(path)
  let timer: NodeJS.Timeout | undefined
  const look = () => {
    const content = contentOf(path)
    if (content === last) return
    last = content
    try {
      onChange(readConfig(path))
    } catch (error) {
      onSkipped(error instanceof Error ? error.message : String(error))
    }
  }
  const watcher = watch(dirname(path), (_event, file) => {
    if (file !== null && file !== basename(path)) return
    clearTimeout(timer)
    timer = setTimeout(look, 100)
  })
  return () => {
    clearTimeout(timer)
    watcher.close()
  }
}

const contentOf = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}
