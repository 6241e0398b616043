import { v } from "convex/values"
import { serviceQuery } from "../model/access/serviceFunctions.ts"
import * as agents from "./agents.ts"
import * as documents from "./documents.ts"
import * as messages from "./messages.ts"
import * as notifications from "./notifications.ts"
import * as pauses from "./pauses.ts"
import * as responseRequests from "./responseRequests.ts"
import * as runs from "./runs.ts"
import * as runtimes from "./runtimes.ts"
import * as sessions from "./sessions.ts"
import * as tasks from "./tasks.ts"
import * as usage from "./usage.ts"

const modules = {
  agents,
  documents,
  messages,
  notifications,
  pauses,
  responseRequests,
  runs,
  runtimes,
  sessions,
  tasks,
  usage
}

/**
 * The paths of the functions that this deployment offers to runtimes, except this one. Needed because a production
 * deployment answers a call of a missing function like that of a failing one. For operators. Reads the token.
 */
export const list = serviceQuery({
  args: {},
  returns: v.array(v.string()),
  handler: async () =>
    Object.entries(modules).flatMap(([module, functions]) =>
      Object.keys(functions).map((name) => `service/${module}:${name}`)
    )
})
