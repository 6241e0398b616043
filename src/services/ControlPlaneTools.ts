import type { Effect, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { ArgumentsOf, MutationPath, QueryPath, RunSettings } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { Fence } from "../domain/delivery/Run.ts"
import {
  AgentSkills,
  AskedResponses,
  AssignedTask,
  ChangedTask,
  LinkedPullRequest,
  LoadedTask,
  MadeTask,
  OneTask,
  PostedMessage,
  RemovedTask,
  SeveralDocuments,
  SeveralTasks,
  StatusChange,
  TaskHistory,
  TaskThread,
  WrittenDocument
} from "../domain/tasks/ToolAnswer.ts"
import { patiently } from "./ControlPlaneCalls.ts"
import type { ControlPlaneCalls } from "./ControlPlaneCalls.ts"

type Functions = typeof functions
type QueryName = { [Name in keyof Functions]: Functions[Name] extends QueryPath ? Name : never }[keyof Functions]
type MutationName = { [Name in keyof Functions]: Functions[Name] extends MutationPath ? Name : never }[keyof Functions]

/** A query of a tool, with the function's arguments. */
type Read<Name extends QueryName, Answer extends Schema.Top> = (
  options: ArgumentsOf<Functions[Name]>
) => Effect.Effect<Answer["Type"], ControlPlaneFailure>

/** A change by a tool; one with a stale fence is refused with LeaseLost before anything is written. */
type Change<Name extends MutationName, Answer extends Schema.Top> = (
  fence: Fence,
  options: Omit<ArgumentsOf<Functions[Name]>, keyof Fence | "settings">
) => Effect.Effect<Answer["Type"], ControlPlaneFailure>

/** The control plane's functions for the agents' tools; times are epoch milliseconds. */
export interface ControlPlaneTools {
  readonly loadTask: Read<"loadTask", typeof LoadedTask>
  readonly getTask: Read<"getTask", typeof OneTask>
  readonly listTasks: Read<"listTasks", typeof SeveralTasks>
  readonly searchTasks: Read<"searchTasks", typeof SeveralTasks>
  readonly taskThread: Read<"taskThread", typeof TaskThread>
  readonly taskHistory: Read<"taskHistory", typeof TaskHistory>
  readonly listDocuments: Read<"listDocuments", typeof SeveralDocuments>
  readonly agentSkills: Read<"agentSkills", typeof AgentSkills>
  readonly setTaskStatus: Change<"setTaskStatus", typeof StatusChange>
  /** Once per run and arguments, like every creation: a second identical call returns `repeated`. */
  readonly createTask: Change<"createTask", typeof MadeTask>
  /** All or nothing. */
  readonly updateTask: Change<"updateTask", typeof ChangedTask>
  readonly assignTask: Change<"assignTask", typeof AssignedTask>
  /** Archives the task; its pending notifications end as skipped. */
  readonly removeTask: Change<"removeTask", typeof RemovedTask>
  readonly linkPullRequest: Change<"linkPullRequest", typeof LinkedPullRequest>
  readonly upsertDocument: Change<"upsertDocument", typeof WrittenDocument>
  readonly postMessage: Change<"postMessage", typeof PostedMessage>
  readonly requestResponses: Change<"requestResponses", typeof AskedResponses>
}

/** The tools' calls, each retried during a short outage. */
export const makeControlPlaneTools = (
  { mutation, query }: ControlPlaneCalls,
  settings: RunSettings
): ControlPlaneTools => {
  const fenced = <Options extends object>({ epoch, run, session }: Fence, options: Options) => ({
    ...options,
    run,
    session,
    epoch,
    settings
  })
  return {
    loadTask: (options) => patiently(query(functions.loadTask, LoadedTask, options)),
    getTask: (options) => patiently(query(functions.getTask, OneTask, options)),
    listTasks: (options) => patiently(query(functions.listTasks, SeveralTasks, options)),
    searchTasks: (options) => patiently(query(functions.searchTasks, SeveralTasks, options)),
    taskThread: (options) => patiently(query(functions.taskThread, TaskThread, options)),
    taskHistory: (options) => patiently(query(functions.taskHistory, TaskHistory, options)),
    listDocuments: (options) => patiently(query(functions.listDocuments, SeveralDocuments, options)),
    agentSkills: (options) => patiently(query(functions.agentSkills, AgentSkills, options)),
    setTaskStatus: (fence, options) =>
      patiently(mutation(functions.setTaskStatus, StatusChange, fenced(fence, options))),
    createTask: (fence, options) => patiently(mutation(functions.createTask, MadeTask, fenced(fence, options))),
    updateTask: (fence, options) => patiently(mutation(functions.updateTask, ChangedTask, fenced(fence, options))),
    assignTask: (fence, options) => patiently(mutation(functions.assignTask, AssignedTask, fenced(fence, options))),
    removeTask: (fence, options) => patiently(mutation(functions.removeTask, RemovedTask, fenced(fence, options))),
    linkPullRequest: (fence, options) =>
      patiently(mutation(functions.linkPullRequest, LinkedPullRequest, fenced(fence, options))),
    upsertDocument: (fence, options) =>
      patiently(mutation(functions.upsertDocument, WrittenDocument, fenced(fence, options))),
    postMessage: (fence, options) => patiently(mutation(functions.postMessage, PostedMessage, fenced(fence, options))),
    requestResponses: (fence, options) =>
      patiently(mutation(functions.requestResponses, AskedResponses, fenced(fence, options)))
  }
}
