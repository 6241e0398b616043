import { type JSONValue } from "convex/values"
import { type Kind } from "./app.ts"
import { type RecordedCall } from "./callHistory.ts"
import { type Change, type ReadSet } from "./readSet.ts"
import { type Origin } from "./stats.ts"

/** The person as whom a call acts. */
export type Identity = { readonly [attribute: string]: JSONValue }

/** A call of one function. */
export type Call = {
  readonly path: string
  /** The kind that the caller expects; absent if any kind will do. */
  readonly kind?: Kind
  readonly args: JSONValue
  readonly identity: Identity | null
  /** May call internal functions. */
  readonly isAdmin: boolean
  readonly origin: Origin
  /** The scheduled job that this call runs; the job ends in the same transaction. */
  readonly jobId?: string
  /** Written to the durable file in the same transaction, so that the plane recognizes a repeated call. */
  readonly request?: { readonly session: string; readonly id: number }
}

/** The result of a call. As in production, everything but a ConvexError's data is redacted. */
export type Result =
  | { readonly status: "success"; readonly value: JSONValue; readonly timestamp: bigint; readonly reads: ReadSet }
  | { readonly status: "error"; readonly errorMessage: string; readonly errorData?: JSONValue; readonly reads: ReadSet }
  /** The deployment failed; a retry may succeed. */
  | { readonly status: "unavailable"; readonly code: string; readonly message: string }

/** A committed transaction, or a refused call that wrote nothing. */
export type Commit = {
  readonly timestamp: bigint
  readonly changes: ReadonlyArray<Change>
  /** The client mutation that it ran, and its answer. */
  readonly request?: { readonly session: string; readonly id: number; readonly value: JSONValue }
  /** The mutation that ran, for the history. */
  readonly call?: RecordedCall
  readonly nextDocumentId: number
  readonly lastCreationTime: number
}
