import { v } from "convex/values"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import {
  createDocument,
  documentOf,
  documentView,
  listDocuments,
  toDocumentView,
  updateDocument
} from "../model/threads/documents.ts"
import { documentType } from "../tables/threads.ts"

/**
 * Creates a document, or replaces the one with this id. The document with isRepository shows every agent where the code
 * is; setting it on one document removes it from the other. For members. Reads about three rows.
 */
export const upsert = memberMutation({
  args: {
    documentId: v.optional(v.string()),
    taskId: v.optional(v.string()),
    title: v.string(),
    content: v.string(),
    type: documentType,
    isRepository: v.optional(v.boolean())
  },
  returns: v.object({ documentId: v.string() }),
  handler: async (ctx, { documentId, taskId, isRepository, ...fields }) => {
    const by = { actor: ctx.actor, ...(isRepository === undefined ? {} : { isRepository }) }
    if (isRepository === true) {
      const marked = await ctx.db
        .query("documents")
        .withIndex("by_repository", (q) => q.eq("accountId", ctx.accountId).eq("isRepository", true))
        .take(10)
      for (const each of marked) await ctx.db.patch("documents", each._id, { isRepository: false })
    }
    if (documentId === undefined) {
      const where = taskId === undefined ? {} : { taskId: (await taskOf(ctx, ctx.accountId, taskId))._id }
      return { documentId: await createDocument(ctx, ctx.accountId, fields, { ...by, ...where }) }
    }
    const document = await documentOf(ctx, ctx.accountId, documentId)
    await updateDocument(ctx, document, fields, by)
    return { documentId: document._id }
  }
})

/**
 * The documents of the account or a task, most recently changed first, cut at 4,000 characters. For members. Reads one
 * row each.
 */
export const list = memberQuery({
  args: { taskId: v.optional(v.string()), type: v.optional(documentType), limit: v.optional(v.number()) },
  returns: v.array(documentView),
  handler: async (ctx, args) => {
    const task = args.taskId === undefined ? null : await taskOf(ctx, ctx.accountId, args.taskId)
    const filter = {
      ...(task === null ? {} : { taskId: task._id }),
      ...(args.type === undefined ? {} : { type: args.type })
    }
    const found = await listDocuments(ctx, ctx.accountId, filter, bounded(args.limit, 50, 200))
    return found.map((document) => toDocumentView(document, 4_000))
  }
})

/** One document with its whole content. For members. Reads one row. */
export const get = memberQuery({
  args: { documentId: v.string() },
  returns: documentView,
  handler: async (ctx, { documentId }) => toDocumentView(await documentOf(ctx, ctx.accountId, documentId))
})

/** Deletes a document. For members. Reads one row. */
export const remove = memberMutation({
  args: { documentId: v.string() },
  returns: v.null(),
  handler: async (ctx, { documentId }) => {
    const document = await documentOf(ctx, ctx.accountId, documentId)
    await ctx.db.delete("documents", document._id)
    return null
  }
})
