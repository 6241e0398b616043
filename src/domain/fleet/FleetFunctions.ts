import type { OfKind, PathIn } from "../controlPlane/ConvexFunctions.ts"

/** The internal functions that the commands for a fleet call; the only list of their paths. */
export const fleetFunctions = {
  accounts: "operator/accounts:list",
  account: "operator/accounts:get",
  find: "operator/accounts:find",
  pause: "operator/accounts:pause",
  resume: "operator/accounts:resume",
  remove: "operator/accounts:remove",
  provisionDryRun: "operator/provisioning:dryRun",
  provision: "operator/provisioning:apply",
  exportPage: "operator/exports:page",
  upgradeInWaves: "operator/waves:upgrade",
  restartInWaves: "operator/waves:restart",
  rollout: "operator/waves:show",
  rolloutAccounts: "operator/waves:accounts",
  resumeRollout: "operator/waves:resume",
  rollBackRollout: "operator/waves:rollback",
  cancelRollout: "operator/waves:cancel"
} as const satisfies Record<string, PathIn<"operator">>

export type FleetPath = (typeof fleetFunctions)[keyof typeof fleetFunctions]
export type FleetQuery = OfKind<"query", FleetPath>
export type FleetMutation = OfKind<"mutation", FleetPath>
