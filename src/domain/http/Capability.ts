/** The header in which an agent names its session. */
export const SESSION_KEY_HEADER = "x-openclaw-session-key"

/** The header in which an agent proves that it acts in a live run. */
export const CAPABILITY_HEADER = "x-mission-control-capability"

/**
 * The prefix by which the redactor recognises a capability in any text, without searching for each valid one.
 */
export const CAPABILITY_PREFIX = "mc_run_"

/** What a capability is valid for: one attempt of one run of one agent. */
export interface CapabilityClaims {
  /** The notification's id or the heartbeat's. */
  readonly runId: string
  readonly agentId: string
  readonly taskId: string | null
  readonly epoch: number
}

/** The text that is signed: JSON, so that the values cannot run together. */
export const capabilityText = ({ agentId, epoch, runId, taskId }: CapabilityClaims): string =>
  JSON.stringify([runId, agentId, taskId, epoch])
