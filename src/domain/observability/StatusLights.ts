/** The status page's indicators. */
import type { Breaker } from "../gateway/Breaker.ts"
import type { Health, HealthStatus } from "./Health.ts"

export type Level = "good" | "warn" | "bad" | "idle"

/** One indicator. `more` may contain {age} or {until}, counted from `at` (epoch milliseconds). */
export interface Light {
  readonly name: string
  readonly level: Level
  readonly text: string
  readonly more: string
  readonly at: number | null
}

/** The last known state of the gateway. */
interface SeenGateway {
  readonly state: "unknown" | "ready" | "draining" | "unreachable" | "misconfigured"
  readonly lastSendAt: number | null
  readonly lastSendError: string | null
}

/** The data of the indicators. Times are epoch milliseconds, those of the breaker monotonic. */
export interface Parts {
  readonly health: Health
  /** Whether the state of the process allows new work. */
  readonly canClaim: boolean
  readonly push: { readonly isConnected: boolean; readonly lastMessageAt: number | null }
  readonly gateway: SeenGateway
  readonly breaker: Breaker
  /** Milliseconds until the breaker allows a probe; null if it is not open. */
  readonly opensIn: number | null
  readonly permits: { readonly total: number; readonly free: number }
  readonly now: number
}

const levels: Readonly<Record<string, Level>> = {
  booting: "warn",
  online: "good",
  paused: "warn",
  degraded: "warn",
  failing: "bad",
  draining: "warn",
  offline: "bad"
} satisfies Readonly<Record<HealthStatus, Level>>

/** The colour of a status. */
export const levelOf = (status: string): Level => levels[status] ?? "warn"

const capitalised = (word: string): string => `${word[0]!.toUpperCase()}${word.slice(1)}`

const gatewayLevels: Readonly<Record<SeenGateway["state"], Level>> = {
  unknown: "idle",
  ready: "good",
  draining: "warn",
  unreachable: "bad",
  misconfigured: "bad"
}

const gatewayLight = ({ lastSendAt, lastSendError, state }: SeenGateway): Omit<Light, "name"> => {
  const text = capitalised(state)
  if (lastSendError === null) {
    const more = lastSendAt === null ? "no turn yet" : "last request {age} ago"
    return { level: gatewayLevels[state], text, more, at: lastSendAt }
  }
  return state === "ready"
    ? { level: "warn", text: "Ready, last turn failed", more: lastSendError, at: null }
    : { level: gatewayLevels[state], text, more: lastSendError, at: null }
}

const breakerLight = ({ breaker, canClaim, now, opensIn }: Parts): Omit<Light, "name"> => {
  switch (breaker._tag) {
    case "Closed":
      return breaker.failures === 0
        ? { level: "good", text: "Closed", more: "turns may start", at: null }
        : { level: "warn", text: "Closed", more: `${breaker.failures} shared failures in a row`, at: null }
    case "Open":
      return canClaim && opensIn !== null
        ? { level: "bad", text: "Open", more: "nothing is claimed; probe {until}", at: now + opensIn }
        : { level: "bad", text: "Open", more: "nothing is claimed", at: null }
    case "HalfOpen":
      return { level: "warn", text: "Half open", more: "one turn probes the gateway", at: null }
  }
}

/** The gateway's state for people. Wrong settings that a turn found count even if the gateway answers probes. */
export const shownGateway = <Seen extends SeenGateway>(seen: Seen, isMisconfigured: boolean): Seen =>
  isMisconfigured ? { ...seen, state: "misconfigured" } : seen

const failingAgents = ({ failing }: Health): string => {
  const count = new Set(failing.map(({ agent }) => agent)).size
  return count === 1 ? "1 agent fails" : `${count} agents fail`
}

/** The indicators of the runtime, push, the gateway and the breaker. */
export const statusLights = (parts: Parts): ReadonlyArray<Light> => {
  const { gateway, health, permits, push } = parts
  return [
    {
      name: "Runtime",
      level: levelOf(health.status),
      text: capitalised(health.status),
      more:
        health.status === "paused"
          ? "by a person of the account"
          : health.failing.length > 0
            ? failingAgents(health)
            : `${permits.total - permits.free} of ${permits.total} turns at once`,
      at: null
    },
    {
      name: "Control plane's push",
      level: push.isConnected ? "good" : "warn",
      text: push.isConnected ? "Connected" : "Down, polling",
      more: push.lastMessageAt === null ? "no message yet" : "last message {age} ago",
      at: push.lastMessageAt
    },
    { name: "Gateway", ...gatewayLight(gateway) },
    { name: "Breaker", ...breakerLight(parts) }
  ]
}
