/** The text of the commands for people, and the parts of the answers that it shows. */
import { DateTime, Schema } from "effect"
import { taskStatuses } from "../shared/TaskStatus.ts"
import { textTable } from "../text/TextTable.ts"

const Named = Schema.Struct({ id: Schema.String, name: Schema.String, slug: Schema.String })

export const Account = Schema.Struct({ accountId: Schema.String, name: Schema.String, role: Schema.String })

export const Agent = Schema.Struct({
  ...Named.fields,
  role: Schema.String,
  isOrchestrator: Schema.Boolean,
  isPaused: Schema.Boolean,
  status: Schema.String,
  heartbeat: Schema.Union([Schema.Finite, Schema.String])
})
export type Agent = typeof Agent.Type

export const Task = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  description: Schema.String,
  status: Schema.Literals(taskStatuses),
  priority: Schema.Finite,
  labels: Schema.Array(Schema.String),
  assignees: Schema.Array(Named),
  blockedReason: Schema.NullOr(Schema.String),
  updatedAt: Schema.Finite
})
export type Task = typeof Task.Type

export const Message = Schema.Struct({
  id: Schema.String,
  author: Schema.Struct({ name: Schema.String }),
  content: Schema.String,
  createdAt: Schema.Finite
})
export type Message = typeof Message.Type

export const PersonNotification = Schema.Struct({
  id: Schema.String,
  taskId: Schema.String,
  recipientType: Schema.Literals(["agent", "person"]),
  recipientName: Schema.NullOr(Schema.String),
  type: Schema.String,
  state: Schema.String,
  createdAt: Schema.Finite,
  events: Schema.Array(
    Schema.Struct({ actor: Schema.Struct({ name: Schema.String }), text: Schema.NullOr(Schema.String) })
  )
})
export type PersonNotification = typeof PersonNotification.Type

export const Token = Schema.Struct({
  id: Schema.String,
  label: Schema.String,
  createdAt: Schema.Finite,
  revokedAt: Schema.NullOr(Schema.Finite)
})

/** A time in UTC, to the minute. */
export const minute = (moment: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(moment)).slice(0, 16).replace("T", " ")

/** The first characters of the ids: enough to distinguish them, at least eight. */
export const shortIds = (ids: ReadonlyArray<string>): ((id: string) => string) => {
  const longest = Math.max(8, ...ids.map((id) => id.length))
  const distinct = new Set(ids).size
  let length = 8
  while (length < longest && new Set(ids.map((id) => id.slice(0, length))).size < distinct) length += 1
  return (id) => id.slice(0, length)
}

/** The only element whose id is the text or begins with it, or why there is none. */
export const byPrefix = <A extends { readonly id: string }>(
  elements: ReadonlyArray<A>,
  text: string
): A | "none" | "several" => {
  const exact = elements.find(({ id }) => id === text)
  if (exact !== undefined) return exact
  const found = text === "" ? [] : elements.filter(({ id }) => id.startsWith(text))
  const [first] = found
  return first === undefined ? "none" : found.length > 1 ? "several" : first
}

export const accountTable = (accounts: ReadonlyArray<typeof Account.Type>): string =>
  textTable(
    ["ACCOUNT", "NAME", "YOUR ROLE"],
    accounts.map(({ accountId, name, role }) => [accountId, name, role])
  )

export const agentTable = (agents: ReadonlyArray<Agent>): string =>
  textTable(
    ["AGENT", "NAME", "STATUS", "HEARTBEAT", "ROLE"],
    agents.map(({ heartbeat, isOrchestrator, isPaused, name, role, slug, status }) => [
      `@${slug}`,
      isOrchestrator ? `${name} (orchestrator)` : name,
      isPaused ? "paused" : status,
      typeof heartbeat === "number" ? `every ${heartbeat} min` : heartbeat,
      role
    ])
  )

export const taskTable = (tasks: ReadonlyArray<Task>): string => {
  const short = shortIds(tasks.map(({ id }) => id))
  return textTable(
    ["TASK", "STATUS", "ASSIGNEES", "CHANGED (UTC)", "TITLE"],
    tasks.map(({ assignees, id, status, title, updatedAt }) => [
      short(id),
      status,
      assignees.map(({ slug }) => `@${slug}`).join(" ") || "-",
      minute(updatedAt),
      title
    ])
  )
}

export const describeTask = (task: Task): string =>
  [
    `id          ${task.id}`,
    `title       ${task.title}`,
    `status      ${task.status}${task.blockedReason === null ? "" : `: ${task.blockedReason}`}`,
    `assignees   ${task.assignees.map(({ slug }) => `@${slug}`).join(" ") || "-"}`,
    `priority    ${task.priority}`,
    `labels      ${task.labels.join(", ") || "-"}`,
    `changed     ${minute(task.updatedAt)} UTC`,
    ...(task.description === "" ? [] : ["", task.description])
  ].join("\n")

/** A message of a thread; lines after the first are indented. */
export const describeMessage = ({ author, content, createdAt }: Message): string =>
  `${minute(createdAt)} ${author.name}: ${content.trim().replaceAll("\n", "\n    ")}`

export const inboxTable = (rows: ReadonlyArray<PersonNotification>): string => {
  const short = shortIds(rows.map(({ taskId }) => taskId))
  return textTable(
    ["AT (UTC)", "WHAT", "FROM", "TASK", "TEXT"],
    rows.map(({ createdAt, events, taskId, type }) => [
      minute(createdAt),
      type,
      [...new Set(events.map(({ actor }) => actor.name))].join(", ") || "-",
      short(taskId),
      events.flatMap(({ text }) => text ?? []).join(" / ") || "see the thread"
    ])
  )
}

export const tokenTable = (tokens: ReadonlyArray<typeof Token.Type>): string =>
  textTable(
    ["TOKEN", "LABEL", "CREATED (UTC)", "STATE"],
    tokens.map(({ createdAt, id, label, revokedAt }) => [
      id,
      label,
      minute(createdAt),
      revokedAt === null ? "valid" : `revoked ${minute(revokedAt)}`
    ])
  )
