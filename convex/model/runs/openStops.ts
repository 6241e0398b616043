import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"

/** The account's stops that are still in progress, usually none. Reads one row each. */
export const openStops = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<ReadonlyArray<Doc<"stops">>> =>
  ctx.db
    .query("stops")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(100)

/** Whether one of these stops will end the notification. */
export const isStopping = (stops: ReadonlyArray<Doc<"stops">>, row: Doc<"notifications">): boolean =>
  stops.some(
    ({ _creationTime, agentId, exceptRun, taskId }) =>
      row._creationTime <= _creationTime &&
      row._id !== exceptRun &&
      (agentId ?? taskId) === (agentId === undefined ? row.taskId : row.agentId)
  )
