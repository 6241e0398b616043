import { type JSONValue } from "convex/values"
import { type Kind } from "./app.ts"
import { type Change, type ReadSet } from "./readSet.ts"
import { type Origin } from "./stats.ts"

/** A person as whom a call acts. */
export type Identity = { readonly [attribute: string]: JSONValue }

/** A call of one function. */
export type Call = {
  readonly path: string
  /** The kind the caller expects; absent when any will do. */
  readonly kind?: Kind
  readonly args: JSONValue
  readonly identity: Identity | null
  /** May call internal functions. */
  readonly isAdmin: boolean
  readonly origin: Origin
  /** The scheduled job this call is; it ends in the same transaction. */
  readonly jobId?: string
  /** Written to the durable file in the same transaction, so that a call sent again is known. */
  readonly request?: { readonly session: string; readonly id: number }
}

/** What became of a call. Everything but a ConvexError's data is redacted, as in production. */
export type Result =
  | { readonly status: "success"; readonly value: JSONValue; readonly timestamp: bigint; readonly reads: ReadSet }
  | { readonly status: "error"; readonly errorMessage: string; readonly errorData?: JSONValue; readonly reads: ReadSet }
  /** The deployment itself could not do it; retrying may help. */
  | { readonly status: "unavailable"; readonly code: string; readonly message: string }

/** A transaction that has happened. */
export type Commit = {
  readonly timestamp: bigint
  readonly changes: ReadonlyArray<Change>
  /** The client mutation it was, and its answer. */
  readonly request?: { readonly session: string; readonly id: number; readonly value: JSONValue }
  readonly nextDocumentId: number
  readonly lastCreationTime: number
}
