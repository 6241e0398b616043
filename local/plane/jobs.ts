import { getDocumentSize, type JSONValue, jsonToConvex } from "convex/values"
import { normalPath } from "./app.ts"
import { type ConvexGlobal } from "./convexInternals.ts"
import { type Store } from "./store.ts"

/** The table of scheduled functions. */
export const jobsTable = "_scheduled_functions"

/** A request of `ctx.scheduler`. */
export type ScheduleRequest = {
  readonly name?: string
  readonly functionHandle?: string
  readonly args: JSONValue
  /** Seconds since 1970. */
  readonly ts: number
}

/** A scheduled function was canceled before its turn came. */
export class JobIsOver extends Error {}

/** Whether a scheduled function still waits to run. */
const isPending = (store: Store, jobId: string): boolean => {
  const state = store.peek(jobId)?.["state"] as { readonly kind?: unknown } | undefined
  return state?.kind === "pending"
}

/** Fails with JobIsOver if the call is a scheduled function's and no longer waits to run. */
export const mustBePending = (store: Store, jobId: string | undefined): void => {
  if (jobId !== undefined && !isPending(store, jobId)) throw new JobIsOver()
}

/** Adds a scheduled function within the running transaction, or in its own for an action; returns its id. */
export const schedule = (
  { components, transactionManager }: ConvexGlobal,
  isKnown: (path: string) => boolean,
  { name, functionHandle, args, ts }: ScheduleRequest
): string => {
  const path = name ?? functionHandle?.split(";")[1]
  if (path === undefined) throw new Error("the local control plane cannot schedule functions of components")
  if (!isKnown(path)) throw new Error(`Could not find function for '${path}'`)
  const value = jsonToConvex(args)
  transactionManager.getMetricsTracker()?.trackScheduledFunction(getDocumentSize(value as never))
  return components[""]!.db.insert(jobsTable, {
    args: [value],
    name: normalPath(path),
    scheduledTime: ts * 1000,
    state: { kind: "pending" }
  })
}

/** Cancels a scheduled function that still waits; any other stays as it is. */
export const cancel = ({ components }: ConvexGlobal, store: Store, id: string): void => {
  if (!isPending(store, id)) return
  components[""]!.db.patch(jobsTable, id, { state: { kind: "canceled" }, completedTime: Date.now() })
}
