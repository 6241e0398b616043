import { Schema } from "effect"
import type { Effect } from "effect"
import type { ControlPlaneFailure } from "../../domain/ControlPlaneFailure.ts"
import type { Fence } from "../../domain/Delivery.ts"
import type { DeliveryContext } from "../../domain/DeliveryContext.ts"
import type { ControlPlane } from "../ControlPlane.ts"

/** A tool's own no, by policy or validation; the agent reads code and detail and may do better. */
export class ToolRejected extends Schema.TaggedError<ToolRejected>()("ToolRejected", {
  code: Schema.Literals(["invalid", "forbidden", "not_found", "conflict"]),
  detail: Schema.String
}) {}

/** The run in which a tool is called: what it knows, and the fence that its effects carry. */
export interface ToolRun {
  readonly context: DeliveryContext
  readonly fence: Fence
  readonly controlPlane: ControlPlane["Service"]
}

/**
 * One tool, defined once: the function tool's JSON schema, the capability label and the decoding of arguments all
 * derive from it. Names carry no built-in's name of the gateway, which would refuse the request.
 */
export interface AgentTool {
  readonly name: string
  readonly description: string
  /** What the prompt says of it, in a few words. */
  readonly capability: string
  readonly parameters: Schema.Codec<unknown, unknown>
  /** Whether a call changes something; reads alone do not count as having acted. */
  readonly isEffect: boolean
  readonly isOffered: (context: DeliveryContext) => boolean
  readonly run: (run: ToolRun, parameters: never) => Effect.Effect<object, ToolRejected | ControlPlaneFailure>
}

/** Keeps the type of the parameters between schema and implementation. */
export const defineTool = <A, I>(tool: {
  readonly name: string
  readonly description: string
  readonly capability: string
  readonly parameters: Schema.Codec<A, I>
  readonly isEffect: boolean
  readonly isOffered: (context: DeliveryContext) => boolean
  readonly run: (run: ToolRun, parameters: A) => Effect.Effect<object, ToolRejected | ControlPlaneFailure>
}): AgentTool => tool as unknown as AgentTool

/** Whether the run may act on the task: agents on their notification's task, the orchestrator on any of the account. */
export const actsOnTask = (context: DeliveryContext, taskId: string): boolean =>
  context.agent.isOrchestrator || context.task?.id === taskId
