import { judgeGatewayVersion, parseGatewayVersion } from "./GatewayVersion.ts"

/** What was found about the control plane. */
export interface ControlPlaneFindings {
  readonly url: string
  /** Null when it answers. */
  readonly away: string | null
  /** What it says against the token; null when it accepts it, undefined when that could not be asked. */
  readonly refusal: string | null | undefined
  /** Functions that the deployment does not have; null when that could not be asked. */
  readonly missingFunctions: ReadonlyArray<string> | null
  /** Its clock minus ours, in milliseconds, good to a second. */
  readonly skewMillis: number | null
  readonly agents: ReadonlyArray<{ readonly slug: string; readonly isOrchestrator: boolean }> | null
  readonly callsPerMonth: number | null
}

/** What was found about the gateway; nulls where it could not be asked. */
export interface GatewayFindings {
  readonly url: string
  /** Started by the runtime itself, so that it may rightly be away now. */
  readonly isSupervised: boolean
  /** Whether the command that starts it exists; null for an external one. */
  readonly hasCommand: boolean | null
  readonly away: string | null
  readonly ready: { readonly isReady: boolean; readonly failing: ReadonlyArray<string> } | null
  readonly version: string | null
  /** HTTP status of GET /v1/models with the token, and the agents it lists, null when it is no list. */
  readonly models: { readonly status: number; readonly agents: ReadonlyArray<string> | null } | null
  /** HTTP status of GET /v1/responses: 405 where the endpoint is on. */
  readonly responsesStatus: number | null
  /** Its configuration file. */
  readonly config:
    | { readonly _tag: "Absent" }
    | { readonly _tag: "Broken"; readonly detail: string }
    | { readonly _tag: "Read"; readonly toolSearch: unknown; readonly responses: unknown }
  /** What `config validate` of the gateway's command said; null when not asked. */
  readonly validation: { readonly isValid: boolean; readonly detail: string } | null
  /** How the canary's turn ended; null when not asked. */
  readonly canary: { readonly didCall: boolean; readonly detail: string } | null
}

/** What was found on this machine. */
export interface MachineFindings {
  readonly nodeVersion: string
  readonly paths: ReadonlyArray<{
    readonly use: "state" | "workspaces" | "texts"
    readonly path: string
    /** Null when it can be used. */
    readonly problem: string | null
  }>
  readonly syncsProfiles: boolean
  readonly healthAddress: string
  readonly healthPort: "free" | "runtime" | "taken"
  readonly healthIsLoopback: boolean
  readonly allowsOnlyLoopback: boolean
  readonly baseUrl: string
  readonly baseUrlIsLoopback: boolean
  readonly gatewayIsLoopback: boolean
  readonly clientToolsEnabled: boolean
  readonly toolNames: ReadonlyArray<string>
  readonly requestTimeoutMillis: number
  readonly turnTimeoutMillis: number
  /** Null when tracing is off. */
  readonly tracing: { readonly endpoint: string; readonly problem: string | null } | null
}

/** Everything that the doctor looked at; the parts are null when the variables alone are wrong. */
export interface Findings {
  readonly problems: ReadonlyArray<string>
  readonly hints: ReadonlyArray<string>
  readonly controlPlane: ControlPlaneFindings | null
  readonly gateway: GatewayFindings | null
  readonly machine: MachineFindings | null
}

export type CheckStatus = "ok" | "warn" | "fail" | "skip"

/** One check's result; the ids are stable. */
export interface Check {
  readonly id: string
  readonly status: CheckStatus
  readonly message: string
  /** One line that mends it; null where nothing is wrong. */
  readonly fix: string | null
}

type Verdict = Omit<Check, "id">

const ok = (message: string): Verdict => ({ status: "ok", message, fix: null })
const warn = (message: string, fix: string): Verdict => ({ status: "warn", message, fix })
const fail = (message: string, fix: string): Verdict => ({ status: "fail", message, fix })
const skip = (message: string): Verdict => ({ status: "skip", message, fix: null })

type Rule<A> = (found: A) => Verdict

const OLDEST_NODE = [24, 16] as const
/** Names that the gateway keeps for tools of its own, whether or not they are switched on. */
const BUILT_INS = new Set([
  "message",
  "exec",
  "read",
  "write",
  "edit",
  "apply_patch",
  "process",
  "browser",
  "canvas",
  "cron",
  "gateway",
  "image",
  "memory_get",
  "memory_search",
  "nodes",
  "portal",
  "secrets",
  "sessions",
  "session_status",
  "sessions_list",
  "sessions_history",
  "sessions_send",
  "sessions_spawn",
  "theme",
  "automations",
  "web_fetch",
  "web_search"
])
const FREE_CALLS = 1_000_000
const MAX_SKEW_WARN = 5_000
const MAX_SKEW_FAIL = 60_000

const isClearText = (url: string): boolean => url.startsWith("http:")
const isLoopbackUrl = (url: string): boolean => /^https?:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:|\/|$)/.test(url)

const onVariables: ReadonlyArray<readonly [string, Rule<Findings>]> = [
  [
    "variables",
    ({ problems }) =>
      problems.length === 0
        ? ok("every variable can be used")
        : fail(problems.join("; "), "correct what is named; `config print` shows every variable")
  ],
  [
    "variable-names",
    ({ hints }) => (hints.length === 0 ? ok("no name looks misspelt") : warn(hints.join("; "), "rename or remove them"))
  ]
]

const onMachine: ReadonlyArray<readonly [string, Rule<MachineFindings>]> = [
  [
    "node-version",
    ({ nodeVersion }) => {
      const [major = 0, minor = 0] = nodeVersion.replace(/^v/, "").split(".").map(Number)
      const isEnough = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])
      return isEnough
        ? ok(`Node.js ${nodeVersion}`)
        : fail(`Node.js ${nodeVersion} is too old`, `install Node.js ${OLDEST_NODE.join(".")} or newer`)
    }
  ],
  [
    "state-writable",
    ({ paths }) => {
      const bad = paths.find(({ problem, use }) => use === "state" && problem !== null)
      return bad === undefined
        ? ok("the state folder can be written")
        : fail(`${bad.path}: ${bad.problem}`, "give this user the folder, or set OPENCLAW_STATE_DIR")
    }
  ],
  [
    "workspaces-writable",
    ({ paths, syncsProfiles }) => {
      const bad = paths.find(({ problem, use }) => use === "workspaces" && problem !== null)
      if (!syncsProfiles) return skip("profile sync is off")
      return bad === undefined
        ? ok("the workspaces can be written")
        : fail(`${bad.path}: ${bad.problem}`, "give this user the folder, or set OPENCLAW_WORKSPACE_ROOT")
    }
  ],
  [
    "texts-readable",
    ({ paths, syncsProfiles }) => {
      const bad = paths.find(({ problem, use }) => use === "texts" && problem !== null)
      if (!syncsProfiles) return skip("profile sync is off")
      return bad === undefined
        ? ok("the agents' texts can be read")
        : fail(`${bad.path}: ${bad.problem}`, "correct OPENCLAW_AGENTS_MD_PATH or OPENCLAW_HEARTBEAT_MD_PATH")
    }
  ],
  [
    "health-port",
    ({ healthAddress, healthPort }) =>
      healthPort === "free"
        ? ok(`${healthAddress} is free`)
        : healthPort === "runtime"
          ? ok(`${healthAddress} is held by a runtime that runs`)
          : fail(`${healthAddress} is held by another program`, "stop it, or set HEALTH_PORT to a free port")
  ],
  [
    "agents-admitted",
    ({ allowsOnlyLoopback, baseUrl, baseUrlIsLoopback, gatewayIsLoopback, healthIsLoopback }) => {
      if (gatewayIsLoopback) return ok("the gateway is on this machine")
      if (baseUrlIsLoopback) {
        return warn(
          `the gateway is elsewhere, and ${baseUrl} means its own machine there`,
          "set TASK_STATUS_BASE_URL to an address of this machine that the gateway reaches"
        )
      }
      return healthIsLoopback || allowsOnlyLoopback
        ? warn(
            "the gateway is elsewhere, and agents there are not admitted",
            "set HEALTH_HOST to an address of this machine and AGENT_HTTP_ALLOW to the gateway's network"
          )
        : ok("agents of the gateway's network are admitted")
    }
  ],
  [
    "tool-names",
    ({ toolNames }) => {
      const clashing = toolNames.filter((name) => BUILT_INS.has(name))
      return clashing.length === 0
        ? ok(`none of the ${toolNames.length} tools has the name of a built-in one`)
        : fail(
            `the gateway has tools of its own named ${clashing.join(", ")}`,
            "rename these tools: every turn is refused"
          )
    }
  ],
  [
    "time-limits",
    ({ requestTimeoutMillis, turnTimeoutMillis }) =>
      requestTimeoutMillis <= turnTimeoutMillis
        ? ok("a turn has time for at least one request")
        : warn(
            "OPENCLAW_REQUEST_TIMEOUT_MS is longer than TURN_TIMEOUT_MS, which ends the request first",
            "raise TURN_TIMEOUT_MS or lower OPENCLAW_REQUEST_TIMEOUT_MS"
          )
  ],
  [
    "tracing",
    ({ tracing }) =>
      tracing === null
        ? skip("tracing is off")
        : tracing.problem === null
          ? ok(`${tracing.endpoint} answers`)
          : warn(`${tracing.endpoint}: ${tracing.problem}`, "correct OTEL_EXPORTER_OTLP_ENDPOINT, or unset it")
  ]
]

/** What can be said only of a control plane that answers. */
const present =
  (rule: Rule<ControlPlaneFindings>): Rule<ControlPlaneFindings> =>
  (found) =>
    found.away === null ? rule(found) : skip("the control plane does not answer")

const unasked = skip("the token is not accepted")

const onControlPlane: ReadonlyArray<readonly [string, Rule<ControlPlaneFindings>]> = [
  [
    "control-plane-reachable",
    ({ away, url }) =>
      away === null
        ? ok(`${url} answers`)
        : fail(`${url}: ${away}`, "check CONVEX_URL, the network and that the deployment runs")
  ],
  [
    "control-plane-encrypted",
    ({ url }) =>
      isClearText(url) && !isLoopbackUrl(url)
        ? warn("the token goes to the control plane in clear text", "set CONVEX_URL to its https address")
        : ok("no secret goes to the control plane in clear text")
  ],
  [
    "clock",
    present(({ skewMillis }) => {
      if (skewMillis === null) return skip("the control plane tells no time")
      const size = Math.abs(skewMillis)
      const message = `this machine's clock is ${Math.round(size / 1_000)} s ${skewMillis > 0 ? "behind" : "ahead of"} the control plane's`
      const fix = "set the clock, e.g. by NTP"
      return size > MAX_SKEW_FAIL
        ? fail(message, fix)
        : size > MAX_SKEW_WARN
          ? warn(message, fix)
          : ok("the clocks agree")
    })
  ],
  [
    "functions-deployed",
    present(({ missingFunctions }) =>
      missingFunctions === null
        ? skip("could not be asked")
        : missingFunctions.length === 0
          ? ok("the deployment has every function")
          : fail(
              `the deployment lacks ${missingFunctions.join(", ")}`,
              "deploy this version's convex folder: npx convex deploy"
            )
    )
  ],
  [
    "token-accepted",
    present(({ refusal }) =>
      refusal === undefined
        ? skip("could not be asked")
        : refusal === null
          ? ok("the deployment accepts the token")
          : fail(refusal, "provision a new token with app/tokens:provision, and set SERVICE_TOKEN to it")
    )
  ],
  [
    "roster",
    present(({ agents }) =>
      agents === null
        ? unasked
        : agents.length === 0
          ? warn("the account has no agents", "make one with app/agents:create")
          : ok(`${agents.length} agents`)
    )
  ],
  [
    "orchestrator",
    present(({ agents }) =>
      agents === null
        ? unasked
        : agents.some(({ isOrchestrator }) => isOrchestrator)
          ? ok("the account has an orchestrator")
          : warn("the account has no orchestrator: nobody is told of reviews", "make one agent the orchestrator")
    )
  ],
  [
    "calls-per-month",
    present(({ callsPerMonth }) => {
      if (callsPerMonth === null) return unasked
      const message = `about ${callsPerMonth.toLocaleString("en-US")} calls a month, and three for each delivery`
      return callsPerMonth > FREE_CALLS
        ? warn(message, "raise HEALTH_CHECK_INTERVAL or the agents' heartbeat intervals")
        : ok(message)
    })
  ]
]

/** What can be said only of a gateway that answers; one that the runtime starts may be away. */
const answering =
  (rule: Rule<GatewayFindings>): Rule<GatewayFindings> =>
  (found) =>
    found.away === null
      ? rule(found)
      : skip(found.isSupervised ? "the runtime starts the gateway" : "the gateway does not answer")

const onGateway: ReadonlyArray<readonly [string, Rule<GatewayFindings>]> = [
  [
    "gateway-command",
    ({ hasCommand }) =>
      hasCommand === null
        ? skip("the gateway is not started here")
        : hasCommand
          ? ok("the gateway's command is there")
          : fail("the command that starts the gateway is not there", "install openclaw, or set OPENCLAW_GATEWAY_PATH")
  ],
  [
    "gateway-reachable",
    ({ away, isSupervised, url }) =>
      away === null
        ? ok(`${url} answers`)
        : isSupervised
          ? skip("the runtime starts the gateway")
          : fail(`${url}: ${away}`, "start the gateway, or correct OPENCLAW_GATEWAY_URL")
  ],
  [
    "gateway-encrypted",
    ({ url }) =>
      isClearText(url) && !isLoopbackUrl(url)
        ? warn("the gateway's token goes over the network in clear text", "reach the gateway by https or a tunnel")
        : ok("no secret goes to the gateway in clear text")
  ],
  [
    "gateway-ready",
    answering(({ ready }) =>
      ready === null
        ? fail("/readyz is no gateway's", "check OPENCLAW_GATEWAY_URL: another program answers there")
        : ready.isReady
          ? ok("the gateway takes turns")
          : warn(`the gateway is not ready: ${ready.failing.join(", ") || "no reason given"}`, "wait, or see its log")
    )
  ],
  [
    "gateway-version",
    answering(({ version }) => {
      const verdict = judgeGatewayVersion(version === null ? null : parseGatewayVersion(version))
      if (verdict._tag === "Supported") return ok(`OpenClaw ${version}`)
      return verdict._tag === "Refused"
        ? fail(verdict.message, "install a tested version of openclaw")
        : warn(verdict.message, "run doctor --canary, or install a tested version of openclaw")
    })
  ],
  [
    "responses-endpoint",
    answering(({ responsesStatus }) =>
      responsesStatus === 404
        ? fail(
            "the gateway does not serve POST /v1/responses",
            "set gateway.http.endpoints.responses.enabled to true in its configuration"
          )
        : responsesStatus === 405 || responsesStatus === 401
          ? ok("the gateway serves POST /v1/responses")
          : warn(`/v1/responses answers HTTP ${responsesStatus ?? "nothing"} to GET, not 405`, "see the gateway's log")
    )
  ],
  [
    "gateway-token",
    answering(({ models }) =>
      models === null
        ? skip("could not be asked")
        : models.status === 401 || models.status === 403
          ? fail("the gateway refuses the token", "set OPENCLAW_GATEWAY_TOKEN to its gateway.auth.token")
          : models.agents === null
            ? skip(`/v1/models answers HTTP ${models.status}`)
            : ok("the gateway accepts the token")
    )
  ],
  [
    "gateway-configuration",
    ({ config }) =>
      config._tag === "Broken"
        ? warn(`the gateway's configuration cannot be read: ${config.detail}`, "correct it, or OPENCLAW_CONFIG_PATH")
        : config._tag === "Absent"
          ? skip("no configuration of a gateway on this machine")
          : ok("the gateway's configuration can be read")
  ],
  [
    "tool-search",
    ({ config, version }) => {
      if (config._tag !== "Read") return skip("no configuration of a gateway on this machine")
      if (config.toolSearch === false) return ok("agents see their tools")
      const parsed = version === null ? null : parseGatewayVersion(version)
      const isHidden = parsed === null || parsed.year * 10_000 + parsed.month * 100 + parsed.release >= 20_260_906
      return config.toolSearch === true || isHidden
        ? fail("Tool Search hides the agents' tools from them", "set tools.toolSearch to false in its configuration")
        : warn("tools.toolSearch is not set: later versions hide the agents' tools then", "set it to false")
    }
  ],
  [
    "responses-configured",
    ({ config }) =>
      config._tag !== "Read"
        ? skip("no configuration of a gateway on this machine")
        : config.responses === true
          ? ok("the responses endpoint is on in the configuration")
          : fail(
              "the responses endpoint is not on in the configuration",
              "set gateway.http.endpoints.responses.enabled to true"
            )
  ],
  [
    "gateway-configuration-valid",
    ({ validation }) =>
      validation === null
        ? skip("asked with --validate")
        : validation.isValid
          ? ok("the gateway calls its configuration valid")
          : fail(`the gateway calls its configuration invalid: ${validation.detail}`, "run `openclaw config validate`")
  ],
  [
    "canary",
    ({ canary }) =>
      canary === null
        ? skip("asked with --canary")
        : canary.didCall
          ? ok("an agent called a tool")
          : fail(
              `no tool call came back: ${canary.detail}`,
              "see responses-endpoint, tool-search and the gateway's log"
            )
  ]
]

const agentsKnown: Rule<Findings> = ({ controlPlane, gateway }) => {
  const listed = gateway?.models?.agents ?? null
  const wanted = controlPlane?.agents ?? null
  if (listed === null || wanted === null) return skip("one of the two lists could not be asked")
  const unknown = wanted.map(({ slug }) => slug).filter((slug) => !listed.includes(slug))
  return unknown.length === 0
    ? ok("the gateway knows every agent")
    : fail(
        `the gateway does not know ${unknown.join(", ")}`,
        "add them to agents.entries of its configuration, or set OPENCLAW_PROFILE_SYNC to true"
      )
}

const judge = <A>(rules: ReadonlyArray<readonly [string, Rule<A>]>, found: A | null): ReadonlyArray<Check> =>
  rules.map(([id, rule]) => ({ id, ...(found === null ? skip("the variables come first") : rule(found)) }))

/** Every check on what was found, always all of them and in the same order. */
export const examine = (found: Findings): ReadonlyArray<Check> => [
  ...judge(onVariables, found),
  ...judge(onMachine, found.machine),
  ...judge(onControlPlane, found.controlPlane),
  ...judge(onGateway, found.gateway),
  ...judge([["agents-known", agentsKnown]], found)
]

/** 2 when something fails, 1 when something is to be looked at, otherwise 0. */
export const checkupExitCode = (checks: ReadonlyArray<Check>): 0 | 1 | 2 =>
  checks.some(({ status }) => status === "fail") ? 2 : checks.some(({ status }) => status === "warn") ? 1 : 0

const colors = { ok: 32, warn: 33, fail: 31, skip: 90 } as const

/** A line for each check, its fix below it, and the sum at the end. */
export const renderCheckup = (checks: ReadonlyArray<Check>, isColored: boolean): string => {
  const width = Math.max(...checks.map(({ id }) => id.length))
  const mark = (status: CheckStatus) =>
    isColored ? `\u001b[${colors[status]}m${status.padEnd(4)}\u001b[0m` : status.padEnd(4)
  const count = (status: CheckStatus) => checks.filter((check) => check.status === status).length
  return [
    ...checks.flatMap(({ fix, id, message, status }) => [
      `${mark(status)}  ${id.padEnd(width)}  ${message.replace(/\s+/g, " ")}`,
      ...(fix === null ? [] : [`${" ".repeat(width + 8)}-> ${fix}`])
    ]),
    "",
    `${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} failed, ${count("skip")} left out`
  ].join("\n")
}
