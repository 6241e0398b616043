import { v } from "convex/values"
import { byPolicy, refusal } from "../model/access/refusal.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { createOnce, recordEffect } from "../model/runs/effects.ts"
import { liveRun, mustActOn, mustHaveFlag, runArgs } from "../model/runs/runs.ts"
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
 * Writes a document (document_upsert). Creates a new one once per run and arguments, on the run's task unless another
 * is named; or replaces the one with this id. Only the orchestrator or its author changes a document that prompts show
 * (a reference, the repository document). For runtimes. Reads about ten rows.
 */
export const upsert = serviceMutation({
  args: {
    ...runArgs,
    title: v.string(),
    content: v.string(),
    type: documentType,
    documentId: v.optional(v.string()),
    taskId: v.optional(v.string())
  },
  returns: v.object({ documentId: v.string(), taskId: v.union(v.string(), v.null()), repeated: v.boolean() }),
  handler: async (ctx, args) => {
    const { title, content, type } = args
    const fields = { title, content, type }
    const run = await liveRun(ctx, ctx.accountId, args)
    mustHaveFlag(run, "canCreateDocuments")
    const { actor } = run.origin
    if (args.documentId !== undefined) {
      const document = await documentOf(ctx, ctx.accountId, args.documentId)
      const isAuthor = document.author.type === "agent" && document.author.id === run.agent._id
      if (!run.agent.isOrchestrator && !isAuthor) {
        if (document.isRepository || document.type === "reference" || type === "reference") {
          throw refusal("forbidden", "Only the orchestrator or its author may change a reference.", byPolicy)
        }
        if (document.taskId === undefined) {
          throw refusal("forbidden", "Only the orchestrator or its author may change this document.", byPolicy)
        }
        mustActOn(run, await taskOf(ctx, ctx.accountId, document.taskId))
      }
      await updateDocument(ctx, document, fields, { actor })
      await recordEffect(ctx, run, "document_upsert", `changed the ${type} "${title}"`)
      return { documentId: document._id, taskId: document.taskId ?? null, repeated: false }
    }
    const taskId = args.taskId ?? run.taskId
    const task = taskId === null ? null : await taskOf(ctx, ctx.accountId, taskId)
    if (task !== null) mustActOn(run, task)
    return await createOnce(ctx, run, "document_upsert", { ...fields, taskId: task?._id }, async () => {
      const by = task === null ? { actor } : { actor, taskId: task._id }
      const documentId: string = await createDocument(ctx, ctx.accountId, fields, by)
      return { result: { documentId, taskId: task?._id ?? null }, summary: `wrote the ${type} "${title}"` }
    })
  }
})

/**
 * The documents of the account or a task, most recently changed first, each cut at 4,000 characters (document_list).
 * For runtimes. Reads the documents, at most 500 or 3,000,000 characters.
 */
export const list = serviceQuery({
  args: { taskId: v.optional(v.string()), type: v.optional(documentType), limit: v.optional(v.number()) },
  returns: v.object({ documents: v.array(documentView) }),
  handler: async (ctx, args) => {
    const task = args.taskId === undefined ? null : await taskOf(ctx, ctx.accountId, args.taskId)
    const filter = {
      ...(task === null ? {} : { taskId: task._id }),
      ...(args.type === undefined ? {} : { type: args.type })
    }
    const found = await listDocuments(ctx, ctx.accountId, filter, bounded(args.limit, 20, 100))
    return { documents: found.map((document) => toDocumentView(document, 4_000)) }
  }
})

/** One document with its whole content. For runtimes. Reads one row. */
export const get = serviceQuery({
  args: { documentId: v.string() },
  returns: v.object({ document: documentView }),
  handler: async (ctx, { documentId }) => ({
    document: toDocumentView(await documentOf(ctx, ctx.accountId, documentId))
  })
})
