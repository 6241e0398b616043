import { fenced, withoutFenceMark } from "../prompt/FenceMark.ts"
import { instructionsFor, turnRules } from "../prompt/Instructions.ts"
import { describeTask, earlierAttempts, section, stoppedNotice } from "../prompt/Prompt.ts"
import type { Prompt, TurnPromptOptions } from "../prompt/Prompt.ts"
import { cut, oneLine } from "../text/Text.ts"
import type { HeartbeatContext, HeartbeatTask } from "./Heartbeat.ts"
import { HEARTBEAT_OK } from "./HeartbeatReply.ts"

/** Options for the text of a heartbeat's turn, in addition to its context. */
export interface HeartbeatPromptOptions extends TurnPromptOptions {
  readonly attempt: number
  /** The tasks whose assignees or reviewers the agent should ask; only for the orchestrator. */
  readonly followUps: ReadonlyArray<HeartbeatTask>
  /** The control plane's epoch milliseconds, to state since when an assignee has been silent. */
  readonly now: number
}

const LIMITS = { briefing: 4_000, agents: 25 }

const rulesOf = ({ agent }: HeartbeatContext): ReadonlyArray<string> => [
  "This is your heartbeat: no one asks anything of you. Look at your tasks and do their next step if you can. If your workspace has a HEARTBEAT.md, follow it.",
  ...(agent.isOrchestrator
    ? [
        "Ask the assignees of the tasks under 'Follow up' in their threads, and for a task in review its reviewer. Ask no one about other tasks in this heartbeat."
      ]
    : []),
  `End with exactly ${HEARTBEAT_OK} if you have nothing to report to people or other agents. It is not posted.`,
  "Otherwise end with a short text: it is posted in the thread of the task whose id it names, or else of the first task listed. Never say that nothing happened.",
  "Never set a task to done in a heartbeat: ask for a review."
]

const ago = (since: number, now: number): string => {
  const minutes = Math.max(0, Math.floor((now - since) / 60_000))
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`
}

const oneLineOf = ({ lastAssigneeAt, task }: HeartbeatTask, now: number): string =>
  [
    task.id,
    task.status,
    oneLine(task.title, 200),
    `(${task.assignees.map(({ slug }) => `@${slug}`).join(", ") || "no assignee"})`,
    `last activity of an assignee: ${lastAssigneeAt === null ? "never" : `${ago(lastAssigneeAt, now)} ago`}`,
    ...(task.blockedReason === null ? [] : [`blocked: ${oneLine(task.blockedReason, 200)}`])
  ].join(" ")

const inputOf = (context: HeartbeatContext, options: HeartbeatPromptOptions): string => {
  const { agent, earlier, heartbeat } = context
  const { now } = options
  const block = (label: string, body: string): ReadonlyArray<string> =>
    body === "" ? [] : ["", fenced(context.fenceMark, label, body)]
  const lines = (rows: ReadonlyArray<HeartbeatTask>) => rows.map((row) => oneLineOf(row, now)).join("\n")
  return [
    `heartbeat ${heartbeat.id}, attempt ${options.attempt}: this text replaces any earlier text with this id; act on this one, once.`,
    ...stoppedNotice(context.stoppedRuns),
    ...block("Follow up", lines(options.followUps)),
    ...(agent.isOrchestrator
      ? block("tasks under way", lines(context.tasks))
      : block("your tasks", context.tasks.map(({ task }) => describeTask(task)).join("\n\n"))),
    ...(context.tasks.length === 0 ? ["", "There are no tasks for you."] : []),
    ...block("briefing", cut(context.briefing ?? "", LIMITS.briefing)),
    ...section(
      "Agents you can mention",
      context.mentionableAgents
        .slice(0, LIMITS.agents)
        .map((other) => `- @${other.slug}: ${oneLine(other.name)}, ${oneLine(other.role)}`)
        .join("\n")
    ),
    ...section("Person in charge", context.primaryPerson === null ? "" : `- ${oneLine(context.primaryPerson.name)}`),
    ...earlierAttempts(earlier, context.fenceMark),
    ...turnRules(rulesOf(context), options.httpTools)
  ].join("\n")
}

/** The prompt of a heartbeat's turn. Pure, so that a dry run shows exactly what is sent. */
export const formatHeartbeatMessage = (context: HeartbeatContext, options: HeartbeatPromptOptions): Prompt => {
  const { fenceMark } = context
  const clean = { ...withoutFenceMark(fenceMark, context), fenceMark }
  return {
    instructions: instructionsFor(clean, options.httpTools !== undefined),
    input: inputOf(clean, { ...options, followUps: withoutFenceMark(fenceMark, options.followUps) })
  }
}
