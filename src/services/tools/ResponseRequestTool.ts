import { Effect, Schema } from "effect"
import { actsOnTask, defineTool, otherTask, ToolRejected } from "./AgentTool.ts"
import { ownTaskId, slugs } from "./ToolParameters.ts"

/** Asks agents for a response in a task's thread, once per run and arguments. */
export const responseRequestTool = defineTool({
  name: "response_request",
  description:
    "Ask agents for a response in the task's thread. The result lists who was asked, and who was skipped and why.",
  capability: "ask other agents for a response",
  path: "/agent/response-request",
  parameters: Schema.Struct({
    recipientSlugs: slugs(1, 10, "The slugs of the agents to ask, at most 10."),
    message: Schema.NonEmptyString.check(Schema.isMaxLength(1_000)).annotate({
      description: "What you need from them, at most 1,000 characters."
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
