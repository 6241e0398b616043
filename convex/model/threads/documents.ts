import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { type Actor, actor } from "../../tables/actor.ts"
import { documentType } from "../../tables/threads.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { cut } from "../database/cut.ts"
import { readWithin } from "../database/readWithin.ts"

/** A document as agents and people see it. */
export const documentView = v.object({
  id: v.string(),
  taskId: v.union(v.string(), v.null()),
  title: v.string(),
  type: documentType,
  author: actor,
  isRepository: v.boolean(),
  updatedAt: v.number(),
  content: v.string(),
  isCut: v.boolean()
})

const maxTitleLength = 300
/** The maximum length of a document, in characters. */
export const maxContentLength = 200_000
/** The maximum number of characters read for one list. */
const listBudget = 3_000_000

/** The document as agents and people see it, with its content cut at `length` characters. */
export const toDocumentView = (document: Doc<"documents">, length = maxContentLength): Infer<typeof documentView> => ({
  id: document._id,
  taskId: document.taskId ?? null,
  title: document.title,
  type: document.type,
  author: document.author,
  isRepository: document.isRepository,
  updatedAt: document.updatedAt,
  content: cut(document.content, length),
  isCut: document.content.length > length
})

/** The account's document with this id. Fails with `not_found` otherwise. Reads one row. */
export const documentOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  documentId: string
): Promise<Doc<"documents">> => {
  const document = await ownRow(ctx, "documents", accountId, documentId)
  if (document === null) {
    throw refusal("not_found", "The account has no document with this id. List its documents.")
  }
  return document
}

/** The documents of the account or a task, optionally of one type, most recently changed first. */
export const listDocuments = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  filter: { readonly taskId?: Id<"tasks">; readonly type?: Doc<"documents">["type"] },
  limit: number
): Promise<Array<Doc<"documents">>> => {
  const { taskId, type } = filter
  const all = ctx.db.query("documents")
  const found =
    taskId !== undefined
      ? all.withIndex("by_task", (q) => q.eq("taskId", taskId))
      : type !== undefined
        ? all.withIndex("by_type", (q) => q.eq("accountId", accountId).eq("type", type))
        : all.withIndex("by_account", (q) => q.eq("accountId", accountId))
  const rows = await readWithin(found.order("desc"), 500, listBudget, (document) => document.content.length)
  return rows.filter((document) => type === undefined || document.type === type).slice(0, limit)
}

export interface DocumentFields {
  readonly title: string
  readonly content: string
  readonly type: Doc<"documents">["type"]
}

const checkFields = ({ title, content, type }: DocumentFields): DocumentFields => {
  if (title.trim() === "") throw refusal("invalid", "The title is empty. Write a title.")
  if (title.length > maxTitleLength) {
    throw refusal("limit", `The title is longer than ${maxTitleLength} characters. Shorten it.`)
  }
  if (content.length > maxContentLength) {
    throw refusal("limit", `The content is longer than ${maxContentLength} characters. Split the document.`)
  }
  return { title: title.trim(), content, type }
}

/** Creates a document. */
export const createDocument = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  fields: DocumentFields,
  by: { readonly actor: Actor; readonly taskId?: Id<"tasks">; readonly isRepository?: boolean }
): Promise<Id<"documents">> => {
  const checked = checkFields(fields)
  const where = by.taskId === undefined ? {} : { taskId: by.taskId }
  const id = await ctx.db.insert("documents", {
    accountId,
    ...where,
    ...checked,
    author: by.actor,
    isRepository: by.isRepository ?? false,
    updatedAt: Date.now()
  })
  await recordActivity(ctx, {
    accountId,
    type: "document_created",
    actor: by.actor,
    ...where,
    summary: `${checked.type} "${checked.title}" written`
  })
  return id
}

/** Replaces title, content and type of a document. Its task and author stay unchanged. */
export const updateDocument = async (
  ctx: MutationCtx,
  document: Doc<"documents">,
  fields: DocumentFields,
  by: { readonly actor: Actor; readonly isRepository?: boolean }
): Promise<void> => {
  const checked = checkFields(fields)
  await ctx.db.patch("documents", document._id, {
    ...checked,
    ...(by.isRepository === undefined ? {} : { isRepository: by.isRepository }),
    updatedAt: Date.now()
  })
  await recordActivity(ctx, {
    accountId: document.accountId,
    type: "document_updated",
    actor: by.actor,
    ...(document.taskId === undefined ? {} : { taskId: document.taskId }),
    summary: `${checked.type} "${checked.title}" changed`
  })
}
