import { Effect, Schema } from "effect"
import { DocumentType } from "../../domain/tasks/ToolAnswer.ts"
import { actsOnTask, defineTool, otherTask } from "./AgentTool.ts"
import { ownTaskId, title } from "./ToolParameters.ts"

/** Writes a document: a new one once per run and arguments, an existing one by its id. */
export const documentUpsertTool = defineTool({
  name: "document_upsert",
  description:
    "Write a document: a new one, or with documentId the whole of an existing one. Reference documents feed prompts: only the orchestrator or their author changes them.",
  capability: "write documents",
  path: "/agent/document",
  parameters: Schema.Struct({
    title,
    content: Schema.NonEmptyString.check(Schema.isMaxLength(200_000)).annotate({ description: "The whole text." }),
    type: DocumentType.annotate({ description: "What the document is." }),
    documentId: Schema.optionalKey(
      Schema.NonEmptyString.annotate({ description: "The document to replace; a new one when absent." })
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
