import { isAnswerOwed, mayDecline } from "../delivery/AnswerDuty.ts"
import type {
  Actor,
  DeliveryContext,
  MessageView,
  NotificationEvent,
  PromptPart,
  TaskView
} from "../delivery/DeliveryContext.ts"
import { nextStatusesFor } from "../shared/TaskStatus.ts"
import { counted } from "../text/Count.ts"
import { cut, oneLine } from "../text/Text.ts"
import { fenced, withoutFenceMark } from "./FenceMark.ts"
import { instructionsFor, turnRules } from "./Instructions.ts"

/**
 * The two texts of a turn: `instructions` with the runtime's text only, `input` with other people's text inside fences.
 */
export interface Prompt {
  readonly instructions: string
  readonly input: string
}

/** Options for the text of any turn, in addition to its context. */
export interface TurnPromptOptions {
  /** With function tools off: how to call the same tools over HTTP. */
  readonly httpTools?: string
}

/** Options for the text of a notification's turn, in addition to its context. */
export interface PromptOptions extends TurnPromptOptions {
  /** The events that the policy accepted, oldest first. */
  readonly accepted: ReadonlyArray<NotificationEvent>
  readonly attempt: number
}

/** Limits in characters and numbers, from the contract. */
const LIMITS = {
  requestTotal: 75_000,
  requestLeast: 1_500,
  description: 4_000,
  documents: 4_000,
  threadMessages: 25,
  threadMessage: 1_500,
  question: 1_000,
  agents: 25,
  effects: 50
}

interface Earlier {
  readonly attempts: number
  readonly effects: DeliveryContext["earlier"]["effects"]
  readonly lastError?: DeliveryContext["earlier"]["lastError"]
}

/** A titled part of the runtime's own text; nothing if it is empty. */
export const section = (title: string, body: string): ReadonlyArray<string> =>
  body === "" ? [] : ["", `${title}:`, body]

const nameOf = (actor: Actor): string =>
  actor.slug === null ? `${oneLine(actor.name)} (${actor.type})` : `${oneLine(actor.name)} (@${actor.slug})`

/** What the event's author did. */
export const statement = (event: NotificationEvent): string => {
  const who = nameOf(event.actor)
  switch (event.type) {
    case "mention":
      if (event.answers !== undefined) {
        return `${who} answers your question "${oneLine(event.answers, LIMITS.question)}"`
      }
      // Without a message it is the decision about a call that needed approval.
      return event.message === null && event.request !== null
        ? `${who} answers your request for approval`
        : `${who} mentioned you`
    case "thread_update":
      return `${who} wrote in the thread`
    case "assignment":
      return `${who} assigned this task to you`
    case "status_change":
      return `${who} moved the task from ${event.previousStatus ?? "?"} to ${event.newStatus ?? "?"}`
    case "response_request":
      return `${who} asks you for a response`
  }
}

/** The rule for the end of a turn that answers these events. */
export const endOfTurn = (accepted: ReadonlyArray<NotificationEvent>): string => {
  if (!isAnswerOwed(accepted)) {
    return "End with a visible text, which is posted in the thread, or with exactly NO_ACTION if you have nothing to add."
  }
  const owed = "End with a visible text: it is posted in the thread as your answer. An answer is required here."
  return mayDecline(accepted)
    ? `${owed} Only if nothing is asked of you, for example in a message of thanks, you may end with exactly NO_ACTION instead.`
    : owed
}

const rulesOf = (
  { agent, task }: DeliveryContext,
  accepted: ReadonlyArray<NotificationEvent>
): ReadonlyArray<string> => {
  const nextStatuses = task === null ? [] : nextStatusesFor(agent, task.status, task.assignees.length)
  return [
    endOfTurn(accepted),
    ...(task === null || nextStatuses.length === 0
      ? []
      : [`The task is ${task.status}. You may set it to: ${nextStatuses.join(", ")}.`]),
    ...(task?.status === "blocked" && accepted.some(({ answers }) => answers !== undefined)
      ? ["Your question is answered. The task stays blocked until you set another status."]
      : []),
    ...(accepted.some(({ type }) => type === "assignment")
      ? ["This is an assignment: acknowledge it first in one or two sentences, then work."]
      : []),
    ...(task !== null && task.assignees.length > 1 && task.assignees.some(({ id }) => id === agent.id)
      ? ["Several agents are assigned: say which part you do, and do only that part."]
      : [])
  ]
}

/** The events with their words, cut to equal shares of the limit. */
export const requestOf = (accepted: ReadonlyArray<NotificationEvent>, heading = statement): string => {
  const share = Math.max(LIMITS.requestLeast, Math.floor(LIMITS.requestTotal / Math.max(1, accepted.length)))
  return accepted
    .map((event) => {
      const words = event.request ?? event.message?.content
      return words === undefined ? `${heading(event)}.` : `${heading(event)}:\n${cut(words, share)}`
    })
    .join("\n\n")
}

/** The fields of a task that every delta contains. */
const headOf = (task: TaskView): ReadonlyArray<string> => [
  `task id: ${task.id}`,
  `title: ${oneLine(task.title, 300)}`,
  `status: ${task.status}${task.blockedReason === null ? "" : ` (${oneLine(task.blockedReason, 500)})`}`,
  ...(task.openQuestions ?? []).map(
    ({ askedBy, person, text }) =>
      `waits for an answer of ${oneLine(person)} to ${nameOf(askedBy)}: "${oneLine(text, LIMITS.question)}"`
  )
]

/** A task as agents read it, with its description cut. */
export const describeTask = (task: TaskView): string =>
  [
    ...headOf(task),
    `priority: ${task.priority}`,
    ...(task.labels.length === 0 ? [] : [`labels: ${task.labels.map((label) => oneLine(label, 60)).join(", ")}`]),
    `assignees: ${task.assignees.length === 0 ? "none" : task.assignees.map((agent) => `@${agent.slug}`).join(", ")}`,
    ...(task.prNumber === null ? [] : [`pull request: #${task.prNumber}`]),
    "",
    cut(task.description, LIMITS.description)
  ].join("\n")

/** In a delta the agent's own reply is only a placeholder, because the text is already in its session. */
const describeMessage = ({ agent, delta }: DeliveryContext, { author, content, kind }: MessageView): string =>
  delta !== null && kind === "reply" && author.id === agent.id
    ? `${nameOf(author)}, you: (your answer, see above)`
    : `${nameOf(author)}: ${cut(content, LIMITS.threadMessage)}`

const threadOf = (context: DeliveryContext, accepted: ReadonlyArray<NotificationEvent>): ReadonlyArray<MessageView> => {
  const requested = new Set(accepted.map(({ message }) => message?.id))
  return context.thread.filter((message) => !requested.has(message.id)).slice(-LIMITS.threadMessages)
}

const documentsOf = (context: DeliveryContext): string => {
  const repository = context.repositoryDocument
  const documents = [
    ...(repository === null ? [] : [`${oneLine(repository.title)} (repository)\n${repository.content}`]),
    ...context.documents.map((document) => `${oneLine(document.title)} (${document.type})\n${document.content}`)
  ]
  return cut(documents.join("\n\n"), LIMITS.documents)
}

const agentsOf = ({ mentionableAgents }: DeliveryContext): string =>
  mentionableAgents
    .slice(0, LIMITS.agents)
    .map((agent) => `- @${agent.slug}: ${oneLine(agent.name)}, ${oneLine(agent.role)}`)
    .join("\n")

const describeOpenTask = (task: NonNullable<DeliveryContext["taskOverview"]>[number]): string =>
  `${task.id} ${task.status} ${oneLine(task.title, 200)} (${task.assigneeSlugs.map((slug) => `@${slug}`).join(", ") || "no assignee"})`

/** The earlier attempts of a turn. Their effects are in agents' words, so they go inside a fence. */
export const earlierAttempts = (
  { attempts, effects, lastError = null }: Earlier,
  fenceMark: string
): ReadonlyArray<string> => {
  if (attempts === 0 && effects.length === 0) return []
  const lines = effects
    .slice(-LIMITS.effects)
    .map(({ summary, tool }) => `- ${oneLine(tool)}: ${oneLine(summary, 300)}`)
  return section(
    "Earlier attempts",
    [
      `${counted(Math.max(1, attempts), "earlier attempt")} did not complete. An interrupted attempt may have continued for a while.`,
      ...(lastError === null ? [] : [`The last one ended with ${oneLine(lastError.class)}.`]),
      ...(lines.length === 0
        ? ["No effects of earlier attempts are known."]
        : ["These effects have already happened; do not repeat them:", fenced(fenceMark, "effects", lines.join("\n"))])
    ].join("\n")
  )
}

/** Names the full text that this text builds on, and says what to do if the gateway's history has lost it. */
const baseOf = ({ delta, task, textNumber }: DeliveryContext): string =>
  delta === null
    ? `This is full text ${textNumber}: it contains everything that you need.`
    : `This text adds to full text ${delta.fullText} of this session and contains only what is new since your last turn on this task. If full text ${delta.fullText} is not above, first call task_load for task ${task?.id ?? ""} with messageLimit ${LIMITS.threadMessages}.`

const partNames: Readonly<Record<PromptPart, string>> = {
  task: "the task's description, labels, priority and assignees",
  documents: "its documents",
  people: "the agents you can mention and the person in charge",
  briefing: "the briefing",
  tasks: "the open tasks"
}

/** The parts that a delta leaves out because they have not changed. */
const unchangedLine = ({ delta, task }: DeliveryContext): ReadonlyArray<string> => {
  const names = (delta?.unchanged ?? [])
    .filter((part) => task?.isOrchestratorChat === true || (part !== "briefing" && part !== "tasks"))
    .map((part) => partNames[part])
  return names.length === 0 ? [] : ["", `Unchanged since your last turn on this task: ${names.join("; ")}.`]
}

/** Names stopped runs, because the gateway puts the text of an aborted turn before the next one. */
export const stoppedNotice = (stoppedRuns: ReadonlyArray<string>): ReadonlyArray<string> =>
  stoppedRuns.length === 0
    ? []
    : [`Stopped runs, which you must not continue or answer even if their texts are above: ${stoppedRuns.join(", ")}.`]

const inputOf = (context: DeliveryContext, options: PromptOptions): string => {
  const { accepted } = options
  const { delta, task } = context
  const isShown = (part: PromptPart): boolean => delta?.unchanged.includes(part) !== true
  /** A part that may be empty. A delta says so if it has become empty. */
  const changing = (part: PromptPart, body: string): string =>
    isShown(part) ? (body === "" && delta !== null ? "(none now)" : body) : ""
  const block = (label: string, body: string): ReadonlyArray<string> =>
    body === "" ? [] : ["", fenced(context.fenceMark, label, body)]
  return [
    `delivery ${context.notification.id}, attempt ${options.attempt}: this text replaces any earlier text with this id; answer this one, once.`,
    ...stoppedNotice(context.stoppedRuns),
    ...(accepted.length > 1
      ? [`The request consists of ${accepted.length} events, oldest first. Give one answer to all of them.`]
      : []),
    baseOf(context),
    ...block("request", requestOf(accepted)),
    ...(task === null ? [] : block("task", isShown("task") ? describeTask(task) : headOf(task).join("\n"))),
    ...block("documents", changing("documents", documentsOf(context))),
    ...block(
      delta === null ? "thread before it" : "new in the thread",
      threadOf(context, accepted)
        .map((message) => describeMessage(context, message))
        .join("\n\n")
    ),
    ...block("briefing", changing("briefing", cut(context.briefing ?? "", LIMITS.description))),
    ...block("open tasks", changing("tasks", (context.taskOverview ?? []).map(describeOpenTask).join("\n"))),
    ...section("Agents you can mention", changing("people", agentsOf(context))),
    ...(context.primaryPerson !== null && isShown("people")
      ? section("Person in charge", `- ${oneLine(context.primaryPerson.name)}`)
      : []),
    ...unchangedLine(context),
    ...earlierAttempts(context.earlier, context.fenceMark),
    ...turnRules(rulesOf(context, accepted), options.httpTools)
  ].join("\n")
}

/** The prompt of a delivery's turn. Pure, so that a dry run shows exactly what is sent. */
export const formatNotificationMessage = (context: DeliveryContext, options: PromptOptions): Prompt => {
  const { fenceMark } = context
  const clean = { ...withoutFenceMark(fenceMark, context), fenceMark }
  return {
    instructions: instructionsFor(clean, options.httpTools !== undefined),
    input: inputOf(clean, { ...options, accepted: withoutFenceMark(fenceMark, options.accepted) })
  }
}
