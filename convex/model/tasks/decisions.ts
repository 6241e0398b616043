import type { Doc } from "../../_generated/dataModel.js"
import type { Origin } from "../notifications/origin.ts"

/** The fields of a task that both people and agents' tools set. */
const fields = ["title", "description", "priority", "labels", "dueDate", "status", "assigneeIds"] as const

/** Values of some of these fields. The others stay unchanged. */
export type Wanted = { readonly [Field in (typeof fields)[number]]?: Doc<"tasks">[Field] | undefined }

const names: Record<keyof Wanted, string> = {
  title: "title",
  description: "description",
  priority: "priority",
  labels: "labels",
  dueDate: "due date",
  status: "status",
  assigneeIds: "assignees"
}

/** The fields whose value would change. */
const changedFields = (task: Doc<"tasks">, wanted: Wanted): ReadonlyArray<keyof Wanted> =>
  fields.filter((field) => {
    const value = wanted[field]
    if (value === undefined) return false
    return field === "assigneeIds"
      ? JSON.stringify(task.assigneeIds.toSorted()) !== JSON.stringify((wanted.assigneeIds ?? []).toSorted())
      : JSON.stringify(value) !== JSON.stringify(task[field])
  })

/**
 * The task's record of people's decisions after this change. A later change by an agent removes the entry of its field.
 */
export const decisionsAfter = (task: Doc<"tasks">, change: Wanted, { actor }: Origin) => {
  const decided = { ...task.decided }
  for (const field of changedFields(task, change)) {
    if (actor.type === "person") decided[field] = { at: Date.now(), by: actor.name }
    else delete decided[field]
  }
  return decided
}

/**
 * Why an agent's run may not set these values: a person changed them after the run was claimed, so its turn does not
 * know that. Null if it may.
 */
export const decidedOtherwise = (
  task: Doc<"tasks">,
  { claimedAt }: { readonly claimedAt: number },
  wanted: Wanted
): string | null => {
  for (const field of changedFields(task, wanted)) {
    const decision = task.decided?.[field]
    if (decision === undefined || decision.at <= claimedAt) continue
    const to = field === "status" ? ` to ${task.status}` : ""
    return (
      `${decision.by} changed the ${names[field]}${to} after your turn began, so nothing was changed. ` +
      "Leave it as it is, and say in your text if you disagree."
    )
  }
  return null
}
