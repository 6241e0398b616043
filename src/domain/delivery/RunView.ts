import { DateTime, Schema } from "effect"
import { counted } from "../text/Count.ts"
import { durationText } from "../text/DurationText.ts"
import { shortIds } from "../text/ShortId.ts"
import { oneLine } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"
import { costText, whole } from "../usage/UsageReport.ts"
import { NotificationType } from "./DeliveryContext.ts"
import { Usage } from "./Run.ts"
import { RunStep } from "./RunStep.ts"

/** Why a waiting run is not claimed now; `until` is null if the end is not known. */
const RunWait = Schema.Struct({
  reason: Schema.Literals(["budget", "paused", "retry", "quiet", "session"]),
  /** The budget's reason, or the class of the failure. */
  detail: Schema.NullOr(Schema.String),
  until: Schema.NullOr(Schema.Finite)
})

/** A run in an operator's list; times are the control plane's epoch milliseconds. */
export const RunView = Schema.Struct({
  /** The notification's id, or the agent and due time of a heartbeat. */
  id: Schema.String,
  kind: Schema.Literals(["notification", "heartbeat"]),
  agentSlug: Schema.NullOr(Schema.String),
  taskId: Schema.NullOr(Schema.String),
  taskTitle: Schema.NullOr(Schema.String),
  type: Schema.NullOr(NotificationType),
  /** `stopping` until the process that ran it has aborted its turn. */
  state: Schema.Literals(["running", "stopping", "waiting", "delivered", "dead", "discarded"]),
  outcome: Schema.NullOr(Schema.String),
  outcomeReason: Schema.NullOr(Schema.String),
  /** Why a waiting notification is not claimed now; null if it can be. */
  wait: Schema.NullOr(RunWait),
  attempts: Schema.Finite,
  /** When it was claimed, since when it has been waiting, or when it ended. */
  at: Schema.Finite,
  runtimeId: Schema.NullOr(Schema.String),
  traceId: Schema.NullOr(Schema.String)
})
export type RunView = typeof RunView.Type

/** An attempt. Only the claim is known of one that is running or whose process died. */
const RunAttempt = Schema.Struct({
  epoch: Schema.Finite,
  claimedAt: Schema.NullOr(Schema.Finite),
  runtimeId: Schema.NullOr(Schema.String),
  endedAt: Schema.NullOr(Schema.Finite),
  end: Schema.NullOr(Schema.String),
  reason: Schema.NullOr(Schema.String),
  traceId: Schema.NullOr(Schema.String),
  /** Its prompt was a delta and not a full text. */
  isDelta: Schema.NullOr(Schema.Boolean),
  /** The latest rounds and tool calls in order of their ends, and the number of earlier ones. */
  steps: Schema.Array(RunStep),
  stepsLeftOut: Schema.Finite,
  usage: Schema.NullOr(
    Schema.Struct({
      ...Usage.fields,
      rounds: Schema.Finite,
      model: Schema.NullOr(Schema.String),
      weightedTokens: Schema.Finite,
      /** US dollars; null without a price. */
      cost: Schema.NullOr(Schema.Finite),
      isEstimated: Schema.Boolean
    })
  )
})
type RunAttempt = typeof RunAttempt.Type

/** A run: why it exists, what its attempts did and how the last one failed. */
export const RunDetails = Schema.Struct({
  run: RunView,
  createdAt: Schema.Finite,
  claims: Schema.Finite,
  failures: Schema.Finite,
  silences: Schema.Finite,
  nextAttemptAt: Schema.NullOr(Schema.Finite),
  error: Schema.NullOr(Schema.Struct({ class: Schema.String, message: Schema.String, at: Schema.Finite })),
  /** Who retried or discarded it last as a dead letter. */
  decision: Schema.NullOr(
    Schema.Struct({ kind: Schema.Literals(["retried", "discarded"]), byName: Schema.String, at: Schema.Finite })
  ),
  events: Schema.Array(
    Schema.Struct({
      type: NotificationType,
      actorName: Schema.String,
      at: Schema.Finite,
      refusal: Schema.NullOr(Schema.String),
      /** It arrived while the turn ran. */
      hasJoined: Schema.Boolean,
      /** The agent's question that a person's message answers. */
      answers: Schema.optionalKey(Schema.String)
    })
  ),
  /** Its latest attempts, oldest first. */
  timeline: Schema.Array(RunAttempt),
  /** The epoch identifies the attempt. */
  effects: Schema.Array(
    Schema.Struct({ epoch: Schema.Finite, tool: Schema.String, summary: Schema.String, at: Schema.Finite })
  )
})
export type RunDetails = typeof RunDetails.Type

/** The number of runs that a stop ended, and for a single run its outcome. */
export const StopAnswer = Schema.Struct({ stopped: Schema.Finite, outcome: Schema.NullOr(Schema.String) })

const when = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))

/** What the reasons to wait mean, for people. */
const waitTexts: Readonly<Record<(typeof RunWait.Type)["reason"], string>> = {
  budget: "held by a budget",
  paused: "its agent or the account is paused",
  retry: "waits for its retry",
  quiet: "waits until the thread is quiet",
  session: "waits for its agent's running turn"
}

/** Why the run waits, in words; null if nothing holds it. */
export const waitText = ({ wait }: Pick<RunView, "wait">): string | null =>
  wait === null ? null : `${waitTexts[wait.reason]}${wait.detail === null ? "" : `: ${oneLine(wait.detail)}`}`

/** A table with one line for each run. */
export const runTable = (runs: ReadonlyArray<RunView>): string => {
  const short = shortIds(runs.map(({ id }) => id))
  return textTable(
    ["id", "state", "since", "agent", "type", "attempts", "task"],
    runs.map((run) => [
      short(run.id),
      run.outcome ?? waitText(run) ?? run.state,
      when(run.at),
      run.agentSlug ?? "(removed)",
      run.type ?? run.kind,
      String(run.attempts),
      run.taskTitle ?? "-"
    ])
  )
}

const tokensText = (input: number, output: number): string => `${whole(input)} tokens in, ${whole(output)} out`

const endTexts: Readonly<Record<string, string>> = {
  process_ended: "its process ended",
  lease_lost: "another process took over its lease",
  abandoned: "its outcome could not be stored"
}

/** The steps of the attempt, one line for each. */
const stepLines = ({ steps, stepsLeftOut }: RunAttempt): ReadonlyArray<string> => {
  const leftOut = stepsLeftOut === 0 ? [] : [`${counted(stepsLeftOut, "earlier step")} left out`]
  const lines = steps.map((step) => {
    const name = step.kind === "round" ? `round ${step.round}` : step.tool
    const result =
      step.error !== null
        ? `failed: ${oneLine(step.error)}`
        : step.kind === "round"
          ? tokensText(step.inputTokens, step.outputTokens)
          : "succeeded"
    return `${oneLine(name)}, ${durationText(step.durationMs)}: ${result}`
  })
  return [...leftOut, ...lines].map((line) => `${" ".repeat(26)}${line}`)
}

/** How the attempt ended, followed by its steps. */
const attemptText = (attempt: RunAttempt): string => {
  const { claimedAt, end, endedAt, epoch, isDelta, reason, traceId, usage } = attempt
  const after = claimedAt === null || endedAt === null ? "" : ` after ${durationText(endedAt - claimedAt)}`
  const why = reason === null ? "" : `: ${oneLine(reason, 300)}`
  const facts = [
    ...(isDelta === null ? [] : [isDelta ? "delta" : "full text"]),
    ...(usage === null
      ? ["no request to the gateway"]
      : [
          counted(usage.rounds, "round"),
          `${usage.isEstimated ? "about " : ""}${tokensText(usage.inputTokens, usage.outputTokens)}`,
          ...(usage.cost === null ? [] : [costText({ cost: usage.cost, unpricedTokens: 0 })]),
          ...(usage.model === null ? [] : [usage.model])
        ]),
    ...(traceId === null ? [] : [`trace ${traceId}`])
  ]
  const text = `epoch ${epoch}: ${endTexts[end ?? ""] ?? end}${after}${why} (${facts.join("; ")})`
  return [text, ...stepLines(attempt)].join("\n")
}

/** The claim and the end of each attempt. */
const attemptsHappened = (timeline: ReadonlyArray<RunAttempt>) =>
  timeline.flatMap((attempt) => {
    const { claimedAt, end, endedAt, epoch, runtimeId } = attempt
    return [
      ...(claimedAt === null ? [] : [{ at: claimedAt, text: `epoch ${epoch}: claimed by ${runtimeId ?? "-"}` }]),
      ...(endedAt === null || end === null ? [] : [{ at: endedAt, text: attemptText(attempt) }])
    ]
  })

/** All facts about a run, then its history in chronological order. */
export const describeRun = ({ run, ...details }: RunDetails): string => {
  const { claims, createdAt, decision, effects, error, events, failures, nextAttemptAt, silences, timeline } = details
  const isErrorShown = error !== null && timeline.some(({ reason }) => reason?.startsWith(`${error.class}: `) === true)
  const isEndShown = run.outcome !== null && timeline.at(-1)?.end === run.outcome
  const happened = [
    ...events.map(({ actorName, answers, at, hasJoined, refusal, type }) => {
      const what = answers === undefined ? type : `answer to "${oneLine(answers, 200)}"`
      const verdict = `${hasJoined ? ", joined" : ""}${refusal === null ? "" : `, refused: ${oneLine(refusal)}`}`
      return { at, text: `${what} by ${oneLine(actorName)}${verdict}` }
    }),
    ...effects.map(({ at, epoch, summary, tool }) => ({
      at,
      text: `epoch ${epoch}: ${tool}: ${oneLine(summary, 200)}`
    })),
    ...attemptsHappened(timeline),
    ...(decision === null ? [] : [{ at: decision.at, text: `${decision.kind} by ${oneLine(decision.byName)}` }]),
    // The attempt that ended this way shows both.
    ...(error === null || isErrorShown
      ? []
      : [{ at: error.at, text: `${error.class}: ${oneLine(error.message, 300)}` }]),
    ...(run.outcome === null || isEndShown ? [] : [{ at: run.at, text: `ended as ${run.outcome}` }])
  ].toSorted((left, right) => left.at - right.at)
  return [
    `id         ${run.id}`,
    `state      ${run.outcome ?? waitText(run) ?? run.state}${run.outcomeReason === null ? "" : `: ${oneLine(run.outcomeReason, 300)}`}`,
    `agent      ${run.agentSlug ?? "(removed)"}`,
    ...(run.kind === "heartbeat"
      ? [`heartbeat  due ${when(createdAt)}`]
      : [`task       ${run.taskTitle ?? "(removed)"} (${run.taskId})`, `created    ${when(createdAt)}`]),
    `attempts   ${run.attempts}, claimed ${counted(claims, "time")}, ${counted(failures, "failure")}, ${counted(silences, "silence")}`,
    ...(nextAttemptAt === null ? [] : [`next       ${when(nextAttemptAt)}`]),
    `trace      ${run.traceId ?? "-"}`,
    ...happened.map(({ at, text }) => `${when(at)}  ${text}`)
  ].join("\n")
}
