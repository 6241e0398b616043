import { Effect, Schema } from "effect"
import { DocumentType } from "../../domain/tasks/ToolAnswer.ts"
import { actsOnTask, defineTool, otherTask } from "./AgentTool.ts"
import { ownTaskId, title } from "./ToolParameters.ts"

/** Writes a document: a new one once per run and arguments, an existing one by its id. */
export const documentUpsertTool = defineTool({
  name: "document_upsert",
  description:
    "Create a document, or with documentId replace the whole text of one. Only the orchestrator or the author may change a reference document.",
  capability: "write documents",
  path: "/agent/document",
  parameters: Schema.Struct({
    title,
    content: Schema.NonEmptyString.check(Schema.isMaxLength(200_000)).annotate({ description: "The whole text." }),
    type: DocumentType.annotate({ description: "The document's type." }),
    documentId: Schema.optionalKey(
      Schema.NonEmptyString.annotate({ description: "The document to replace. Without it, a new document is created." })
    ),
    taskId: ownTaskId
  }),
  answer: Schema.Struct({
    documentId: Schema.String,
    taskId: Schema.NullOr(Schema.String),
    repeated: Schema.Boolean
  }),
  isEffect: true,
  isOffered: ({ flags }) => flags.canCreateDocuments,
  run: Effect.fn("AgentTools.document_upsert")(function* (run, parameters) {
    if (parameters.taskId !== undefined && !actsOnTask(run, parameters.taskId)) return yield* otherTask(run)
    return yield* run.controlPlane.upsertDocument(run.fence, parameters)
  })
})
