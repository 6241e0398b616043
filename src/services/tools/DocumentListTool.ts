import { Effect, Schema, Struct } from "effect"
import { DocumentType } from "../../domain/tasks/ToolAnswer.ts"
import { defineTool } from "./AgentTool.ts"
import { nameOf, timeOf } from "./TaskAnswer.ts"
import { limit } from "./ToolParameters.ts"

/** Reads the account's documents, or a task's, the last changed first. */
export const documentListTool = defineTool({
  name: "document_list",
  description: "Read the documents of this account or of one task, the last changed first. Long documents are cut.",
  capability: "read documents",
  path: "/agent/document-list",
  parameters: Schema.Struct({
    taskId: Schema.optionalKey(
      Schema.NonEmptyString.annotate({
        description: "Only documents of this task. Without it, all documents of the account."
      })
    ),
    type: Schema.optionalKey(DocumentType.annotate({ description: "Only documents of this type." })),
    limit: limit("documents", 20, 100)
  }),
  answer: Schema.Struct({
    documents: Schema.Array(
      Schema.Struct({
        id: Schema.String,
        taskId: Schema.NullOr(Schema.String),
        title: Schema.String,
        type: DocumentType,
        author: Schema.String,
        updatedAt: Schema.String,
        content: Schema.String,
        isCut: Schema.Boolean
      })
    )
  }),
  isEffect: false,
  isOffered: () => true,
  run: Effect.fn("AgentTools.document_list")(function* ({ controlPlane }, parameters) {
    const { documents } = yield* controlPlane.listDocuments(parameters)
    return {
      documents: documents.map((document) => ({
        ...Struct.omit(document, ["isRepository"]),
        author: nameOf(document.author),
        updatedAt: timeOf(document.updatedAt)
      }))
    }
  })
})
