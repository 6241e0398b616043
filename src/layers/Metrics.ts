import { Clock, Context, Effect, Layer, Ref, SubscriptionRef } from "effect"
import type { Metric, Stream } from "effect"
import type { Run, SpentUsage, Usage } from "../domain/delivery/Run.ts"
import type { RunEnd } from "../domain/delivery/RunEnd.ts"
import * as Activity from "../domain/observability/Activity.ts"
import { healthStatuses } from "../domain/observability/Health.ts"
import type { HealthStatus } from "../domain/observability/Health.ts"
import { durationBounds, quantile } from "../domain/observability/Quantiles.ts"
import { costOf, weightedTokensOf } from "../domain/shared/TokenPrice.ts"
import type { RosterAgent } from "../domain/tasks/Roster.ts"
import * as Summary from "./metrics/DeliverySummary.ts"
import * as family from "./metrics/Families.ts"
import { makeMetricRegistry } from "./metrics/MetricRegistry.ts"
import { summarize } from "./metrics/MetricsSummary.ts"
import type { MetricsSummary } from "./metrics/MetricsSummary.ts"
import { makeProcessMetrics } from "./metrics/ProcessMetrics.ts"

/** What is refreshed from the control plane. */
export type SyncKind = "roster" | "profiles"

/** A run of this process when it starts. */
export interface StartedRun extends Omit<Activity.StartedWork, "startedAt"> {
  readonly kind: Run["kind"]
  /** How long it has been due. */
  readonly lateMillis: number
}

/** A run of this process when it has ended. */
export interface EndedRun extends Pick<StartedRun, "kind" | "run" | "agent" | "type"> {
  readonly outcome: RunEnd["outcome"]
  readonly durationMillis: number
  readonly isSilence: boolean
  readonly isTurnCompleted: boolean
  readonly error: string | null
}

/** The labels of the build; the account's name and the gateway's version are null until they are known. */
export interface Build {
  readonly accountId: string
  readonly accountName: string | null
  readonly runtimeId: string
  readonly runtimeVersion: string
  readonly gatewayVersion: string | null
}

/** State of the services at a scrape. */
export interface Observation {
  readonly isReady: boolean
  readonly status: HealthStatus
  readonly failingAgents: number
  readonly isPushConnected: boolean
  readonly oldestWaitingSeconds: number
  readonly heartbeatOverdueSeconds: number
  readonly breaker: "Closed" | "Open" | "HalfOpen"
  readonly isGatewayUp: boolean
  readonly gatewayRestarts: number
  readonly build: Build
}

/** Quantiles of a histogram in seconds; null without a value. */
export interface Latency {
  readonly count: number
  readonly p50: number | null
  readonly p95: number | null
}

const breakerStates = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

/** Agents beyond this number share one series, so that a large roster does not grow the scrape without limit. */
const AGENT_SERIES = 100

/** Records events for Prometheus, for /health and for the status page. */
export class Metrics extends Context.Service<
  Metrics,
  {
    /** A run started; the activity shows it until it ends. */
    runStarted(run: StartedRun): Effect.Effect<void>
    runEnded(end: EndedRun): Effect.Effect<void>
    /** A claim failed; `error` is redacted. */
    claimFailed(error: string): Effect.Effect<void>
    readonly claimAnswered: Effect.Effect<void>
    posted(sinceReadyMillis: number): Effect.Effect<void>
    turnEnded(durationMillis: number): Effect.Effect<void>
    /** The run started to execute the tool; it ends with `toolCalled` for the same run. */
    toolStarted(tool: string, run: string): Effect.Effect<void>
    toolCalled(tool: string, success: boolean, run?: string): Effect.Effect<void>
    /**
     * The gateway says which tool the run's agent is using, built-in or ours; null if none. Ignored while this process
     * executes a tool.
     */
    toolSeen(tool: string | null, run: string): Effect.Effect<void>
    /** Whether the run seems stuck. Its next step shows that it is not. */
    turnStuck(run: string, isStuck: boolean): Effect.Effect<void>
    /** Creates the counters of these tools. */
    toolsKnown(tools: ReadonlyArray<string>): Effect.Effect<void>
    /** A request of the run was answered. */
    tokensUsed(agent: string, usage: Usage, run: string): Effect.Effect<void>
    /** A claim found this many runs held by a budget. */
    heldBack(count: number): Effect.Effect<void>
    /** An attempt ended and spent `usage`. */
    attemptSpent(agent: string, usage: SpentUsage): Effect.Effect<void>
    controlPlaneCalled(name: string, outcome: string, durationMillis: number): Effect.Effect<void>
    /** The time of the agent's next heartbeat, epoch milliseconds. */
    heartbeatDue(agent: string, at: number): Effect.Effect<void>
    rosterKnown(agents: ReadonlyArray<Pick<RosterAgent, "slug" | "name" | "role" | "isPaused">>): Effect.Effect<void>
    synced(kind: SyncKind, success: boolean): Effect.Effect<void>
    readonly deliverySummary: Effect.Effect<Summary.DeliverySummary>
    readonly summary: Effect.Effect<MetricsSummary>
    /** The quantiles since the start: of the time to a turn's first request, of turns, deliveries, late heartbeats. */
    readonly latencies: Effect.Effect<Readonly<Record<"start" | "turn" | "delivery" | "heartbeat", Latency>>>
    /** Recent events and running work, for the status page. */
    readonly activity: Effect.Effect<Activity.Activity>
    /** The activity now and at each change. */
    readonly activityChanges: Stream.Stream<Activity.Activity>
    /** Records the state of the services; call it before each scrape. */
    observe(observation: Observation): Effect.Effect<void>
    /** All metrics in the Prometheus text format. */
    readonly prometheus: Effect.Effect<string>
  }
>()("runtime-service/layers/Metrics") {
  static readonly layer = Layer.effect(
    Metrics,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const registry = makeMetricRegistry()
  const { read, remove, set } = registry
  const processMetrics = yield* makeProcessMetrics(registry)
  const summary = yield* Ref.make(Summary.emptySummary)
  const activity = yield* SubscriptionRef.make(Activity.nothing)
  const note = (step: (before: Activity.Activity) => Activity.Activity) => SubscriptionRef.update(activity, step)
  const progressed = (run: string, change: (before: Activity.Progress, now: number) => Partial<Activity.Progress>) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      note((before) => Activity.progressed(before, run, (work) => change(work, now)))
    )
  const count = (record: () => void) => Effect.sync(record)
  family.createSeries(registry)

  const latencyOf = (histogram: Metric.Histogram<number>): Latency => {
    const { buckets, count, max } = read(histogram)
    const below = buckets.map(([, atMost]) => atMost)
    const counts = below.map((atMost, index) => atMost - (below[index - 1] ?? 0))
    const each = counts.length > durationBounds.length ? counts : [...counts, count - (below.at(-1) ?? 0)]
    return { count, p50: quantile(each, 0.5, max), p95: quantile(each, 0.95, max) }
  }

  const agentsSeen = new Set<string>()
  const agentLabel = (agent: string): string => {
    if (!agentsSeen.has(agent) && agentsSeen.size >= AGENT_SERIES) return family.OTHER_AGENT
    agentsSeen.add(agent)
    return agent
  }

  const summarized = (step: (before: Summary.DeliverySummary) => Summary.DeliverySummary) =>
    Effect.map(Ref.updateAndGet(summary, step), (after) => {
      set(family.inFlight, after.inFlight)
      set(family.consecutiveFailures, after.consecutiveFailures)
    })

  const countDelivery = ({ durationMillis, isSilence, outcome, type }: EndedRun) => {
    set(family.deliveries, 1, { outcome, type })
    set(family.deliveryDuration, durationMillis / 1_000)
    if (Summary.isSuccess(outcome)) set(family.deliverySuccesses, 1)
    if (Summary.isFailure(outcome)) set(family.deliveryFailures, 1)
    if (outcome === "retrying") set(family.retries, 1)
    if (outcome === "dead") set(family.deadLetters, 1)
    if (outcome === "lease_lost") set(family.leasesLost, 1)
    if (isSilence) set(family.silences, 1)
  }

  let lastBuild: Record<string, string> | null = null
  const observe = (seen: Observation) => {
    set(family.ready, seen.isReady ? 1 : 0)
    set(family.healthy, seen.status === "online" ? 1 : 0)
    for (const status of healthStatuses) set(family.status, status === seen.status ? 1 : 0, { status })
    set(family.failingAgents, seen.failingAgents)
    set(family.pushConnected, seen.isPushConnected ? 1 : 0)
    set(family.oldestWaiting, seen.oldestWaitingSeconds)
    set(family.heartbeatOverdue, seen.heartbeatOverdueSeconds)
    set(family.gatewayUp, seen.isGatewayUp ? 1 : 0)
    for (const [state, label] of Object.entries(breakerStates)) {
      set(family.breakerState, state === seen.breaker ? 1 : 0, { state: label })
    }
    set(family.gatewayRestarts, Math.max(0, seen.gatewayRestarts - read(family.gatewayRestarts).count))
    const build = {
      account_id: seen.build.accountId,
      account_name: seen.build.accountName ?? "unknown",
      runtime_id: seen.build.runtimeId,
      version: seen.build.runtimeVersion,
      node: process.versions.node,
      gateway: seen.build.gatewayVersion ?? "unknown"
    }
    // A new account name or gateway version replaces the earlier series.
    if (lastBuild !== null) remove(family.buildInfo, lastBuild)
    lastBuild = build
    set(family.buildInfo, 1, build)
  }

  return Metrics.of({
    runStarted: Effect.fnUntraced(function* ({ kind, lateMillis, ...work }) {
      const startedAt = yield* Clock.currentTimeMillis
      yield* note((before) => Activity.started(before, { ...work, startedAt }))
      yield* kind === "heartbeat"
        ? count(() => set(family.heartbeatLateness, lateMillis / 1_000))
        : summarized(Summary.onStarted)
    }),
    runEnded: Effect.fnUntraced(function* (end) {
      const at = yield* Clock.currentTimeMillis
      if (end.kind === "heartbeat") set(family.heartbeats, 1, { outcome: end.outcome })
      else {
        yield* summarized((before) => Summary.onEnded(before, end, at))
        countDelivery(end)
      }
      // Last, because a subscriber of the activity then reads the counts.
      yield* note((before) => Activity.ended(before, { ...end, isFailure: Summary.isFailure(end.outcome), at }))
    }),
    claimFailed: (error) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => summarized((before) => Summary.onClaimFailed(before, error, at))),
    claimAnswered: summarized(Summary.onClaimAnswered),
    posted: (sinceReadyMillis) => count(() => set(family.createdToPost, sinceReadyMillis / 1_000)),
    turnEnded: (durationMillis) => count(() => set(family.turnDuration, durationMillis / 1_000)),
    toolStarted: (tool, run) => progressed(run, (_, stepSince) => ({ tool, isOwnTool: true, stepSince })),
    toolSeen: (tool, run) =>
      progressed(run, (before, now) => (before.isOwnTool || before.tool === tool ? {} : { tool, stepSince: now })),
    toolCalled: (tool, success, run) =>
      Effect.andThen(
        count(() => set(family.toolCalls, 1, { tool, success: String(success) })),
        run === undefined
          ? Effect.void
          : progressed(run, (_, stepSince) => ({ tool: null, isOwnTool: false, stepSince }))
      ),
    turnStuck: (run, isStuck) => progressed(run, () => ({ isStuck })),
    toolsKnown: (tools) => count(() => tools.forEach((tool) => family.createToolSeries(registry, tool))),
    tokensUsed: (slug, usage, run) =>
      Effect.andThen(
        count(() => {
          const agent = agentLabel(slug)
          set(family.tokens, usage.inputTokens, { agent, direction: "input" })
          set(family.tokens, usage.outputTokens, { agent, direction: "output" })
          set(family.tokens, usage.cacheReadTokens, { agent, direction: "cache_read" })
          set(family.tokens, usage.cacheWriteTokens, { agent, direction: "cache_write" })
        }),
        progressed(run, ({ inputTokens, outputTokens, rounds }, stepSince) => ({
          rounds: rounds + 1,
          inputTokens: inputTokens + usage.inputTokens,
          outputTokens: outputTokens + usage.outputTokens,
          stepSince
        }))
      ),
    heldBack: (runs) => count(() => set(family.runsHeld, runs)),
    attemptSpent: (slug, usage) =>
      count(() => {
        const agent = agentLabel(slug)
        set(family.weightedTokens, weightedTokensOf(usage), { agent })
        set(family.cost, usage.price === null ? 0 : costOf(usage, usage.price), { agent })
        set(family.unansweredRequests, usage.unanswered)
      }),
    controlPlaneCalled: (name, outcome, durationMillis) =>
      count(() => {
        set(family.controlPlaneCalls, 1, { function: name, outcome })
        set(family.controlPlaneSeconds, durationMillis / 1_000, { function: name })
      }),
    heartbeatDue: (agent, at) => note((before) => Activity.heartbeatDue(before, agent, at)),
    rosterKnown: (agents) =>
      Effect.suspend(() => {
        for (const { slug } of agents) family.createAgentSeries(registry, agentLabel(slug))
        return note((before) => Activity.rosterKnown(before, agents))
      }),
    synced: (kind, success) => count(() => set(family.syncs, 1, { kind, outcome: success ? "success" : "failure" })),
    latencies: Effect.sync(() => ({
      start: latencyOf(family.createdToPost),
      turn: latencyOf(family.turnDuration),
      delivery: latencyOf(family.deliveryDuration),
      heartbeat: latencyOf(family.heartbeatLateness)
    })),
    deliverySummary: Ref.get(summary),
    summary: Effect.sync(() => summarize(registry)),
    activity: SubscriptionRef.get(activity),
    activityChanges: SubscriptionRef.changes(activity),
    observe: (seen) =>
      SubscriptionRef.get(activity).pipe(
        Effect.tap(({ running }) =>
          count(() => {
            observe(seen)
            set(family.stuckTurns, running.filter(({ isStuck }) => isStuck).length)
          })
        ),
        Effect.andThen(processMetrics.observe)
      ),
    prometheus: Effect.sync(registry.text)
  })
})
