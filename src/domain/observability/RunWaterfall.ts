/** The timeline of a run's attempts as bars, for the status page. */
import type { RunDetails } from "../delivery/RunView.ts"
import { costText, whole } from "../usage/UsageReport.ts"

type Attempt = RunDetails["timeline"][number]

/** A part of an attempt; times are milliseconds from its claim. */
export interface Bar {
  /** `own` is the work of the runtime and the control plane. */
  readonly kind: "round" | "tool" | "own"
  readonly label: string
  /** Its tokens, or how it failed. */
  readonly text: string
  readonly isFailed: boolean
  readonly fromMs: number
  readonly forMs: number
}

/** An attempt with its bars in the order of their starts. */
export interface AttemptBars {
  readonly epoch: number
  readonly claimedAt: number | null
  readonly runtime: string | null
  /** How it ended; null while it is running. */
  readonly end: string | null
  readonly reason: string | null
  readonly traceId: string | null
  /** Usage, model and kind of prompt, in words. */
  readonly facts: ReadonlyArray<string>
  readonly totalMs: number
  readonly bars: ReadonlyArray<Bar>
  readonly stepsLeftOut: number
  /** Steps of earlier releases have no start: they are drawn one after another. */
  readonly isEstimated: boolean
}

const factsOf = ({ isDelta, usage }: Attempt): ReadonlyArray<string> => [
  ...(isDelta === null ? [] : [isDelta ? "sent the changes only" : "sent the full text"]),
  ...(usage === null
    ? []
    : [
        `${usage.isEstimated ? "about " : ""}${whole(usage.inputTokens)} tokens in (${whole(usage.cacheReadTokens)} from the cache), ${whole(usage.outputTokens)} out`,
        ...(usage.cost === null ? [] : [costText({ cost: usage.cost, unpricedTokens: 0 })]),
        ...(usage.model === null ? [] : [usage.model])
      ])
]

const stepBars = ({ steps }: Attempt): ReadonlyArray<Bar> => {
  let after = 0
  const bars = steps.map((step): Bar => {
    const fromMs = step.startMs ?? after
    after = Math.max(after, fromMs + step.durationMs)
    const label = step.kind === "round" ? `Round ${step.round}` : step.tool
    const tokens = step.kind === "round" ? `${whole(step.inputTokens)} tokens in, ${whole(step.outputTokens)} out` : ""
    const { durationMs: forMs, error, kind } = step
    return { kind, label, text: error ?? tokens, isFailed: error !== null, fromMs, forMs }
  })
  // A tool call over HTTP happens within a round and ends before it.
  return bars.toSorted((left, right) => left.fromMs - right.fromMs)
}

/** The attempt as bars; `now` is the control plane's time. */
const attemptBars = (attempt: Attempt, now: number): AttemptBars => {
  const { claimedAt, end, endedAt, epoch, reason, runtimeId: runtime, steps, stepsLeftOut, traceId } = attempt
  const bars = stepBars(attempt)
  const lastMs = Math.max(0, ...bars.map(({ forMs, fromMs }) => fromMs + forMs))
  const spanMs = claimedAt === null ? lastMs : Math.max(0, (endedAt ?? now) - claimedAt)
  // The two clocks differ: the steps are the runtime's, claim and end the control plane's.
  const totalMs = Math.max(lastMs, spanMs)
  const own = (label: string, fromMs: number, toMs: number): Bar => ({
    kind: "own",
    label,
    text: "",
    isFailed: false,
    fromMs,
    forMs: toMs - fromMs
  })
  const first = bars[0] === undefined ? [] : [own("Claim and prompt", 0, bars[0].fromMs)]
  const last = end === null ? [] : [own("Store the outcome", lastMs, totalMs)]
  return {
    epoch,
    claimedAt,
    runtime,
    end,
    reason,
    traceId,
    facts: factsOf(attempt),
    totalMs,
    bars: [...first, ...bars, ...last],
    stepsLeftOut,
    isEstimated: steps.some(({ startMs }) => startMs === undefined)
  }
}

/** The attempts of a run as bars, oldest first; `now` is the control plane's time. */
export const runWaterfall = ({ timeline }: Pick<RunDetails, "timeline">, now: number): ReadonlyArray<AttemptBars> =>
  timeline.map((attempt) => attemptBars(attempt, now))
