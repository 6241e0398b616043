import { Schema } from "effect"
import type { Effect, Ref } from "effect"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { DeliveryContext } from "../../domain/delivery/DeliveryContext.ts"
import type { Fence, HeartbeatRun, NotificationRun } from "../../domain/delivery/Run.ts"
import type { Spending } from "../../domain/usage/Spending.ts"
import type { ControlPlane } from "../ControlPlane.ts"

/**
 * A tool's own no, by policy or by a value that its shape allows; the agent reads code and detail and may do better.
 */
export class ToolRejected extends Schema.TaggedError<ToolRejected>()("ToolRejected", {
  code: Schema.Literals(["malformed", "invalid", "forbidden", "not_found", "conflict"]),
  detail: Schema.String
}) {}

/** What of an agent decides which tools it has. */
export type ToolAgent = Pick<DeliveryContext["agent"], "isOrchestrator" | "flags">

/** What of a run decides about tools; a delivery's context is one. */
export interface RunContext extends Pick<DeliveryContext, "agent" | "task" | "sessionKey"> {
  /** The run's id: the notification's, or the heartbeat's. */
  readonly notification: { readonly id: string }
  /** Set in a heartbeat: the tasks it was shown, on which its agent may act; never done. */
  readonly heartbeat?: { readonly taskIds: ReadonlyArray<string> }
  /** What earlier attempts of this run did; the control plane knows which tasks they made. */
  readonly earlier?: { readonly effects: ReadonlyArray<{ readonly tool: string }> }
}

/** What of a run its turn and its tools need to know. */
export const toolContextOf = (
  run: NotificationRun | HeartbeatRun
): RunContext & Required<Pick<RunContext, "earlier">> => {
  if (run.kind === "notification") return run.context
  const { agent, earlier, sessionKey, tasks } = run.context
  return {
    agent,
    task: null,
    sessionKey,
    notification: { id: run.id },
    heartbeat: { taskIds: tasks.map(({ task }) => task.id) },
    earlier
  }
}

/** The run in which a tool is called: what it knows, and the fence that its effects carry. */
export interface ToolRun {
  readonly context: RunContext
  readonly fence: Fence
  /** The tasks made in this run, over whichever transport; they are the agent's own too. */
  readonly createdTaskIds?: Set<string>
  /** Grows with each call, over whichever transport. */
  readonly spending: Ref.Ref<Spending>
  readonly controlPlane: ControlPlane["Service"]
}

/**
 * One tool, defined once: the function tool's JSON schema, the endpoint with its OpenAPI, the capability label and the
 * decoding of arguments all derive from it. Names carry no built-in's name of the gateway, which would refuse the
 * request.
 */
export interface AgentTool<
  Name extends string = string,
  Parameters extends Schema.Struct.Fields = Schema.Struct.Fields,
  Answer extends Schema.Struct.Fields = Schema.Struct.Fields
> {
  readonly name: Name
  readonly description: string
  /** What the prompt says of it, in a few words. */
  readonly capability: string
  /** Where the tool is served over HTTP, by POST. */
  readonly path: `/agent/${string}`
  readonly parameters: Schema.Struct<Parameters>
  /** The parameters as this agent is offered them, when that is less than all. */
  readonly parametersFor?: (agent: ToolAgent) => Schema.Codec<unknown, unknown>
  /** What a success holds beside `tool` and `success`. */
  readonly answer: Schema.Struct<Answer>
  /** Whether a call changes something; reads alone do not count as having acted. */
  readonly isEffect: boolean
  /**
   * Whether the agent has the tool. The list must not depend on the run: a provider's prompt cache begins with the
   * tools. What a run does not allow is refused when the tool is called.
   */
  readonly isOffered: (agent: ToolAgent) => boolean
  readonly run: (
    run: ToolRun,
    parameters: never
  ) => Effect.Effect<Schema.Struct<Answer>["Type"], ToolRejected | ControlPlaneFailure>
}

/** Keeps the types of parameters and answer between schemas and implementation. */
export const defineTool = <
  const Name extends string,
  Parameters extends Schema.Struct.Fields,
  Answer extends Schema.Struct.Fields
>(
  tool: Omit<AgentTool<Name, Parameters, Answer>, "run"> & {
    readonly run: (
      run: ToolRun,
      parameters: Schema.Struct<Parameters>["Type"]
    ) => Effect.Effect<Schema.Struct<Answer>["Type"], ToolRejected | ControlPlaneFailure>
  }
): AgentTool<Name, Parameters, Answer> => tool as unknown as AgentTool<Name, Parameters, Answer>

/** Whether the agent is the orchestrator. */
export const isOrchestrator = (agent: ToolAgent): boolean => agent.isOrchestrator

/**
 * Whether the run may act on the task: the orchestrator on any of the account, others on their notification's, on those
 * that their heartbeat shows, and on those they made in this run. Which of them an earlier attempt made only the
 * control plane can tell, and it does.
 */
export const actsOnTask = ({ context, createdTaskIds }: Omit<ToolRun, "controlPlane">, taskId: string): boolean =>
  context.agent.isOrchestrator ||
  context.task?.id === taskId ||
  context.heartbeat?.taskIds.includes(taskId) === true ||
  createdTaskIds?.has(taskId) === true ||
  context.earlier?.effects.some(({ tool }) => tool === "task_create") === true

/** The refusal of another task than the run's. */
export const otherTask = ({ context }: Omit<ToolRun, "controlPlane">): ToolRejected => {
  const own = context.heartbeat?.taskIds ?? (context.task === null ? [] : [context.task.id])
  return new ToolRejected({
    code: "forbidden",
    detail: `taskId: in this run you may act only on ${own.join(", ") || "no task"} and on tasks that you created in it`
  })
}
