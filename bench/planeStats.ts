import type { LaunchedPlane } from "../local/launcher.ts"

/** What the embedded plane counted of one function. */
export type FunctionStats = {
  readonly calls: number
  readonly byOrigin: Readonly<Record<"client" | "subscription" | "scheduled" | "cron" | "action", number>>
  readonly documentsRead: number
  readonly documentsWritten: number
}

const headers = (plane: LaunchedPlane) => ({ authorization: `Convex ${plane.adminKey}` })

/** The counters since the last reset, by function. */
export const planeStats = async (plane: LaunchedPlane): Promise<Readonly<Record<string, FunctionStats>>> => {
  const response = await fetch(`${plane.url}/__local/stats`, { headers: headers(plane) })
  const { functions } = (await response.json()) as { functions: Record<string, FunctionStats> }
  return functions
}

/** Sets the counters to zero. */
export const resetPlaneStats = async (plane: LaunchedPlane): Promise<void> => {
  await fetch(`${plane.url}/__local/stats`, { method: "DELETE", headers: headers(plane) })
}
