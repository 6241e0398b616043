/** The text of the commands for people, and the parts of the answers that it shows. */
import { DateTime, Schema } from "effect"
import { taskStatuses } from "../shared/TaskStatus.ts"
import { shortIds } from "../text/ShortId.ts"
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
  openQuestions: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        text: Schema.String,
        askedBy: Schema.Struct({ name: Schema.String, slug: Schema.NullOr(Schema.String) }),
        person: Schema.String,
        askedAt: Schema.Finite
      })
    )
  ),
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

export const InboxItem = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  from: Schema.Struct({ name: Schema.String, slug: Schema.NullOr(Schema.String) }),
  taskId: Schema.String,
  taskTitle: Schema.NullOr(Schema.String),
  text: Schema.String,
  createdAt: Schema.Finite
})
export type InboxItem = typeof InboxItem.Type

export const Token = Schema.Struct({
  id: Schema.String,
  label: Schema.String,
  createdAt: Schema.Finite,
  revokedAt: Schema.NullOr(Schema.Finite)
})

/** A time in UTC, to the minute. */
export const minute = (moment: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(moment)).slice(0, 16).replace("T", " ")

const nameOf = ({ name, slug }: { readonly name: string; readonly slug: string | null }): string =>
  slug === null ? name : `@${slug}`

const indented = (text: string): string => `    ${text.trim().replaceAll("\n", "\n    ")}`

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

const people = (questions: NonNullable<Task["openQuestions"]>): string =>
  [...new Set(questions.map(({ person }) => person))].join(", ")

export const taskTable = (tasks: ReadonlyArray<Task>): string => {
  const short = shortIds(tasks.map(({ id }) => id))
  return textTable(
    ["TASK", "STATUS", "ASSIGNEES", "CHANGED (UTC)", "TITLE"],
    tasks.map(({ assignees, id, openQuestions, status, title, updatedAt }) => [
      short(id),
      openQuestions === undefined ? status : `${status}, waits for ${people(openQuestions)}`,
      assignees.map(({ slug }) => `@${slug}`).join(" ") || "-",
      minute(updatedAt),
      title
    ])
  )
}

/** A question for whose answer the task may wait, with the command to answer it. */
const questionLines = ({ id, openQuestions = [] }: Task): ReadonlyArray<string> =>
  openQuestions.flatMap(({ askedAt, askedBy, person, text }) => [
    `waits for   ${person}, whom ${nameOf(askedBy)} asked at ${minute(askedAt)} UTC:`,
    indented(text),
    `    ${person} answers with: post ${shortIds([id])(id)} "<answer>"`
  ])

/** The task's fields, with lines about its running turns. */
export const describeTask = (task: Task, turns: ReadonlyArray<string> = []): string =>
  [
    `id          ${task.id}`,
    `title       ${task.title}`,
    `status      ${task.status}${task.blockedReason === null ? "" : `: ${task.blockedReason}`}`,
    `assignees   ${task.assignees.map(({ slug }) => `@${slug}`).join(" ") || "-"}`,
    `priority    ${task.priority}`,
    `labels      ${task.labels.join(", ") || "-"}`,
    `changed     ${minute(task.updatedAt)} UTC`,
    ...turns,
    ...questionLines(task),
    ...(task.description === "" ? [] : ["", task.description])
  ].join("\n")

/** A message of a thread; lines after the first are indented. */
export const describeMessage = ({ author, content, createdAt }: Message): string =>
  `${minute(createdAt)} ${author.name}: ${content.trim().replaceAll("\n", "\n    ")}`

/** What each type of notification means to its reader. */
const inboxWords: Readonly<Record<string, string>> = {
  mention: "mentions you",
  thread_update: "writes",
  response_request: "asks"
}

/** Questions first, with the command to answer, then the other notifications; each newest first. */
export const describeInbox = (items: ReadonlyArray<InboxItem>): string => {
  const short = shortIds(items.map(({ taskId }) => taskId))
  const describe = ({ createdAt, from, taskId, taskTitle, text, type }: InboxItem): string =>
    [
      `${minute(createdAt)} UTC  ${nameOf(from)} ${inboxWords[type] ?? type} in "${taskTitle ?? "a deleted task"}", task ${short(taskId)}:`,
      indented(text),
      ...(type === "response_request" ? [`    Answer: post ${short(taskId)} "<your answer>"`] : [])
    ].join("\n")
  const isQuestion = ({ type }: InboxItem) => type === "response_request"
  const section = (title: string, part: ReadonlyArray<InboxItem>): ReadonlyArray<string> =>
    part.length === 0 ? [] : [`${title}:\n\n${part.map(describe).join("\n\n")}`]
  return [
    ...section("Questions to you", items.filter(isQuestion)),
    ...section(
      "Unread",
      items.filter((item) => !isQuestion(item))
    )
  ].join("\n\n")
}

export const tokenTable = (tokens: ReadonlyArray<typeof Token.Type>): string => {
  const short = shortIds(tokens.map(({ id }) => id))
  return textTable(
    ["TOKEN", "LABEL", "CREATED (UTC)", "STATE"],
    tokens.map(({ createdAt, id, label, revokedAt }) => [
      short(id),
      label,
      minute(createdAt),
      revokedAt === null ? "valid" : `revoked ${minute(revokedAt)}`
    ])
  )
}
