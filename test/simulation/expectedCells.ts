import type { Fault, Step } from "./world.ts"

/** Every call of the control plane. */
const calls = [
  "claim",
  "context",
  "renew",
  "complete",
  "fail",
  "release",
  "beat",
  "beat end",
  "pulse",
  "tool",
  "read"
] as const

/** Where each fault must have struck. */
const faults: Readonly<Record<Fault, ReadonlyArray<Step>>> = {
  drop: calls,
  "lost answer": calls,
  duplicate: calls,
  reorder: calls,
  delay: calls,
  unavailable: calls,
  "crash before": [...calls, "turn"],
  "crash after": [...calls, "turn"],
  freeze: [...calls, "turn"],
  "clock jump": [...calls, "turn"],
  // It is the account's, whichever call it comes with; claims are the most.
  "token refused": ["claim"],
  "parked push": ["push"]
}

/** What the gateway must have done with a round. */
const behaviours = [
  "text",
  "truncated",
  "calls",
  "silence",
  "nothing to add",
  "slow",
  "hang",
  "unreachable",
  "connection lost",
  "proxy's patience",
  "misconfigured",
  "unknown agent",
  "refused",
  "provider failed",
  "internal error",
  "unreadable",
  "defect",
  "poison",
  "in a new generation"
] as const

/** Ends that were looked at because of what came before them; what each must be the invariants say. */
const ends = [
  "posted, marked|complete",
  "posted, marked|beat",
  "ConnectionLost|fail",
  "TurnRefused|fail",
  "TurnUnreadable|fail",
  "Defect|fail",
  "GatewayUnreachable|release",
  "GatewayMisconfigured|release",
  "UnknownAgent|release",
  "ProviderFailed|release",
  "damaged|fail",
  "misshapen|fail",
  "message_missing|complete",
  "agent_missing|complete"
] as const

/** The cells of the coverage, `what|where`, that a few hundred seeds must have filled. */
export const expectedCells: ReadonlyArray<string> = [
  ...Object.entries(faults).flatMap(([fault, steps]) => steps.map((step) => `${fault}|${step}`)),
  ...behaviours.map((behaviour) => `${behaviour}|turn`),
  ...ends,
  "agent removed|people",
  "by cron|beat"
]
