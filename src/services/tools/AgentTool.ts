import { Schema } from "effect"
import type { Effect, Ref } from "effect"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { DeliveryContext } from "../../domain/delivery/DeliveryContext.ts"
import type { Fence, HeartbeatRun, NotificationRun } from "../../domain/delivery/Run.ts"
import type { Spending } from "../../domain/usage/Spending.ts"
import type { ControlPlane } from "../ControlPlane.ts"

/** A refusal by the tool itself, because of a policy or an unusable value. The agent reads code and detail. */
export class ToolRejected extends Schema.TaggedError<ToolRejected>()("ToolRejected", {
  code: Schema.Literals(["malformed", "invalid", "forbidden", "not_found", "conflict"]),
  detail: Schema.String
}) {}

/** The parts of an agent that decide which tools it has. */
export type ToolAgent = Pick<DeliveryContext["agent"], "isOrchestrator" | "flags">

/** The parts of a run that its tools need; a delivery's context has them. */
export interface RunContext extends Pick<DeliveryContext, "agent" | "task" | "sessionKey"> {
  /** The run's id: the notification's, or the heartbeat's. */
  readonly notification: { readonly id: string }
  /** Set in a heartbeat: the shown tasks, on which its agent may act, except that it may not set done. */
  readonly heartbeat?: { readonly taskIds: ReadonlyArray<string> }
  /** Effects of earlier attempts of this run; the control plane knows which tasks they created. */
  readonly earlier?: { readonly effects: ReadonlyArray<{ readonly tool: string }> }
}

/** The context for a run's turn and tools. */
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

/** The run in which a tool is called: its context, and the fence of its effects. */
export interface ToolRun {
  readonly context: RunContext
  readonly fence: Fence
  /** The tasks created in this run, over either transport; the agent may act on them. */
  readonly createdTaskIds?: Set<string>
  /** Grows with each call, over either transport. */
  readonly spending: Ref.Ref<Spending>
  readonly controlPlane: ControlPlane["Service"]
}

/**
 * One tool, defined once: the function tool's JSON schema, the endpoint with its OpenAPI, the capability label and the
 * decoding of arguments derive from it. Its name must not be that of a built-in of the gateway, which would refuse the
 * request.
 */
export interface AgentTool<
  Name extends string = string,
  Parameters extends Schema.Struct.Fields = Schema.Struct.Fields,
  Answer extends Schema.Struct.Fields = Schema.Struct.Fields
> {
  readonly name: Name
  readonly description: string
  /** A short phrase for the prompt. */
  readonly capability: string
  /** Path of the tool over HTTP, by POST. */
  readonly path: `/agent/${string}`
  readonly parameters: Schema.Struct<Parameters>
  /** The parameters for this agent, if it gets fewer than all. */
  readonly parametersFor?: (agent: ToolAgent) => Schema.Codec<unknown, unknown>
  /** The fields of a success in addition to `tool` and `success`. */
  readonly answer: Schema.Struct<Answer>
  /** Whether a call changes data. A turn with only reads has not acted. */
  readonly isEffect: boolean
  /**
   * Whether the agent has the tool. The list must not depend on the run, because a provider's prompt cache starts with the
   * tools. A call that the run does not allow is refused.
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
 * Whether the run may act on the task: the orchestrator on any task of the account, others on their notification's, on
 * those that their heartbeat shows, and on those they created in this run. The control plane checks whether an earlier
 * attempt created a task.
 */
export const actsOnTask = ({ context, createdTaskIds }: Omit<ToolRun, "controlPlane">, taskId: string): boolean =>
  context.agent.isOrchestrator ||
  context.task?.id === taskId ||
  context.heartbeat?.taskIds.includes(taskId) === true ||
  createdTaskIds?.has(taskId) === true ||
  context.earlier?.effects.some(({ tool }) => tool === "task_create") === true

/** The refusal to act on a task that does not belong to the run. */
export const otherTask = ({ context }: Omit<ToolRun, "controlPlane">): ToolRejected => {
  const own = context.heartbeat?.taskIds ?? (context.task === null ? [] : [context.task.id])
  return new ToolRejected({
    code: "forbidden",
    detail: `taskId: in this run you may act only on ${own.join(", ") || "no task"} and on tasks that you created in it`
  })
}
