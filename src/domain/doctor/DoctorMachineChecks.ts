import { fail, ok, skip, warn } from "./DoctorCheck.ts"
import type { Rule } from "./DoctorCheck.ts"
import type { Findings, MachineFindings } from "./DoctorFindings.ts"

const OLDEST_NODE = [24, 16] as const
/** Names of the gateway's built-in tools, which it refuses for others even if the tool is off. */
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

export const onVariables: ReadonlyArray<readonly [string, Rule<Findings>]> = [
  [
    "variables",
    ({ problems }) =>
      problems.length === 0
        ? ok("every variable is valid")
        : fail(problems.join("\n"), "correct these variables; `config print` shows all of them")
  ],
  [
    "variable-names",
    ({ hints }) => (hints.length === 0 ? ok("no name looks misspelt") : warn(hints.join("\n"), "rename or remove them"))
  ]
]

export const onMachine: ReadonlyArray<readonly [string, Rule<MachineFindings>]> = [
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
        ? ok("the state folder is writable")
        : fail(`${bad.path}: ${bad.problem}`, "make the folder writable for this user, or set OPENCLAW_STATE_DIR")
    }
  ],
  [
    "workspaces-writable",
    ({ paths, syncsProfiles }) => {
      const bad = paths.find(({ problem, use }) => use === "workspaces" && problem !== null)
      if (!syncsProfiles) return skip("profile sync is off")
      return bad === undefined
        ? ok("the workspaces folder is writable")
        : fail(`${bad.path}: ${bad.problem}`, "make the folder writable for this user, or set OPENCLAW_WORKSPACE_ROOT")
    }
  ],
  [
    "texts-readable",
    ({ paths, syncsProfiles }) => {
      const bad = paths.find(({ problem, use }) => use === "texts" && problem !== null)
      if (!syncsProfiles) return skip("profile sync is off")
      return bad === undefined
        ? ok("the agents' texts are readable")
        : fail(`${bad.path}: ${bad.problem}`, "correct OPENCLAW_AGENTS_MD_PATH or OPENCLAW_HEARTBEAT_MD_PATH")
    }
  ],
  [
    "health-port",
    ({ healthAddress, healthPort }) =>
      healthPort === "free"
        ? ok(`${healthAddress} is free`)
        : healthPort === "runtime"
          ? ok(`${healthAddress} is in use by a running runtime`)
          : fail(`${healthAddress} is in use by another program`, "stop it, or set HEALTH_PORT to a free port")
  ],
  [
    "agents-admitted",
    ({ allowsOnlyLoopback, baseUrl, baseUrlIsLoopback, gatewayIsLoopback, healthIsLoopback }) => {
      if (gatewayIsLoopback) return ok("the gateway is on this machine")
      if (baseUrlIsLoopback) {
        return warn(
          `the gateway is on another machine, where ${baseUrl} is that machine itself`,
          "set TASK_STATUS_BASE_URL to an address of this machine that the gateway reaches"
        )
      }
      return healthIsLoopback || allowsOnlyLoopback
        ? warn(
            "the gateway is on another machine, and its agents may not call this runtime",
            "set HEALTH_HOST to an address of this machine and AGENT_HTTP_ALLOW to the gateway's network"
          )
        : ok("agents in the gateway's network may call this runtime")
    }
  ],
  [
    "tool-names",
    ({ toolNames }) => {
      const clashing = toolNames.filter((name) => BUILT_INS.has(name))
      return clashing.length === 0
        ? ok(`none of the ${toolNames.length} tools has the name of a built-in tool of the gateway`)
        : fail(
            `the gateway has built-in tools named ${clashing.join(", ")}`,
            "rename these tools: the gateway refuses every turn"
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
        ? skip("no endpoint for traces and logs")
        : tracing === "proxied"
          ? skip("traces and logs go through the proxy")
          : tracing.problem === null
            ? ok(`${tracing.endpoint} answers`)
            : warn(tracing.problem.problem, `${tracing.problem.fix}, or unset it`)
  ]
]
