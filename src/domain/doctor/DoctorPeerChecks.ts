import { TOOL_SEARCH_FIX } from "../gateway/Canary.ts"
import { compareGatewayVersions, judgeGatewayVersion, parseGatewayVersion } from "../gateway/GatewayVersion.ts"
import { isLoopbackUrl } from "../settings/AddressList.ts"
import { PROTOCOL, protocolProblem } from "../shared/Protocol.ts"
import { counted } from "../text/Count.ts"
import { fail, ok, skip, warn } from "./DoctorCheck.ts"
import type { Rule } from "./DoctorCheck.ts"
import type { ControlPlaneFindings, Findings, GatewayFindings } from "./DoctorFindings.ts"

const DEPLOY_FIX = "deploy this release's convex folder (npx convex deploy)"
const FREE_CALLS = 1_000_000
const MAX_SKEW_WARN = 5_000
const MAX_SKEW_FAIL = 60_000

const isClearText = (url: string): boolean => url.startsWith("http:")

/** Applies the rule only if the control plane answers. */
const reachable =
  (rule: Rule<ControlPlaneFindings>): Rule<ControlPlaneFindings> =>
  (found) =>
    found.unreachable === null ? rule(found) : skip("the control plane does not answer")

const notChecked = skip("the token is not accepted")

export const onControlPlane: ReadonlyArray<readonly [string, Rule<ControlPlaneFindings>]> = [
  [
    "control-plane-reachable",
    ({ unreachable, url }) => (unreachable === null ? ok(`${url} answers`) : fail(unreachable.problem, unreachable.fix))
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
    reachable(({ skewMillis }) => {
      if (skewMillis === null) return skip("the control plane's answer has no date")
      const size = Math.abs(skewMillis)
      const message = `this machine's clock is ${Math.round(size / 1_000)} s ${skewMillis > 0 ? "behind" : "ahead of"} the control plane's`
      const fix = "synchronise the clock, for example with NTP"
      return size > MAX_SKEW_FAIL
        ? fail(message, fix)
        : size > MAX_SKEW_WARN
          ? warn(message, fix)
          : ok("the clocks agree")
    })
  ],
  [
    "protocol",
    reachable(({ protocol, refusal }) => {
      if (protocol === null) {
        return typeof refusal === "string"
          ? notChecked
          : fail(
              "the deployment does not report which protocol it serves",
              `${DEPLOY_FIX}; if that is done, see the deployment's log`
            )
      }
      const problem = protocolProblem(PROTOCOL, protocol)
      if (problem === null) return ok(`the deployment serves protocol ${PROTOCOL}`)
      const [found, fix] = problem
      return fail(found, fix)
    })
  ],
  [
    "functions",
    reachable(({ missing }) =>
      missing === null
        ? skip("the deployment does not list its functions")
        : missing.length === 0
          ? ok("the deployment has every function that this runtime calls")
          : fail(`the deployment lacks ${missing.join(", ")}`, DEPLOY_FIX)
    )
  ],
  [
    "token-accepted",
    reachable(({ refusal }) =>
      refusal === undefined
        ? skip("could not be checked")
        : refusal === null
          ? ok("the deployment accepts the token")
          : fail(refusal, "provision a new token with app/tokens:provision, and set SERVICE_TOKEN to it")
    )
  ],
  [
    "roster",
    reachable(({ agents }) =>
      agents === null
        ? notChecked
        : agents.length === 0
          ? warn("the account has no agents", "create one with app/agents:create")
          : agents.some(({ isPaused }) => isPaused)
            ? warn(
                `paused: ${agents.flatMap(({ isPaused, slug }) => (isPaused ? [slug] : [])).join(", ")}`,
                "resume them with mission-control-runtime resume AGENT"
              )
            : ok(counted(agents.length, "agent"))
    )
  ],
  [
    "orchestrator",
    reachable(({ agents }) =>
      agents === null
        ? notChecked
        : agents.some(({ isOrchestrator }) => isOrchestrator)
          ? ok("the account has an orchestrator")
          : warn(
              "the account has no orchestrator, so no agent is notified of reviews",
              "make an agent the orchestrator with app/agents:update"
            )
    )
  ],
  [
    "prices",
    reachable(({ unpricedModels }) =>
      unpricedModels === null
        ? notChecked
        : unpricedModels.length === 0
          ? ok("every model that was used in the last week has a price")
          : warn(
              `no price is known for ${unpricedModels.join(", ")}: usage is reported in price-weighted tokens only`,
              "set models.providers.<provider>.models[].cost in openclaw.json, or the account's prices with app/accounts:configure"
            )
    )
  ],
  [
    "calls-per-month",
    reachable(({ callsPerMonth }) => {
      if (callsPerMonth === null) return notChecked
      const message = `about ${callsPerMonth.toLocaleString("en-US")} calls a month, and three for each delivery`
      return callsPerMonth > FREE_CALLS
        ? warn(message, "raise HEALTH_CHECK_INTERVAL or the agents' heartbeat intervals")
        : ok(message)
    })
  ]
]

/** The first release in which Tool Search is on by default. */
const HIDES_TOOLS = { year: 2026, month: 9, release: 6 }

/** `tools.toolSearch` is a boolean or an object with `enabled`; undefined means the release's default. */
const isToolSearchOn = (value: unknown): boolean | undefined => {
  if (typeof value !== "object" || value === null) return typeof value === "boolean" ? value : undefined
  return !("enabled" in value && value.enabled === false)
}

/** Applies the rule only if the gateway answers. */
const answering =
  (rule: Rule<GatewayFindings>): Rule<GatewayFindings> =>
  (found) =>
    found.unreachable === null
      ? rule(found)
      : skip(found.isSupervised ? "the runtime starts the gateway" : "the gateway does not answer")

const unknownToken =
  "only the runtime that started the gateway knows its random token: set OPENCLAW_GATEWAY_TOKEN to have it checked"

export const onGateway: ReadonlyArray<readonly [string, Rule<GatewayFindings>]> = [
  [
    "gateway-command",
    ({ hasCommand }) =>
      hasCommand === null
        ? skip("the gateway is not started here")
        : hasCommand
          ? ok("the gateway's command exists")
          : fail("the command that starts the gateway was not found", "install openclaw, or set OPENCLAW_GATEWAY_PATH")
  ],
  [
    "gateway-reachable",
    ({ unreachable, isSupervised, url }) =>
      unreachable === null
        ? ok(`${url} answers`)
        : isSupervised && unreachable.kind === "down"
          ? skip("the runtime starts the gateway")
          : fail(unreachable.problem, unreachable.fix)
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
        ? skip("could not be checked")
        : ready.isReady
          ? ok("the gateway is ready")
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
    answering(({ isTokenKnown, models }) =>
      models === null
        ? skip(isTokenKnown ? "could not be checked" : unknownToken)
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
          ? skip("there is no gateway configuration on this machine")
          : ok("the gateway's configuration can be read")
  ],
  [
    "tool-search",
    ({ config, version, writesConfig }) => {
      if (config._tag !== "Read") return skip("there is no gateway configuration on this machine")
      const isOn = isToolSearchOn(config.toolSearch)
      if (isOn === false) return ok("agents see their tools")
      // Tool Search is itself a tool.
      if (config.deniesAll) return ok("agents see their tools: tools.deny denies Tool Search too")
      if (writesConfig) return skip("the runtime sets tools.toolSearch to false when it starts")
      const parsed = version === null ? null : parseGatewayVersion(version)
      return isOn || parsed === null || compareGatewayVersions(parsed, HIDES_TOOLS) >= 0
        ? fail("Tool Search hides the agents' tools from them", TOOL_SEARCH_FIX)
        : warn("tools.toolSearch is not set: from OpenClaw 2026.9.6 this hides the agents' tools", TOOL_SEARCH_FIX)
    }
  ],
  [
    "responses-configured",
    ({ config, writesConfig }) =>
      config._tag !== "Read"
        ? skip("there is no gateway configuration on this machine")
        : config.responses === true
          ? ok("the responses endpoint is on in the configuration")
          : writesConfig
            ? skip("the runtime switches the responses endpoint on when it starts")
            : fail(
                "the responses endpoint is not on in the configuration",
                "set gateway.http.endpoints.responses.enabled to true"
              )
  ],
  [
    "session-reset",
    ({ config, writesConfig }) => {
      if (config._tag !== "Read") return skip("there is no gateway configuration on this machine")
      const { sessionReset: found } = config
      if (found === null) return ok("the gateway keeps the agents' sessions")
      if (writesConfig) return skip(`the runtime sets ${found.key} to "none" when it starts`)
      return warn(
        `the gateway resets the agents' sessions: ${found.key} is ${JSON.stringify(found.mode)}. A reset session loses its history`,
        `set ${found.key} to "none" in the gateway's configuration`
      )
    }
  ],
  [
    "gateway-configuration-valid",
    ({ validation }) =>
      validation === null
        ? skip("only checked with --validate")
        : validation.isValid === null
          ? warn(
              `the gateway's configuration was not checked: ${validation.detail}`,
              "install openclaw on this machine, or set OPENCLAW_GATEWAY_PATH to its path"
            )
          : validation.isValid
            ? ok("the gateway reports a valid configuration")
            : fail(
                `the gateway reports an invalid configuration: ${validation.detail}`,
                "run `openclaw config validate`"
              )
  ],
  [
    "canary",
    ({ unreachable, canary, isTokenKnown }) => {
      if (canary === null) return skip("only checked with --canary")
      if (canary._tag === "Called") return ok("an agent called a tool")
      if (unreachable === null && !isTokenKnown) return skip(unknownToken)
      return canary._tag === "Silent"
        ? fail(`no tool call came back: ${canary.detail}`, TOOL_SEARCH_FIX)
        : fail(`the canary's turn failed: ${canary.detail}`, "see the checks of the gateway above, and its log")
    }
  ]
]

export const agentsKnown: Rule<Findings> = ({ controlPlane, gateway }) => {
  const listed = gateway?.models?.agents ?? null
  const wanted = controlPlane?.agents ?? null
  if (listed === null || wanted === null) {
    return skip(gateway?.isTokenKnown === false ? unknownToken : "one of the two lists could not be checked")
  }
  const unknown = wanted.map(({ slug }) => slug).filter((slug) => !listed.includes(slug))
  return unknown.length === 0
    ? ok("the gateway knows every agent")
    : fail(
        `the gateway does not know ${unknown.join(", ")}`,
        "add them to agents.entries of its configuration, or set OPENCLAW_PROFILE_SYNC to true"
      )
}
