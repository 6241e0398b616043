import type { LaunchedPlane } from "../local/launcher.ts"

/** The local plane's counters of one function. */
export type FunctionStats = {
  readonly calls: number
  readonly byOrigin: Readonly<Record<"client" | "subscription" | "scheduled" | "cron" | "action", number>>
  readonly conflicts: number
  readonly retries: number
  /** Calls answered with 503 after too many conflicts. */
  readonly givenUp: number
  readonly documentsRead: number
  readonly documentsWritten: number
  /** The use of limits by its transactions: the last one, the largest one, and the total. */
  readonly usage: Readonly<
    Record<
      "readIntervals" | "documentsRead" | "documentsWritten" | "bytesRead" | "bytesWritten",
      { readonly last: number; readonly max: number; readonly total: number }
    >
  >
}

const headers = (plane: LaunchedPlane) => ({ authorization: `Convex ${plane.adminKey}` })

/** The local plane's statistics. */
export type PlaneStats = {
  /** Counters since the last reset, by function. */
  readonly functions: Readonly<Record<string, FunctionStats>>
  /** How many documents each table holds. */
  readonly documents: Readonly<Record<string, number>>
  /** Subscription updates that were sent to all sockets since the last reset. */
  readonly transitions: number
}

/** Reads the plane's counters and the sizes of its tables. */
export const planeStats = async (plane: LaunchedPlane): Promise<PlaneStats> => {
  const response = await fetch(`${plane.url}/__local/stats`, { headers: headers(plane) })
  return (await response.json()) as PlaneStats
}

/** Sets the counters to zero. */
export const resetPlaneStats = async (plane: LaunchedPlane): Promise<void> => {
  await fetch(`${plane.url}/__local/stats`, { method: "DELETE", headers: headers(plane) })
}
