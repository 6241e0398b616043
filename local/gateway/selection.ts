import { randomUUID } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"

/** The agent and session that the request selects; the run may still refuse the key. */
export interface Selection {
  readonly agent: string
  readonly sessionKey: string
}

/** The session of a run. The key's agent decides, not the header's. */
export interface RunTarget {
  readonly agent: string
  readonly sessionKey: string
}

const agentPattern = /^[a-z0-9_][a-z0-9_-]{0,63}$/i
const modelPattern = /^(?:openclaw[:/]|agent:)([a-z0-9][a-z0-9_-]{0,63})$/i
const noOwner =
  "Multiple agents are configured, but this operation has no explicit owner. Select an agent explicitly; CLI callers can pass --agent <id>, channels can add a binding, and ambient services can set their agentId target."

/** The agent, from the header before the model, then the session key; or the message of the 400. */
export const selectAgent = (
  headers: IncomingHttpHeaders,
  model: string,
  agents: ReadonlyArray<string>
): { readonly agent: string } | { readonly refused: string } => {
  const name = model.trim().toLowerCase()
  const general = name === "" || name === "openclaw" || name === "openclaw/default"
  const fromModel = modelPattern.exec(model.trim())?.[1]?.toLowerCase()
  if (!general && fromModel === undefined) {
    return { refused: "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`." }
  }
  const header = headerOf(headers, "x-openclaw-agent-id") ?? headerOf(headers, "x-openclaw-agent")
  if (header !== undefined && !agentPattern.test(header)) return { refused: `Unknown agent '${header}'.` }
  const asked = header?.toLowerCase() ?? fromModel
  if (asked !== undefined) return agents.includes(asked) ? { agent: asked } : { refused: `Unknown agent '${asked}'.` }
  const sole = agents.length === 1 ? agents[0] : undefined
  return sole === undefined ? { refused: noOwner } : { agent: sole }
}

/** The session key of a request: its header, its `user`, or a new one; or the message of the 400. */
export const selectSession = (
  headers: IncomingHttpHeaders,
  agent: string,
  user: string | undefined
): { readonly sessionKey: string } | { readonly refused: string } => {
  const explicit = headerOf(headers, "x-openclaw-session-key")
  if (explicit !== undefined) {
    if (isReserved(explicit)) {
      return { refused: "`x-openclaw-session-key` cannot use reserved internal session namespaces." }
    }
    return { sessionKey: explicit }
  }
  const person = user?.trim()
  const rest = person ? `openresponses-user:${person}` : `openresponses:${randomUUID()}`
  return { sessionKey: `agent:${agent}:${rest}`.toLowerCase() }
}

/**
 * The session that a key names. Keys are lower-cased. `agent:<id>:<rest>` runs that agent, even if the header names
 * another; a bare key belongs to the only agent. Undefined, which is a failed run, for unknown agents and for bare keys
 * if there are several agents.
 */
export const resolveKey = (key: string, agents: ReadonlyArray<string>): RunTarget | undefined => {
  const sessionKey = key.toLowerCase()
  const agent = /^agent:([^:]+):.+$/s.exec(sessionKey)?.[1]
  if (agent !== undefined) return agents.includes(agent) ? { agent, sessionKey } : undefined
  const sole = agents.length === 1 ? agents[0] : undefined
  return sole === undefined ? undefined : { agent: sole, sessionKey: `agent:${sole}:${sessionKey}` }
}

const isReserved = (key: string): boolean => /^(?:agent:[^:]*:)?(?:subagent|cron|acp):/i.test(key)

const headerOf = (headers: IncomingHttpHeaders, name: string): string | undefined => {
  const value = headers[name]
  const text = (Array.isArray(value) ? value[0] : value)?.trim()
  return text === "" ? undefined : text
}
