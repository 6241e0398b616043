import { v } from "convex/values"
import { documentType } from "../../tables/threads.ts"
import { byPolicy, refusal } from "../access/refusal.ts"
import { createOnce, recordEffect } from "../runs/effects.ts"
import { mustActOn, mustHaveFlag } from "../runs/runs.ts"
import { taskOf } from "../tasks/taskView.ts"
import { createDocument, documentOf, updateDocument } from "../threads/documents.ts"
import { defineTool } from "./agentTool.ts"

/** document_upsert: creates a document once per run and arguments, or replaces the one with this id. */
export const upsertDocument = defineTool({
  name: "document_upsert",
  args: {
    title: v.string(),
    content: v.string(),
    type: documentType,
    documentId: v.optional(v.string()),
    taskId: v.optional(v.string())
  },
  returns: v.object({ documentId: v.string(), taskId: v.union(v.string(), v.null()), repeated: v.boolean() }),
  prepare: async (ctx, run, args) => {
    const { title, content, type } = args
    const fields = { title, content, type }
    mustHaveFlag(run, "canCreateDocuments")
    const { actor } = run.origin
    if (args.documentId !== undefined) {
      const document = await documentOf(ctx, run.accountId, args.documentId)
      const isAuthor = document.author.type === "agent" && document.author.id === run.agent._id
      const mayChangeAll = run.agent.isOrchestrator || isAuthor
      if (!mayChangeAll && (document.isRepository || document.type === "reference" || type === "reference")) {
        throw refusal("forbidden", "Only the orchestrator or its author may change a reference.", byPolicy)
      }
      if (!mayChangeAll && document.taskId === undefined) {
        throw refusal("forbidden", "Only the orchestrator or its author may change this document.", byPolicy)
      }
      // A task is read only for a check, by the rule below and by policies.
      const mustRead = !mayChangeAll || run.policies !== null
      const task = document.taskId === undefined || !mustRead ? null : await taskOf(ctx, run.accountId, document.taskId)
      if (!mayChangeAll && task !== null) mustActOn(run, task)
      return {
        task,
        act: async () => {
          await updateDocument(ctx, document, fields, { actor })
          await recordEffect(ctx, run, "document_upsert", `changed the ${type} "${title}"`)
          return { documentId: document._id, taskId: document.taskId ?? null, repeated: false }
        }
      }
    }
    const taskId = args.taskId ?? run.taskId
    const task = taskId === null ? null : await taskOf(ctx, run.accountId, taskId)
    if (task !== null) mustActOn(run, task)
    const once = { ...fields, taskId: task?._id }
    return {
      task,
      once,
      act: () =>
        createOnce(ctx, run, "document_upsert", once, async () => {
          const by = task === null ? { actor } : { actor, taskId: task._id }
          const documentId: string = await createDocument(ctx, run.accountId, fields, by)
          return { result: { documentId, taskId: task?._id ?? null }, summary: `wrote the ${type} "${title}"` }
        })
    }
  }
})
