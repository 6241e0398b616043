import { api } from "../../convex/_generated/api.js"
import { contextOf, fenceOf, makeTask, type Plane, seededPlane, settings } from "./controlPlane.ts"

const { app, service } = api

type Tool = "task_delete" | "task_status" | "task_create" | "task_message" | "task_assign" | "document_upsert"

/** Sets a policy that sends calls of the tool to a person. */
export const ask = (plane: Plane, tool: Tool, more: object = {}) =>
  plane.asPerson(app.policies.set, { tool, effect: "ask", ...more })

/** The request that a call was answered with. */
export const askedOf = (answer: object): string => {
  const { needsApproval } = answer as { readonly needsApproval?: { readonly id: string } }
  if (needsApproval === undefined) throw new Error(`no request for approval: ${JSON.stringify(answer)}`)
  return needsApproval.id
}

/** The orchestrator's running turn on a task, another task to delete, and the call that deletes it. */
export const deleting = async () => {
  const plane = await seededPlane()
  await ask(plane, "task_delete")
  const taskId = await makeTask(plane, [plane.lead], "Own")
  const run = await plane.takeOne()
  const other = await makeTask(plane, [], "Other")
  const fence = { ...fenceOf(run), settings }
  const call = (by = fence) => plane.mutate(service.tasks.remove, { ...by, taskId: other, reason: "not needed" })
  const id = askedOf(await call())
  const approve = () => plane.asPerson(app.approvals.approve, { id })
  const deny = (reason?: string) =>
    plane.asPerson(app.approvals.deny, { id, ...(reason === undefined ? {} : { reason }) })
  const statusOf = async (task = other) => (await plane.query(service.tasks.get, { taskId: task })).task.status
  const show = () => plane.seen(app.approvals.show, { id })
  return { plane, taskId, other, run, fence, call, id, approve, deny, statusOf, show }
}

/** The requests of the notifications that the agent gets next. */
export const requestsTo = async (plane: Plane) =>
  (await plane.take()).runs.flatMap((run) =>
    contextOf(run).events.map(({ actor, request, type }) => ({ type, by: actor.name, request }))
  )
