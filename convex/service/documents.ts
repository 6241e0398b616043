import { v } from "convex/values"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { callTool } from "../model/approvals/toolCall.ts"
import { bounded } from "../model/database/bounded.ts"
import { runArgs } from "../model/runs/runs.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { documentOf, documentView, listDocuments, toDocumentView } from "../model/threads/documents.ts"
import { orNeedsApproval } from "../model/tools/agentTool.ts"
import { upsertDocument } from "../model/tools/documentTools.ts"
import { documentType } from "../tables/threads.ts"

/**
 * Writes a document (document_upsert). Creates a new one once per run and arguments, on the run's task unless another
 * is named; or replaces the one with this id. Only the orchestrator or its author changes a document that prompts show
 * (a reference, the repository document). For runtimes. Reads about ten rows.
 */
export const upsert = serviceMutation({
  args: { ...runArgs, ...upsertDocument.args },
  returns: orNeedsApproval(upsertDocument.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, upsertDocument, args)
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
