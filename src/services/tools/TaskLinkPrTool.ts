import { Effect, Schema } from "effect"
import { defineTool, isOrchestrator } from "./AgentTool.ts"
import { taskId } from "./ToolParameters.ts"

/** Stores a pull request's number on a task; the deployment reports it to GitHub later if it can. */
export const taskLinkPrTool = defineTool({
  name: "task_link_pr",
  description:
    "Link a pull request to a task by its number. In the result, github is queued if GitHub will show the link too, else off.",
  capability: "link a pull request to a task",
  path: "/agent/task-link-pr",
  parameters: Schema.Struct({
    taskId,
    prNumber: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000_000 })).annotate({
      description: "The pull request's number."
    })
  }),
  answer: Schema.Struct({
    taskId: Schema.String,
    prNumber: Schema.Finite,
    changed: Schema.Boolean,
    github: Schema.Literals(["queued", "off"])
  }),
  isEffect: true,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_link_pr")(({ controlPlane, fence }, parameters) =>
    controlPlane.linkPullRequest(fence, parameters)
  )
})
