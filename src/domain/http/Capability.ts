/** The header in which an agent names its session. */
export const SESSION_KEY_HEADER = "x-openclaw-session-key"

/** The header in which an agent proves that it acts in a live run. */
export const CAPABILITY_HEADER = "x-mission-control-capability"

/**
 * How a capability begins, so that it is known by its shape wherever it turns up: a list of those that live would have
 * to be searched for in every text.
 */
export const CAPABILITY_PREFIX = "mc_run_"

/** What a capability stands for: one attempt of one run of one agent. */
export interface CapabilityClaims {
  /** The notification's id or the heartbeat's. */
  readonly runId: string
  readonly agentId: string
  readonly taskId: string | null
  readonly epoch: number
}

/** The claims as the one text that is signed; JSON, so that no id can run into its neighbour. */
export const capabilityText = ({ agentId, epoch, runId, taskId }: CapabilityClaims): string =>
  JSON.stringify([runId, agentId, taskId, epoch])
