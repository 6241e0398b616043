import { protocolMismatch, servedProtocols } from "../../../src/domain/shared/Protocol.ts"
import { refusal } from "../access/refusal.ts"
import { type NamedLease, checkLeaseMs, checkNamed } from "./leases.ts"

export interface ClaimRequest {
  readonly protocol: number
  readonly runtimeId: string
  readonly bootId: string
  readonly number: number
  readonly limit: number
  readonly heartbeatLimit: number
  readonly leaseMs: number
  readonly maxAttempts: number
  readonly maxTurns: number
  readonly held: ReadonlyArray<NamedLease>
  readonly abandoned: ReadonlyArray<NamedLease>
  readonly recoverUnnamed: boolean
}

const maxLimit = 100

export const checkRequest = (request: ClaimRequest): void => {
  const isCount = (value: number, most: number) => Number.isInteger(value) && value >= 0 && value <= most
  checkLeaseMs(request.leaseMs)
  checkNamed(request.held)
  checkNamed(request.abandoned)
  if (!isCount(request.limit, maxLimit)) throw refusal("invalid", `limit is out of range: 0 to ${maxLimit}.`)
  if (!isCount(request.heartbeatLimit, maxLimit)) {
    throw refusal("invalid", `heartbeatLimit is out of range: 0 to ${maxLimit}.`)
  }
  if (!(Number.isInteger(request.maxAttempts) && request.maxAttempts >= 1)) {
    throw refusal("invalid", "maxAttempts is out of range: 1 or more.")
  }
  if (!(Number.isInteger(request.maxTurns) && request.maxTurns >= 1)) {
    throw refusal("invalid", "maxTurns is out of range: 1 or more.")
  }
  if (!(Number.isInteger(request.number) && request.number >= 1)) {
    throw refusal("invalid", "number is out of range: 1 or more.")
  }
  const outdated = protocolMismatch(request.protocol, servedProtocols)
  if (outdated !== null) {
    throw refusal(
      "conflict",
      `The contract versions of runtime and deployment do not match. Upgrade the ${outdated} first.`,
      {
        reason: "protocol"
      }
    )
  }
}
