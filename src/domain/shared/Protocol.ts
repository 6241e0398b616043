/**
 * The version of the contract between runtime and control plane. It is raised with every change that affects the
 * other side. The pulse, the commands and their acknowledgement never change, so that any runtime can be upgraded.
 */
export const PROTOCOL = 1

/** The oldest and the newest version that a deployment serves. */
export interface ServedProtocols {
  readonly oldest: number
  readonly newest: number
}

/** A deployment serves its own version and the previous one, because runtimes are upgraded one after another. */
export const protocolsServedAt = (version: number): ServedProtocols => ({
  oldest: Math.max(1, version - 1),
  newest: version
})

/** The versions that this deployment serves. */
export const servedProtocols: ServedProtocols = protocolsServedAt(PROTOCOL)

/** The versions of a deployment that does not report them. */
export const firstProtocol: ServedProtocols = protocolsServedAt(1)

/** Which side must be upgraded before they can work together; null if they can. */
export const protocolMismatch = (
  runtime: number,
  { newest, oldest }: ServedProtocols
): "runtime" | "deployment" | null => (runtime < oldest ? "runtime" : runtime > newest ? "deployment" : null)

/** Why runtime and deployment cannot work together, and the remedy; null if they can. */
export const protocolProblem = (runtime: number, served: ServedProtocols): readonly [string, string] | null => {
  const mismatch = protocolMismatch(runtime, served)
  if (mismatch === null) return null
  const { newest, oldest } = served
  const range = oldest === newest ? `version ${newest}` : `versions ${oldest} to ${newest}`
  const remedy =
    mismatch === "runtime"
      ? "upgrade the runtime (app/runtimes:upgrade, or install the newer release)"
      : "upgrade the deployment (npx convex deploy from this runtime's release)"
  return [`the deployment serves protocol ${range}, this runtime needs ${runtime}`, remedy]
}
