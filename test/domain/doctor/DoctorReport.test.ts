import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { callsPerMonth } from "../../../src/domain/controlPlane/CallForecast.ts"
import type { AddressFailure } from "../../../src/domain/doctor/AddressFailure.ts"
import type { Check, CheckStatus } from "../../../src/domain/doctor/DoctorCheck.ts"
import type {
  ControlPlaneFindings,
  Findings,
  GatewayFindings,
  MachineFindings
} from "../../../src/domain/doctor/DoctorFindings.ts"
import { doctorExitCode, examine, renderDoctorReport } from "../../../src/domain/doctor/DoctorReport.ts"
import { PROTOCOL, servedProtocols } from "../../../src/domain/shared/Protocol.ts"

const controlPlane: ControlPlaneFindings = {
  url: "https://happy-animal-123.convex.cloud",
  unreachable: null,
  refusal: null,
  protocol: servedProtocols,
  missing: [],
  skewMillis: 300,
  agents: [{ slug: "engineer", isOrchestrator: true, isPaused: false }],
  callsPerMonth: 50_000,
  unpricedModels: []
}
type ReadConfig = Extract<GatewayFindings["config"], { readonly _tag: "Read" }>
const readConfig = (more: Partial<ReadConfig>): ReadConfig => ({
  _tag: "Read",
  toolSearch: false,
  deniesAll: false,
  responses: true,
  sessionReset: null,
  ...more
})
const gateway: GatewayFindings = {
  url: "http://127.0.0.1:18789",
  isSupervised: true,
  hasCommand: true,
  isTokenKnown: true,
  writesConfig: false,
  unreachable: null,
  ready: { isReady: true, failing: [] },
  version: "2026.9.6",
  models: { status: 200, agents: ["engineer"] },
  responsesStatus: 405,
  config: readConfig({}),
  validation: { isValid: true, detail: "" },
  canary: { _tag: "Called" }
}
const machine: MachineFindings = {
  nodeVersion: "v24.21.0",
  paths: [
    { use: "state", path: "/state", problem: null },
    { use: "workspaces", path: "/state/workspaces", problem: null },
    { use: "texts", path: "/AGENTS.md", problem: null }
  ],
  syncsProfiles: true,
  healthAddress: "127.0.0.1:3000",
  healthPort: "free",
  healthIsLoopback: true,
  allowsOnlyLoopback: true,
  baseUrl: "http://127.0.0.1:3000",
  baseUrlIsLoopback: true,
  gatewayIsLoopback: true,
  clientToolsEnabled: true,
  toolNames: ["task_status"],
  requestTimeoutMillis: 300_000,
  turnTimeoutMillis: 900_000,
  tracing: { endpoint: "http://127.0.0.1:4318", problem: null }
}
const down: AddressFailure = { kind: "down", problem: "nothing listens there", fix: "start it" }
const healthy: Findings = { problems: [], hints: [], controlPlane, gateway, machine }

const whole = (change: Partial<Findings>): Findings => ({ ...healthy, ...change })
const plane = (change: Partial<ControlPlaneFindings>) => whole({ controlPlane: { ...controlPlane, ...change } })
const gate = (change: Partial<GatewayFindings>) => whole({ gateway: { ...gateway, ...change } })
const host = (change: Partial<MachineFindings>) => whole({ machine: { ...machine, ...change } })
const badPath = (use: "state" | "workspaces" | "texts") =>
  host({ paths: [{ use, path: "/there", problem: "cannot be written" }] })

/** Each check with what breaks it and how bad that is; several where there are several ways. */
const broken: ReadonlyArray<readonly [string, CheckStatus, Findings]> = [
  [
    "variables",
    "fail",
    whole({ problems: ["HEALTH_PORT is wrong"], controlPlane: null, gateway: null, machine: null })
  ],
  ["variable-names", "warn", whole({ hints: ["HELTH_PORT is set"] })],
  ["node-version", "fail", host({ nodeVersion: "v22.22.0" })],
  ["node-version", "fail", host({ nodeVersion: "v24.15.9" })],
  ["state-writable", "fail", badPath("state")],
  ["workspaces-writable", "fail", badPath("workspaces")],
  ["texts-readable", "fail", badPath("texts")],
  ["health-port", "fail", host({ healthPort: "taken" })],
  ["agents-admitted", "warn", host({ gatewayIsLoopback: false })],
  ["agents-admitted", "warn", host({ gatewayIsLoopback: false, baseUrlIsLoopback: false, healthIsLoopback: true })],
  ["tool-names", "fail", host({ toolNames: ["task_status", "exec"] })],
  ["time-limits", "warn", host({ turnTimeoutMillis: 100_000 })],
  ["tracing", "warn", host({ tracing: { endpoint: "http://127.0.0.1:1", problem: down } })],
  ["control-plane-reachable", "fail", plane({ unreachable: down })],
  ["control-plane-encrypted", "warn", plane({ url: "http://convex.example" })],
  ["clock", "warn", plane({ skewMillis: -6_000 })],
  ["clock", "fail", plane({ skewMillis: 61_000 })],
  ["protocol", "fail", plane({ protocol: { oldest: PROTOCOL + 1, newest: PROTOCOL + 2 } })],
  ["protocol", "fail", plane({ protocol: null })],
  ["protocol", "fail", plane({ protocol: null, refusal: undefined, agents: null })],
  ["functions", "fail", plane({ missing: ["service/tasks:history"] })],
  ["token-accepted", "fail", plane({ refusal: "The service token is unknown or revoked." })],
  ["roster", "warn", plane({ agents: [] })],
  ["roster", "warn", plane({ agents: [{ slug: "engineer", isOrchestrator: true, isPaused: true }] })],
  ["orchestrator", "warn", plane({ agents: [{ slug: "engineer", isOrchestrator: false, isPaused: false }] })],
  ["prices", "warn", plane({ unpricedModels: ["anthropic/claude"] })],
  ["calls-per-month", "warn", plane({ callsPerMonth: 1_000_001 })],
  ["gateway-command", "fail", gate({ hasCommand: false })],
  ["gateway-reachable", "fail", gate({ isSupervised: false, unreachable: down })],
  ["gateway-reachable", "fail", gate({ unreachable: { ...down, kind: "wrong" } })],
  ["gateway-encrypted", "warn", gate({ url: "http://10.0.0.2:18789" })],
  ["gateway-ready", "warn", gate({ ready: { isReady: false, failing: ["startup-sidecars"] } })],
  ["gateway-version", "fail", gate({ version: "2026.4.19" })],
  ["gateway-version", "warn", gate({ version: "2026.10.1" })],
  ["gateway-version", "warn", gate({ version: null })],
  ["responses-endpoint", "fail", gate({ responsesStatus: 404 })],
  ["responses-endpoint", "warn", gate({ responsesStatus: 500 })],
  ["gateway-token", "fail", gate({ models: { status: 401, agents: null } })],
  ["gateway-configuration", "warn", gate({ config: { _tag: "Broken", detail: "no JSON" } })],
  ["tool-search", "fail", gate({ config: readConfig({ toolSearch: undefined }) })],
  ["tool-search", "fail", gate({ version: "2026.8.2", config: readConfig({ toolSearch: true }) })],
  ["tool-search", "warn", gate({ version: "2026.8.2", config: readConfig({ toolSearch: undefined }) })],
  ["responses-configured", "fail", gate({ config: readConfig({ responses: undefined }) })],
  [
    "session-reset",
    "warn",
    gate({ config: readConfig({ sessionReset: { key: "session.reset.mode", mode: "daily" } }) })
  ],
  ["gateway-configuration-valid", "fail", gate({ validation: { isValid: false, detail: "agents.entries: required" } })],
  ["gateway-configuration-valid", "warn", gate({ validation: { isValid: null, detail: "no report" } })],
  ["canary", "fail", gate({ canary: { _tag: "Failed", detail: "ProviderFailed: down" } })],
  ["canary", "fail", gate({ canary: { _tag: "Silent", detail: "agent engineer wrote: no tools" } })],
  ["agents-known", "fail", gate({ models: { status: 200, agents: ["qa"] } })]
]

const find = (checks: ReadonlyArray<Check>, id: string) => checks.find((check) => check.id === id)

describe("the doctor", () => {
  it("has at least twenty checks with different names, all ok in a healthy installation", () => {
    const checks = examine(healthy)
    assert.isAtLeast(checks.length, 20)
    assert.strictEqual(new Set(checks.map(({ id }) => id)).size, checks.length)
    assert.deepStrictEqual(
      checks.filter(({ fix, status }) => status !== "ok" || fix !== null),
      []
    )
    assert.strictEqual(doctorExitCode(checks), 0)
  })

  it("has a broken fixture for every check", () => {
    assert.sameMembers(
      [...new Set(broken.map(([id]) => id))],
      examine(healthy).map(({ id }) => id)
    )
  })

  for (const [index, [id, status, found]] of broken.entries()) {
    it(`says ${status} to ${id} with a fix in one line (${index})`, () => {
      const checks = examine(found)
      const check = find(checks, id)
      assert.strictEqual(check?.status, status)
      assert.isNotEmpty(check?.fix)
      assert.notInclude(check?.fix ?? "", "\n")
      assert.strictEqual(doctorExitCode(checks), status === "fail" ? 2 : doctorExitCode(checks))
      assert.isAbove(doctorExitCode(checks), 0)
    })
  }

  it("has the same checks in the same order for every fault", () => {
    const ids = examine(healthy).map(({ id }) => id)
    for (const [, , found] of broken) {
      assert.deepStrictEqual(
        examine(found).map(({ id }) => id),
        ids
      )
    }
  })

  it("skips checks that depend on a failed one", () => {
    const unreachable = examine(plane({ unreachable: down, refusal: undefined, protocol: null, agents: null }))
    assert.deepStrictEqual(
      unreachable.filter(({ status }) => status === "fail").map(({ id }) => id),
      ["control-plane-reachable"]
    )
    const supervised = examine(
      gate({ unreachable: down, ready: null, version: null, models: null, responsesStatus: null, canary: null })
    )
    assert.deepStrictEqual(
      supervised.filter(({ status }) => status === "fail").map(({ id }) => id),
      // The configuration's version is unknown while the gateway is unreachable.
      []
    )
  })

  it("ends with 1 if there are only warnings", () => {
    assert.strictEqual(doctorExitCode(examine(whole({ hints: ["HELTH_PORT is set"] }))), 1)
  })

  it("does not judge what only the runtime that started the gateway can know", () => {
    const unknown = examine(
      gate({ isTokenKnown: false, models: null, responsesStatus: 401, canary: { _tag: "Failed", detail: "HTTP 401" } })
    )
    for (const id of ["gateway-token", "agents-known", "canary"]) {
      assert.deepInclude(find(unknown, id), { status: "skip", fix: null })
      assert.include(find(unknown, id)?.message, "random token")
    }
    assert.strictEqual(doctorExitCode(unknown), 0)
  })

  it("accepts Tool Search if it hides nothing or the runtime switches it off", () => {
    const statusOf = (toolSearch: unknown, more: Partial<GatewayFindings> = {}, deniesAll = false) =>
      find(examine(gate({ config: readConfig({ toolSearch, deniesAll }), ...more })), "tool-search")?.status
    assert.strictEqual(statusOf(undefined, {}, true), "ok")
    assert.strictEqual(statusOf(true, {}, true), "ok")
    assert.strictEqual(statusOf({ enabled: false }), "ok")
    assert.strictEqual(statusOf({}), "fail")
    assert.strictEqual(statusOf(undefined, { writesConfig: true }), "skip")
  })

  it("prints failures before warnings, each with its fix, and the rest as a line for each group", () => {
    const checks = examine(
      whole({ hints: ["HELTH_PORT is set"], controlPlane: { ...controlPlane, unreachable: down } })
    )
    const report = renderDoctorReport(checks, { isColored: false, isVerbose: false })
    assert.match(
      report,
      /^fail {2}control-plane-reachable .*nothing listens there\n +-> start it\nwarn {2}variable-names /
    )
    assert.match(report, /^Control plane {2}1 failed, 1 ok, 8 skipped$/m)
    assert.match(report, /^Gateway +\d+ ok$/m)
    assert.notMatch(report, /^(ok|skip) /m)
    assert.notInclude(report, "\u001b")
    assert.include(renderDoctorReport(checks, { isColored: true, isVerbose: false }), "\u001b[31mfail")
  })

  it("reports missing variables in one line each", () => {
    const problems = ["ACCOUNT_ID is missing", "CONVEX_URL is missing"]
    const checks = examine(whole({ problems, controlPlane: null, gateway: null, machine: null }))
    const lines = renderDoctorReport(checks, { isColored: false, isVerbose: false }).split("\n")
    assert.isBelow(lines.length, 12)
    for (const problem of problems)
      assert.lengthOf(
        lines.filter((line) => line.endsWith(problem)),
        1
      )
  })

  it("prints every check under its group with isVerbose", () => {
    const checks = examine(plane({ unreachable: down }))
    const lines = renderDoctorReport(checks, { isColored: false, isVerbose: true }).split("\n")
    for (const { id, status } of checks) {
      assert.lengthOf(
        lines.filter((line) => line.startsWith(`${status.padEnd(4)}  ${id} `)),
        1,
        id
      )
    }
    assert.includeMembers(lines, ["Variables", "Machine", "Control plane", "Gateway"])
  })
})

describe("the forecast of calls", () => {
  it("counts pulses, and two calls for each heartbeat, whether by minutes or by cron expression", () => {
    const pulseInterval = Duration.minutes(1)
    assert.strictEqual(callsPerMonth({ pulseInterval, heartbeats: [] }), 43_200)
    assert.strictEqual(callsPerMonth({ pulseInterval, heartbeats: [15] }), 43_200 + 5_760)
    assert.strictEqual(callsPerMonth({ pulseInterval, heartbeats: ["*/15 * * * *"] }), 43_200 + 5_760)
    assert.strictEqual(callsPerMonth({ pulseInterval, heartbeats: ["0 9 * * *"] }), 43_200 + 60)
    assert.strictEqual(callsPerMonth({ pulseInterval: Duration.seconds(5), heartbeats: [] }), 518_400)
  })

  it("counts nothing for an expression that cannot be read", () => {
    assert.strictEqual(callsPerMonth({ pulseInterval: Duration.minutes(1), heartbeats: ["whenever"] }), 43_200)
  })
})
