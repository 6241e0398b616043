import type { Doc, Id, TableNames } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"

/**
 * Every table with rows of an account, in the order in which a deletion empties them, with its index of an account's
 * rows by creation. Tokens and members are first, so that no one can call afterwards; activities are last, because
 * other deletions may add some.
 */
const indexes = {
  serviceTokens: "by_account",
  members: "by_account",
  webhooks: "by_account",
  webhookDeliveries: "by_account",
  boots: "by_account",
  runtimes: "by_account_age",
  runtimeCommands: "by_account",
  watches: "by_account",
  progress: "by_account",
  rolloutAccounts: "by_account",
  stops: "by_account",
  pauses: "by_account_age",
  heartbeats: "by_account",
  sessions: "by_account",
  seenTasks: "by_account",
  wakes: "by_account",
  approvals: "by_account",
  responseRequests: "by_account",
  notifications: "by_account",
  effects: "by_account",
  attempts: "by_account",
  usageDays: "by_account_age",
  usageTotals: "by_account_age",
  budgets: "by_account",
  subscriptions: "by_account",
  participants: "by_account",
  assignments: "by_account",
  taskLoops: "by_account",
  pullRequestLinks: "by_account",
  messages: "by_account",
  documents: "by_account_age",
  tasks: "by_account_age",
  agentTexts: "by_account",
  agents: "by_account_age",
  skills: "by_account_age",
  activities: "by_account"
} as const satisfies { readonly [Table in OwnedTable]: "by_account" | "by_account_age" }

/** The tables whose rows name their account. */
export type OwnedTable = {
  [Table in TableNames]: Doc<Table> extends { readonly accountId: Id<"accounts"> } ? Table : never
}[TableNames]

/** Every table with rows of an account, in the order in which a deletion empties them. */
export const ownedTables = Object.keys(indexes) as ReadonlyArray<OwnedTable>

/** The rows of an account in a table that were created after that time, the oldest first. */
export const rowsOf = (
  ctx: Pick<QueryCtx, "db">,
  table: OwnedTable,
  accountId: Id<"accounts">,
  after = 0
): AsyncIterable<Doc<OwnedTable>> =>
  ctx.db
    // All of these indexes have the same field, which the compiler cannot see for a union of tables.
    .query(table as "messages")
    .withIndex(indexes[table] as "by_account", (q) => q.eq("accountId", accountId).gt("_creationTime", after))
