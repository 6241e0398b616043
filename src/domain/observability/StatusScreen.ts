import { Option, Schema } from "effect"
import type { Paint, TerminalColor } from "../text/TerminalColor.ts"
import { singleLine } from "../text/Text.ts"
import { levelOf } from "./StatusLights.ts"
import type { Level } from "./StatusLights.ts"

/** The parts of /health that the screen shows. */
const Shown = Schema.Struct({
  status: Schema.String,
  ready: Schema.optionalKey(Schema.Boolean),
  reasons: Schema.Array(Schema.String),
  uptime: Schema.optionalKey(Schema.Finite),
  gateway: Schema.optionalKey(
    Schema.Struct({
      state: Schema.String,
      version: Schema.NullOr(Schema.String),
      lastSendError: Schema.NullOr(Schema.String)
    })
  ),
  controlPlane: Schema.optionalKey(Schema.Struct({ push: Schema.Boolean })),
  delivery: Schema.optionalKey(
    Schema.Struct({
      inFlight: Schema.optionalKey(Schema.Finite),
      stuck: Schema.optionalKey(Schema.Finite),
      successCount: Schema.optionalKey(Schema.Finite),
      failureCount: Schema.optionalKey(Schema.Finite),
      consecutiveFailures: Schema.optionalKey(Schema.Finite),
      deadLetters: Schema.optionalKey(Schema.Finite),
      silences: Schema.optionalKey(Schema.Finite),
      oldestWaiting: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
      lastErrorMessage: Schema.optionalKey(Schema.NullOr(Schema.String)),
      lastErrorAt: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
      config: Schema.optionalKey(Schema.Struct({ maxConcurrentSessions: Schema.Finite }))
    })
  ),
  agentSync: Schema.optionalKey(
    Schema.NullOr(
      Schema.Struct({
        agents: Schema.optionalKey(Schema.Unknown),
        paused: Schema.optionalKey(Schema.Array(Schema.String))
      })
    )
  ),
  heartbeats: Schema.optionalKey(
    Schema.NullOr(
      Schema.Struct({ inFlight: Schema.optionalKey(Schema.Finite), limit: Schema.optionalKey(Schema.Finite) })
    )
  ),
  versions: Schema.optionalKey(Schema.Struct({ runtime: Schema.String, openclaw: Schema.NullOr(Schema.String) }))
})
const decode = Schema.decodeUnknownOption(Shown)

/** Seconds in a readable unit: 45 s, 3 min, 2 h, 4 d. */
export const showSpan = (seconds: number): string => {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 120) return `${whole} s`
  if (whole < 7_200) return `${Math.round(whole / 60)} min`
  return whole < 172_800 ? `${Math.round(whole / 3_600)} h` : `${Math.round(whole / 86_400)} d`
}

const agentsOf = (agents: unknown): string =>
  Array.isArray(agents) ? String(agents.length) : typeof agents === "number" ? String(agents) : "-"

const pausedOf = (paused: ReadonlyArray<string> = []): string =>
  paused.length === 0 ? "" : `, paused: ${paused.join(", ")}`

/** The content of /health on one screen. */
export interface StatusScreen {
  text(paint: Paint): string
  readonly isHealthy: boolean
}

type Line = readonly [name: string, value: string, level?: Level | undefined]

const colors: Readonly<Record<Level, TerminalColor>> = { good: "green", warn: "yellow", bad: "red", idle: "grey" }

const gatewayLevels: Readonly<Record<string, Level>> = { ready: "good", unreachable: "bad", misconfigured: "bad" }

const levelOfStatus = (status: string): Level => (status === "healthy" ? "good" : levelOf(status))

/**
 * The screen, or null if the answer is not one of /health. `now` is in epoch milliseconds, `url` the address that
 * answered.
 */
export const statusScreen = (health: unknown, now: number, url: string): StatusScreen | null => {
  const decoded = decode(health)
  if (Option.isNone(decoded)) return null
  const { agentSync, controlPlane, delivery = {}, gateway, heartbeats, ...rest } = decoded.value
  const readiness = rest.ready === undefined ? "" : rest.ready ? ", ready" : ", not ready"
  const ago = (millis: number | null | undefined) =>
    millis === null || millis === undefined ? "" : `${showSpan((now - millis) / 1_000)} ago`
  const level = levelOfStatus(rest.status)
  const { stuck = 0 } = delivery
  const limit = delivery.config === undefined ? "" : ` of ${delivery.config.maxConcurrentSessions}`
  const running = `${delivery.inFlight ?? 0}${limit}`
  const lines: ReadonlyArray<Line> = [
    ["status", `${rest.status}${readiness}${rest.uptime === undefined ? "" : `, up ${showSpan(rest.uptime)}`}`, level],
    ...rest.reasons.map((reason): Line => ["reason", singleLine(reason), level]),
    controlPlane === undefined
      ? ["control plane", "-"]
      : controlPlane.push
        ? ["control plane", "push connected", "good"]
        : ["control plane", "push down, polling", "warn"],
    gateway === undefined
      ? ["gateway", "-"]
      : [
          "gateway",
          `${gateway.state}${gateway.version === null ? "" : `, OpenClaw ${gateway.version}`}`,
          gatewayLevels[gateway.state] ?? "warn"
        ],
    [
      "agents",
      agentSync === null || agentSync === undefined ? "-" : agentsOf(agentSync.agents) + pausedOf(agentSync.paused)
    ],
    [
      "heartbeats",
      heartbeats?.limit === undefined ? "-" : `${heartbeats.inFlight ?? 0} of ${heartbeats.limit} running`
    ],
    ["running turns", stuck === 0 ? running : `${running}, ${stuck} seemingly stuck`, stuck === 0 ? undefined : "warn"],
    [
      "oldest waiting",
      delivery.oldestWaiting === null || delivery.oldestWaiting === undefined
        ? "none"
        : `for ${showSpan((now - delivery.oldestWaiting) / 1_000)}`
    ],
    [
      "delivered",
      `${delivery.successCount ?? 0}, failed ${delivery.failureCount ?? 0} (${delivery.consecutiveFailures ?? 0} in a row), unanswered ${delivery.silences ?? 0}, dead letters ${delivery.deadLetters ?? 0}`
    ],
    [
      "last error",
      delivery.lastErrorMessage === null || delivery.lastErrorMessage === undefined
        ? "none"
        : `${singleLine(delivery.lastErrorMessage)} (${ago(delivery.lastErrorAt)})`
    ],
    ...(gateway?.lastSendError === null || gateway === undefined
      ? []
      : [["gateway error", singleLine(gateway.lastSendError)] satisfies Line]),
    ["version", rest.versions?.runtime ?? "-"],
    ["page", `${url}/`]
  ]
  return {
    text: (paint) =>
      lines
        .map(([name, value, level]) => {
          const shown = level === undefined ? value : paint(colors[level], value)
          return `${paint("grey", name.padEnd(16))}${shown}`
        })
        .join("\n"),
    isHealthy: rest.status === "healthy"
  }
}
