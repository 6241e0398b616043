import type { AnswerOf, ArgumentsOf, OfKind, PathIn } from "./ConvexFunctions.ts"

export type { AnswerOf, ArgumentsOf } from "./ConvexFunctions.ts"

/** The path of a function that the deployment offers to runtimes. */
export type ServicePath = PathIn<"service">

/** A deployment's functions by path. */
export type ServiceFunctions = {
  readonly [Path in ServicePath]: (args: ArgumentsOf<Path>) => AnswerOf<Path>
}

/** The control plane's functions by their use in the runtime and the command line; the only list of their paths. */
export const functions = {
  claim: "service/notifications:claim",
  renew: "service/notifications:renew",
  join: "service/notifications:join",
  complete: "service/notifications:complete",
  fail: "service/notifications:fail",
  release: "service/notifications:release",
  updateAgentHeartbeat: "service/agents:updateAgentHeartbeat",
  recordUsage: "service/usage:record",
  allowUsage: "service/usage:allow",
  usageReport: "service/usage:report",
  context: "service/notifications:context",
  wake: "service/notifications:wake",
  backlog: "service/notifications:backlog",
  deadLetters: "service/notifications:deadLetters",
  retryDeadLetter: "service/notifications:retryDeadLetter",
  discardDeadLetter: "service/notifications:discardDeadLetter",
  runs: "service/runs:list",
  run: "service/runs:get",
  reportProgress: "service/runs:progress",
  stopRuns: "service/runs:stop",
  runAgain: "service/runs:again",
  pause: "service/pauses:pause",
  resume: "service/pauses:resume",
  rotateSessions: "service/sessions:rotate",
  pulse: "service/runtimes:pulse",
  commands: "service/runtimes:commands",
  acknowledge: "service/runtimes:acknowledge",
  protocol: "service/runtimes:protocol",
  serviceFunctions: "service/functions:list",
  agents: "service/agents:list",
  profiles: "service/agents:profiles",
  agentSkills: "service/agents:skills",
  loadTask: "service/tasks:load",
  getTask: "service/tasks:get",
  listTasks: "service/tasks:list",
  searchTasks: "service/tasks:search",
  taskThread: "service/tasks:thread",
  taskHistory: "service/tasks:history",
  setTaskStatus: "service/tasks:setStatus",
  createTask: "service/tasks:create",
  updateTask: "service/tasks:update",
  assignTask: "service/tasks:assign",
  removeTask: "service/tasks:remove",
  linkPullRequest: "service/tasks:linkPullRequest",
  listDocuments: "service/documents:list",
  upsertDocument: "service/documents:upsert",
  postMessage: "service/messages:post",
  requestResponses: "service/responseRequests:create"
} as const satisfies Record<string, ServicePath>

/** Functions that the runtime calls and the deployment does not have. */
export const missingFunctions = (listed: ReadonlyArray<string>): ReadonlyArray<string> =>
  Object.values(functions).filter((path) => path !== functions.serviceFunctions && !listed.includes(path))

/** The path of a function that the runtime calls. */
export type FunctionPath = (typeof functions)[keyof typeof functions]
export type QueryPath = OfKind<"query", FunctionPath>
export type MutationPath = OfKind<"mutation", FunctionPath>

/** The part of the runtime's configuration that each call of a run carries. */
export type RunSettings = ArgumentsOf<typeof functions.complete>["settings"]
