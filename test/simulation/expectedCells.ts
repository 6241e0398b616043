import { behaviours } from "./memoryGateway.ts"
import type { Fault, Step } from "./world.ts"

/** Every call of the control plane. */
const calls = ["claim", "renew", "join", "complete", "fail", "release", "heartbeat", "pulse", "tool", "read"] as const

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
  outage: ["claim"],
  // It strikes the account, whichever call it comes with; claims are the most frequent.
  "token refused": ["claim"],
  "parked push": ["push"]
}

/** Ends that the invariants judged by what came before them. */
const ends = [
  "posted, marked|complete",
  "posted, marked|heartbeat",
  "ConnectionLost|fail",
  "TurnRefused|fail",
  "TurnUnreadable|fail",
  "ContextOverflow|fail",
  "TurnStopped|complete",
  "Defect|fail",
  "GatewayUnreachable|release",
  "GatewayMisconfigured|release",
  "UnknownAgent|release",
  "ProviderFailed|release",
  "GatewayRestarted|release",
  "TurnTimeout|fail",
  "TurnTimeout|release",
  "damaged|fail",
  "misshapen|fail",
  "message_missing|complete"
] as const

/** The cells of the coverage, `what|where`, that a few hundred seeds must fill. */
export const expectedCells: ReadonlyArray<string> = [
  ...Object.entries(faults).flatMap(([fault, steps]) => steps.map((step) => `${fault}|${step}`)),
  ...[
    ...behaviours,
    "poison",
    "in a new generation",
    "after an overflow",
    "after a heartbeat's overflow",
    "model call shown",
    "model call shown late",
    "closed by the budget"
  ].map((behaviour) => `${behaviour}|turn`),
  ...ends,
  "agent removed|people",
  "question answered|people",
  "agent paused|people",
  "agent paused, released|people",
  "offered again|claim",
  "abandoned|claim",
  "last claim|claim",
  "recalled|claim",
  "recalled, expired|claim",
  "runs again|people",
  "suspect|claim",
  "joined|complete",
  "message joined|turn",
  "updates|claim",
  "turns used up|claim",
  "declined|complete",
  "over|complete",
  "by cron|heartbeat",
  "exact|usage",
  "estimated|usage",
  "held, spent|claim",
  "held, reserved|claim",
  "resumed|claim",
  "asked|tool",
  "approved|people",
  "denied|people",
  "expired|people",
  "withdrawn|people"
]
