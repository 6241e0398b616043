import { Effect, Schema } from "effect"
import { actsOnTask, defineTool, otherTask, ToolRejected } from "./AgentTool.ts"
import { ownTaskId } from "./ToolParameters.ts"

/** Asks agents or people for a response in a task's thread, once per run and arguments. */
export const responseRequestTool = defineTool({
  name: "response_request",
  description:
    "Ask agents or people for a response in the thread. The result lists who was asked, and who was skipped and why.",
  capability: "ask other agents or people for a response",
  path: "/agent/response-request",
  parameters: Schema.Struct({
    recipientSlugs: Schema.Array(Schema.NonEmptyString.check(Schema.isMaxLength(104)))
      .check(Schema.isMinLength(1), Schema.isMaxLength(10))
      .annotate({ description: "Slugs of agents or names of people, at most 10." }),
    message: Schema.NonEmptyString.check(Schema.isMaxLength(1_000)).annotate({
      description: "What you need, at most 1,000 characters."
    }),
    taskId: ownTaskId
  }),
  answer: Schema.Struct({
    asked: Schema.Array(Schema.String),
    skipped: Schema.Array(Schema.Struct({ slug: Schema.String, reason: Schema.String })),
    repeated: Schema.Boolean
  }),
  isEffect: true,
  isOffered: ({ flags }) => flags.canMentionAgents,
  run: Effect.fn("AgentTools.response_request")(function* (run, parameters) {
    const { taskId } = parameters
    if (taskId !== undefined && !actsOnTask(run, taskId)) return yield* otherTask(run)
    if (parameters.message.trim() === "") {
      return yield* new ToolRejected({ code: "invalid", detail: "message: say what you ask for" })
    }
    const { asked, ...rest } = yield* run.controlPlane.requestResponses(run.fence, parameters)
    return { asked: asked.map(({ slug }) => slug), ...rest }
  })
})
