import { defineTable } from "convex/server"
import { v } from "convex/values"
import { actor } from "./actor.ts"
import { notificationType } from "./notifications.ts"

export const messageKind = v.union(v.literal("message"), v.literal("reply"), v.literal("fallback"), v.literal("note"))

export const documentType = v.union(
  v.literal("deliverable"),
  v.literal("note"),
  v.literal("template"),
  v.literal("reference")
)

export const threadTables = {
  messages: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    author: actor,
    content: v.string(),
    kind: messageKind,
    hops: v.number(),
    /** For a message of a run: the run, its epoch, and the type of event that it answers. */
    runId: v.optional(v.string()),
    epoch: v.optional(v.number()),
    answersType: v.optional(notificationType),
    isTruncated: v.optional(v.boolean()),
    /** The model that wrote it, as far as the runtime knows. */
    model: v.optional(v.string())
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId"]),

  documents: defineTable({
    accountId: v.id("accounts"),
    taskId: v.optional(v.id("tasks")),
    title: v.string(),
    content: v.string(),
    type: documentType,
    author: actor,
    /** The one document that shows every agent where the code is. */
    isRepository: v.boolean(),
    updatedAt: v.number()
  })
    .index("by_account_age", ["accountId"])
    .index("by_task", ["taskId", "updatedAt"])
    .index("by_account", ["accountId", "updatedAt"])
    .index("by_type", ["accountId", "type", "updatedAt"])
    .index("by_repository", ["accountId", "isRepository"])
}
