import { Effect } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { Lifecycle } from "./Lifecycle.ts"

/**
 * Handles a failure that concerns the whole process and not only one call: after a refused token or protocol it claims
 * nothing, and a superseded boot ends. Returns whether it was such a failure.
 */
export const noteRefusal = (lifecycle: Lifecycle["Service"], failure: ControlPlaneFailure): Effect.Effect<boolean> => {
  switch (failure._tag) {
    case "TokenRefused":
      return Effect.as(lifecycle.setReason("token", `the deployment refuses SERVICE_TOKEN: ${failure.detail}`), true)
    case "ProtocolRefused":
      return Effect.as(lifecycle.setReason("protocol", failure.detail), true)
    case "BootConflict":
      return Effect.as(lifecycle.abort({ exitCode: 78, message: failure.detail }), true)
    default:
      return Effect.succeed(false)
  }
}
