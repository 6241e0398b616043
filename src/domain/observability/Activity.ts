import type { RosterAgent } from "../tasks/Roster.ts"
import { truncate } from "../text/Text.ts"
/** The recent activity of the process for the status page: bounded, pure, all times in epoch milliseconds. */
import { afterAttempt, afterOutcome } from "./Health.ts"
import type { AgentOutcome, FailureRow, RecentAttempt } from "./Health.ts"
import type { LiveTurn } from "./LiveTurn.ts"
import { noDurations, quantile, withDuration } from "./Quantiles.ts"
import type { Buckets } from "./Quantiles.ts"

/** How far a running turn is. */
export interface Progress {
  /** The tool that is running; null while the model is working. */
  readonly tool: string | null
  /** This process executes the tool, so the gateway's events, which may be late, do not change it. */
  readonly isOwnTool: boolean
  /** Since when the tool is running, or the model is working. */
  readonly stepSince: number
  /** It has been quiet for minutes, and the gateway does nothing for it. */
  readonly isStuck: boolean
  /** Answered requests to the gateway, and their tokens. */
  readonly rounds: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/** A delivery or heartbeat that is running. */
export interface RunningWork extends Progress {
  /** The id of the notification or heartbeat. */
  readonly run: string
  /** The key of the session in which its turn runs; null until it is known. */
  readonly sessionKey: string | null
  /** The agent's slug; null until it is known. */
  readonly agent: string | null
  readonly agentName: string | null
  readonly task: string | null
  /** The notification's type, or `heartbeat`. */
  readonly type: string
  readonly attempt: number
  readonly startedAt: number
}

/** What is known of a run when it starts. */
export type StartedWork = Omit<RunningWork, keyof Progress>

/** A delivery or heartbeat that has ended. */
export interface EndedWork extends Pick<RunningWork, "rounds" | "inputTokens" | "outputTokens"> {
  readonly run: string
  readonly agent: string | null
  readonly agentName: string | null
  readonly task: string | null
  readonly type: string
  readonly outcome: string
  readonly isSilence: boolean
  /** It ended with an error, which its outcome alone may not show. */
  readonly isError: boolean
  readonly error: string | null
  readonly attempt: number | null
  readonly at: number
  readonly durationMillis: number
}

/** An error. Consecutive repetitions are counted in one entry. */
export interface RepeatedError {
  readonly message: string
  readonly agent: string | null
  readonly firstAt: number
  readonly at: number
  readonly count: number
}

/** What this process knows about an agent. */
export interface SeenAgent {
  readonly slug: string
  readonly name: string | null
  readonly role: string | null
  /** A person has paused it. */
  readonly isPaused: boolean
  readonly lastHeartbeatAt: number | null
  readonly lastHeartbeatOutcome: string | null
  readonly nextHeartbeatAt: number | null
  readonly lastWorkAt: number | null
}

/** Deliveries that ended within a span of SPAN_MILLIS, which starts at `at`. */
export interface Span {
  readonly at: number
  readonly ended: number
  readonly failed: number
  readonly durations: Buckets
  readonly longestMillis: number
}

/** A span for a chart; the quantiles of the durations are null if nothing ended. */
export interface ChartSpan extends Pick<Span, "at" | "ended" | "failed"> {
  readonly p50Millis: number | null
  readonly p95Millis: number | null
}

/** A snapshot. Lists have the newest first, except `running` and `spans`. */
export interface Activity {
  readonly running: ReadonlyArray<RunningWork>
  readonly ended: ReadonlyArray<EndedWork>
  readonly errors: ReadonlyArray<RepeatedError>
  readonly agents: ReadonlyArray<SeenAgent>
  readonly failures: ReadonlyArray<FailureRow>
  readonly attempts: ReadonlyArray<RecentAttempt>
  readonly spans: ReadonlyArray<Span>
}

export const SPAN_MILLIS = 30_000
/** Twenty minutes. */
export const SPANS = 40
const ENDED = 60
const ERRORS = 20
const AGENTS = 200
/** Maximum length of a title or an error. */
const CHARACTERS = 500

const short = (text: string): string => truncate(text, CHARACTERS)

/** The initial state. */
export const nothing: Activity = {
  running: [],
  ended: [],
  errors: [],
  agents: [],
  failures: [],
  attempts: [],
  spans: []
}

const touchAgent = (
  agents: ReadonlyArray<SeenAgent>,
  slug: string | null,
  change: Partial<SeenAgent>
): ReadonlyArray<SeenAgent> => {
  if (slug === null) return agents
  const before = agents.find((agent) => agent.slug === slug)
  if (before === undefined) {
    const fresh: SeenAgent = {
      slug,
      name: null,
      role: null,
      isPaused: false,
      lastHeartbeatAt: null,
      lastHeartbeatOutcome: null,
      nextHeartbeatAt: null,
      lastWorkAt: null
    }
    return agents.length >= AGENTS ? agents : [...agents, { ...fresh, ...change }]
  }
  return agents.map((agent) => (agent === before ? { ...agent, ...change } : agent))
}

/** A run has started. */
export const started = (activity: Activity, work: StartedWork): Activity => ({
  ...activity,
  running: [
    ...activity.running.filter(({ run }) => run !== work.run),
    {
      ...work,
      task: work.task === null ? null : short(work.task),
      tool: null,
      isOwnTool: false,
      stepSince: work.startedAt,
      isStuck: false,
      rounds: 0,
      inputTokens: 0,
      outputTokens: 0
    }
  ],
  agents: touchAgent(activity.agents, work.agent, work.agentName === null ? {} : { name: work.agentName })
})

/** The run has made progress, so it is not stuck. All that is known of a running turn comes through this function. */
export const progressed = (
  activity: Activity,
  run: string,
  change: (before: Progress) => Partial<Progress>
): Activity => ({
  ...activity,
  running: activity.running.map((work) => (work.run === run ? { ...work, isStuck: false, ...change(work) } : work))
})

/** When the turn did something last: one of its steps, or an event of the gateway. */
export const lastActivityOf = ({ stepSince }: Progress, live: LiveTurn | undefined): number =>
  Math.max(stepSince, live?.lastEventAt ?? 0)

const withError = (
  errors: ReadonlyArray<RepeatedError>,
  message: string,
  agent: string | null,
  at: number
): ReadonlyArray<RepeatedError> => {
  const [last] = errors
  return last?.message === message && last.agent === agent
    ? [{ ...last, at, count: last.count + 1 }, ...errors.slice(1)]
    : [{ message, agent, firstAt: at, at, count: 1 }, ...errors].slice(0, ERRORS)
}

const emptySpan = (at: number): Span => ({ at, ended: 0, failed: 0, durations: noDurations, longestMillis: 0 })

const withSpan = (spans: ReadonlyArray<Span>, at: number, isFailure: boolean, millis: number): ReadonlyArray<Span> => {
  const start = Math.floor(at / SPAN_MILLIS) * SPAN_MILLIS
  const last = spans.at(-1)
  const current = last?.at === start ? last : emptySpan(start)
  return [
    ...spans.filter((span) => span.at !== start),
    {
      at: start,
      ended: current.ended + 1,
      failed: current.failed + (isFailure ? 1 : 0),
      durations: withDuration(current.durations, millis / 1_000),
      longestMillis: Math.max(current.longestMillis, millis)
    }
  ].slice(-SPANS)
}

/** The end of a run, in addition to what is known from its start. */
export interface WorkEnd extends AgentOutcome {
  readonly run: string
  readonly type: string
  readonly isSilence: boolean
  readonly isFailure: boolean
  readonly durationMillis: number
}

/** A run has ended, even if its start was not recorded. */
export const ended = (activity: Activity, end: WorkEnd): Activity => {
  const isHeartbeat = end.kind === "heartbeat"
  const error = end.error === null ? null : short(end.error)
  const work = activity.running.find(({ run }) => run === end.run)
  return {
    running: activity.running.filter((other) => other !== work),
    ended: [
      {
        run: end.run,
        agent: end.agent,
        agentName: work?.agentName ?? null,
        task: work?.task ?? null,
        type: end.type,
        outcome: end.outcome,
        isSilence: end.isSilence,
        isError: error !== null,
        error,
        attempt: work?.attempt ?? null,
        rounds: work?.rounds ?? 0,
        inputTokens: work?.inputTokens ?? 0,
        outputTokens: work?.outputTokens ?? 0,
        at: end.at,
        durationMillis: end.durationMillis
      },
      ...activity.ended
    ].slice(0, ENDED),
    errors: error === null ? activity.errors : withError(activity.errors, error, end.agent, end.at),
    failures: afterOutcome(activity.failures, { ...end, error }),
    attempts: afterAttempt(activity.attempts, end),
    agents: touchAgent(activity.agents, end.agent, {
      lastWorkAt: end.at,
      ...(isHeartbeat ? { lastHeartbeatAt: end.at, lastHeartbeatOutcome: end.outcome } : {})
    }),
    spans: isHeartbeat ? activity.spans : withSpan(activity.spans, end.at, end.isFailure, end.durationMillis)
  }
}

/** The agent's next heartbeat is known; null means that it has none. */
export const heartbeatDue = (activity: Activity, slug: string, nextHeartbeatAt: number | null): Activity => ({
  ...activity,
  agents: touchAgent(activity.agents, slug, { nextHeartbeatAt })
})

/** The roster is known. Removed agents are dropped, the others keep their activity. */
export const rosterKnown = (
  activity: Activity,
  roster: ReadonlyArray<Pick<RosterAgent, "slug" | "name" | "role" | "isPaused">>
): Activity => ({
  ...activity,
  failures: activity.failures.filter(({ agent }) => roster.some(({ slug }) => slug === agent)),
  agents: roster.slice(0, AGENTS).map(({ isPaused, name, role, slug }) => {
    const [seen] = touchAgent(
      activity.agents.filter((agent) => agent.slug === slug),
      slug,
      { name, role, isPaused }
    )
    return seen!
  })
})

const chartSpan = ({ at, durations, ended, failed, longestMillis }: Span): ChartSpan => {
  const millis = (share: number): number | null => {
    const seconds = quantile(durations, share, longestMillis / 1_000)
    return seconds === null ? null : Math.round(seconds * 1_000)
  }
  return { at, ended, failed, p50Millis: millis(0.5), p95Millis: millis(0.95) }
}

/** One entry for each of the last SPANS spans, the oldest first; spans without deliveries are empty. */
export const chartSpans = (activity: Activity, now: number): ReadonlyArray<ChartSpan> => {
  const last = Math.floor(now / SPAN_MILLIS) * SPAN_MILLIS
  const known = new Map(activity.spans.map((span) => [span.at, span]))
  return Array.from({ length: SPANS }, (_, index) => {
    const at = last - (SPANS - 1 - index) * SPAN_MILLIS
    return chartSpan(known.get(at) ?? emptySpan(at))
  })
}
