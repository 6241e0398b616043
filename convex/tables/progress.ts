import { defineTable } from "convex/server"
import { v } from "convex/values"

/** How far a running turn is, as its runtime reported it. */
export const turnProgress = v.object({
  session: v.string(),
  epoch: v.number(),
  /** The tool that is running; null while the model is working. */
  tool: v.union(v.string(), v.null()),
  /** Since when the tool is running, or the model is working. */
  stepSince: v.number(),
  lastActivityAt: v.number(),
  /** It has been quiet for minutes, and the gateway does nothing for it. */
  isStuck: v.boolean()
})

export const progressTables = {
  /**
   * One row for each account that a member has watched: from when to when without a gap. Separate from other rows, so
   * that a watch reruns only the subscription of the runtimes' commands and the members' lists of running turns.
   */
  watches: defineTable({ accountId: v.id("accounts"), since: v.number(), until: v.number() }).index("by_account", [
    "accountId"
  ]),

  /**
   * One row for each RUNTIME_ID: its running turns. Only that runtime writes it, and no claim, renewal or outcome reads
   * it, so the two never conflict. A turn counts only while its session is leased under its epoch.
   */
  progress: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    at: v.number(),
    turns: v.array(turnProgress)
  })
    .index("by_runtime", ["accountId", "runtimeId"])
    .index("by_account", ["accountId"])
}
