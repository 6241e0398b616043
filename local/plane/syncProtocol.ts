import { type JSONValue } from "convex/values"
import { type Result } from "./call.ts"
import { encodeTimestamp } from "./timestamp.ts"

type QueryModification =
  | {
      readonly type: "Add"
      readonly queryId: number
      readonly udfPath: string
      readonly args: ReadonlyArray<JSONValue>
    }
  | { readonly type: "Remove"; readonly queryId: number }

/** A message from a client. */
export type ClientMessage =
  | { readonly type: "Connect"; readonly sessionId: string; readonly maxObservedTimestamp?: string }
  | {
      readonly type: "Authenticate"
      readonly baseVersion: number
      readonly tokenType: "Admin" | "User" | "None"
      readonly value?: string
      readonly impersonating?: Record<string, JSONValue>
    }
  | {
      readonly type: "ModifyQuerySet"
      readonly baseVersion: number
      readonly newVersion: number
      readonly modifications: ReadonlyArray<QueryModification>
    }
  | {
      readonly type: "Mutation" | "Action"
      readonly requestId: number
      readonly udfPath: string
      readonly args: ReadonlyArray<JSONValue>
    }
  | { readonly type: "Event" }

/** How one query of a session changed. */
export type Modification = { readonly type: string; readonly queryId: number; readonly [field: string]: unknown }

/** A mutation or an action that a client asks for. */
export type CallMessage = Extract<ClientMessage, { readonly type: "Mutation" | "Action" }>

/** A state of a session, as client and server count it. */
export type Version = { readonly querySet: number; readonly identity: number; readonly timestamp: bigint }

export const initialVersion: Version = { querySet: 0, identity: 0, timestamp: 0n }

export const wireVersion = ({ querySet, identity, timestamp }: Version): Record<string, unknown> => ({
  querySet,
  identity,
  ts: encodeTimestamp(timestamp)
})

export const modificationOf = (queryId: number, result: Result): Modification =>
  result.status === "success"
    ? { type: "QueryUpdated", queryId, value: result.value, logLines: [], journal: null }
    : {
        type: "QueryFailed",
        queryId,
        errorMessage: result.status === "error" ? result.errorMessage : result.message,
        ...(result.status === "error" && result.errorData !== undefined ? { errorData: result.errorData } : {}),
        logLines: [],
        journal: null
      }
