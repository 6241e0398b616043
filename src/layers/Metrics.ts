/** The metrics of the runtime, one constant each; `mission_control_<noun>_<unit|total>`, durations in seconds. */
import { readdirSync, readFileSync } from "node:fs"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { Clock, Context, Effect, Layer, Metric, Ref, SubscriptionRef } from "effect"
import type { Stream } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { NotificationType } from "../domain/delivery/DeliveryContext.ts"
import type { Run, SpentUsage, Usage } from "../domain/delivery/Run.ts"
import { deliveryOutcomes, heartbeatOutcomes } from "../domain/delivery/RunEnd.ts"
import type { DeliveryOutcome, HeartbeatOutcome, RunEnd } from "../domain/delivery/RunEnd.ts"
import * as Activity from "../domain/observability/Activity.ts"
import { costOf, weightedTokensOf } from "../domain/shared/TokenPrice.ts"
import type { RosterAgent } from "../domain/tasks/Roster.ts"

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900]

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })
const histogram = (name: string, description: string) => Metric.histogram(name, { description, boundaries: seconds })

const deliveries = counter(
  "mission_control_deliveries_total",
  `Deliveries that ended, by outcome (${deliveryOutcomes.join(", ")}) and notification type.`
)
const successTotal = counter(
  "mission_control_delivery_successes_total",
  "Deliveries that ended well: replied, acted, skipped or fallback."
)
const failureTotal = counter(
  "mission_control_delivery_failures_total",
  "Deliveries that ended with a retry to come, dead or abandoned."
)
const consecutiveFailures = gauge(
  "mission_control_delivery_consecutive_failures",
  "Failed deliveries since the last one that ended well, and failed claims since the last that was answered."
)
const retries = counter("mission_control_delivery_retries_total", "Deliveries that failed and will be retried.")
const silences = counter("mission_control_silences_total", "Turns that ended without the answer that was owed.")
const deadLetters = counter("mission_control_dead_letters_total", "Notifications that were given up.")
const leasesLost = counter(
  "mission_control_leases_lost_total",
  "Deliveries that ended because another runtime had taken their session."
)
const deliveryDuration = histogram(
  "mission_control_delivery_duration_seconds",
  "Duration of deliveries from claim to outcome, whatever the outcome."
)
const createdToPost = histogram(
  "mission_control_created_to_post_seconds",
  "Time from a notification becoming ready to the first request of its turn."
)
const turnDuration = histogram(
  "mission_control_turn_duration_seconds",
  "Duration of turns, all rounds and tools included."
)
const toolCalls = counter(
  "mission_control_tool_calls_total",
  "Tool calls of agents, by tool and whether they succeeded."
)
const inFlight = gauge("mission_control_deliveries_in_flight", "Deliveries running now.")
const controlPlaneCalls = counter(
  "mission_control_control_plane_calls_total",
  "Calls of control-plane functions, by function and outcome."
)
const controlPlaneSeconds = histogram("mission_control_control_plane_call_seconds", "Duration of control-plane calls.")
const tokenDirections = ["input", "output", "cache_read", "cache_write"] as const
const tokens = counter(
  "mission_control_tokens_total",
  "Tokens of turns as the gateway reported them, by agent and direction (input, output; cache_read and cache_write are parts of input)."
)
const tokensOf = (usage: Usage, direction: (typeof tokenDirections)[number]): number =>
  ({
    input: usage.inputTokens,
    output: usage.outputTokens,
    cache_read: usage.cacheReadTokens,
    cache_write: usage.cacheWriteTokens
  })[direction]
const weightedTokens = counter(
  "mission_control_weighted_tokens_total",
  "Price-weighted tokens of answered requests (input 1, cache read 0.1, cache write 1.25, output 5), by agent."
)
const cost = counter(
  "mission_control_cost_dollars_total",
  "What answered requests cost in US dollars where the price is known, by agent."
)
const unansweredRequests = counter(
  "mission_control_unanswered_requests_total",
  "Requests without an answer that may have cost something; the control plane estimates them."
)
const runsHeld = counter("mission_control_runs_held_total", "Notifications and heartbeats that a budget kept waiting.")
const heartbeats = counter(
  "mission_control_heartbeats_total",
  `Heartbeats that ended, by outcome (${heartbeatOutcomes.join(", ")}).`
)
const heartbeatLateness = histogram(
  "mission_control_heartbeat_lateness_seconds",
  "Time from the moment at which a heartbeat was due to its start."
)
const heartbeatOverdue = gauge(
  "mission_control_heartbeat_overdue_seconds",
  "For how long due heartbeats have been waiting for a permit of this runtime; 0 when none waits."
)
const syncs = counter("mission_control_syncs_total", "Refreshes of roster and profiles, by kind and outcome.")
const healthy = gauge("mission_control_healthy", "Whether /health says healthy: 1 or 0.")
const failingAgents = gauge(
  "mission_control_failing_agents",
  "Agents whose last deliveries or heartbeats failed; an agent of which both failed counts twice."
)
const ready = gauge("mission_control_ready", "Whether the process is ready, as /readyz says it: 1 or 0.")
const oldestWaiting = gauge(
  "mission_control_oldest_waiting_seconds",
  "For how long the oldest ready notification has been waiting; 0 when none waits."
)
const breakerState = gauge("mission_control_breaker_state", "The gateway's breaker: 1 for the state it is in.")
const gatewayUp = gauge("mission_control_gateway_up", "Whether the gateway took turns when it was last asked: 1 or 0.")
const pushConnected = gauge(
  "mission_control_push_connected",
  "Whether the control plane's pushes arrive: 1, or 0 while the runtime polls."
)
const gatewayRestarts = counter(
  "mission_control_gateway_restarts_total",
  "Starts of the supervised gateway after the first."
)
const buildInfo = gauge("mission_control_build_info", "Versions of runtime, Node.js and gateway; always 1.")
const eventLoopDelay = gauge(
  "mission_control_event_loop_delay_seconds",
  "By how much the event loop ran late since the last scrape: mean, p50, p99 and max."
)
const cpuSeconds = counter("process_cpu_seconds_total", "Processor time of the process, user and system.")
const residentMemory = gauge("process_resident_memory_bytes", "Resident memory of the process.")
const startTime = gauge("process_start_time_seconds", "Start of the process in seconds since the Unix epoch.")
const openFiles = gauge("process_open_fds", "Open file descriptors.")
const maxFiles = gauge("process_max_fds", "The limit of open file descriptors.")
const heapUsed = gauge("nodejs_heap_size_used_bytes", "Memory that JavaScript objects take.")

/** What is refreshed from the control plane. */
export type SyncKind = "roster" | "profiles"

/** The last delivery as /health shows it; the time is epoch milliseconds. */
export interface LastDelivery {
  readonly notificationId: string
  readonly agent: string | null
  readonly outcome: RunEnd["outcome"]
  readonly at: number
  readonly durationMillis: number
}

/** The delivery part of /health; failures are those of deliveries and of claims, the loop's polls. */
export interface DeliverySummary {
  readonly deliveredCount: number
  readonly successCount: number
  readonly failureCount: number
  readonly consecutiveFailures: number
  /** Claims that failed since the last one that was answered. */
  readonly failedClaims: number
  readonly retries: number
  readonly lastErrorAt: number | null
  readonly lastErrorMessage: string | null
  readonly lastDelivery: LastDelivery | null
  readonly inFlight: number
  readonly silences: number
  readonly deadLetters: number
}

/** A run of this process when it starts. */
export interface StartedRun extends Omit<Activity.RunningWork, "startedAt" | "tool"> {
  readonly kind: Run["kind"]
  /** For how long it has been due. */
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

/** What the services know at the moment of a scrape. */
export interface Observation {
  readonly isReady: boolean
  readonly isHealthy: boolean
  readonly failingAgents: number
  readonly isPushConnected: boolean
  readonly oldestWaitingSeconds: number
  readonly heartbeatOverdueSeconds: number
  readonly breaker: "Closed" | "Open" | "HalfOpen"
  readonly isGatewayUp: boolean
  readonly gatewayRestarts: number
  readonly runtimeVersion: string
  readonly gatewayVersion: string | null
}

/** The metrics in a few numbers for /health: counts since the start, means in seconds, null before the first. */
export interface MetricsSummary {
  readonly deliveries: Readonly<Record<DeliveryOutcome, number>>
  readonly turns: number
  readonly meanTurnSeconds: number | null
  readonly meanCreatedToPostSeconds: number | null
  readonly toolCalls: number
  readonly toolFailures: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly controlPlaneCalls: number
  readonly controlPlaneFailures: number
  readonly heartbeats: number
  readonly residentMemoryBytes: number
  readonly cpuSeconds: number
}

const successes: ReadonlySet<string> = new Set<DeliveryOutcome>(["replied", "acted", "skipped", "fallback"])
const failures: ReadonlySet<string> = new Set<DeliveryOutcome | HeartbeatOutcome>([
  "retrying",
  "dead",
  "given_up",
  "abandoned"
])
/** A delivery whose context is broken has no type that is known. */
const types: ReadonlyArray<string> = [...NotificationType.literals, "unknown"]
const breakerStates = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

/** Agents beyond this many share the series `other`: a roster must not grow the scrape without end. */
const AGENT_SERIES = 100

/** How often the event loop's delay is sampled; recorded delays include this. Each sample wakes an idle process. */
const SAMPLE_MILLIS = 1_000

/** Linux tells about descriptors in /proc; elsewhere these families are left out. */
const descriptors = (): { readonly open: number; readonly limit: number } | null => {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]
    return { open: readdirSync("/proc/self/fd").length, limit: Number(limit ?? Number.POSITIVE_INFINITY) }
  } catch {
    return null
  }
}

const processorSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1_000_000
}

/** Records what happens, for Prometheus, for /health and for the status page. */
export class Metrics extends Context.Service<
  Metrics,
  {
    /** A run starts; until it ends the activity shows it. */
    runStarted(run: StartedRun): Effect.Effect<void>
    runEnded(end: EndedRun): Effect.Effect<void>
    /** A claim failed; `error` is redacted. */
    claimFailed(error: string): Effect.Effect<void>
    /** A claim was answered. */
    readonly claimAnswered: Effect.Effect<void>
    posted(sinceReadyMillis: number): Effect.Effect<void>
    turnEnded(durationMillis: number): Effect.Effect<void>
    /** The run executes the tool from now on, until `toolCalled` with the same run. */
    toolStarted(tool: string, run: string): Effect.Effect<void>
    toolCalled(tool: string, success: boolean, run?: string): Effect.Effect<void>
    /** The tools that exist, so that their counters do too. */
    toolsKnown(tools: ReadonlyArray<string>): Effect.Effect<void>
    tokensUsed(agent: string, usage: Usage): Effect.Effect<void>
    /** A claim found that a budget keeps so many runs waiting. */
    heldBack(count: number): Effect.Effect<void>
    /** An attempt ended that spent this. */
    attemptSpent(agent: string, usage: SpentUsage): Effect.Effect<void>
    controlPlaneCalled(name: string, outcome: string, durationMillis: number): Effect.Effect<void>
    /** When the agent's next heartbeat is due, epoch milliseconds. */
    heartbeatDue(agent: string, at: number): Effect.Effect<void>
    rosterKnown(agents: ReadonlyArray<Pick<RosterAgent, "slug" | "name" | "role" | "isPaused">>): Effect.Effect<void>
    synced(kind: SyncKind, success: boolean): Effect.Effect<void>
    readonly deliverySummary: Effect.Effect<DeliverySummary>
    readonly summary: Effect.Effect<MetricsSummary>
    /** What happened lately, and what runs. */
    readonly activity: Effect.Effect<Activity.Activity>
    /** The activity now and at each change. */
    readonly activityChanges: Stream.Stream<Activity.Activity>
    /** Takes over what the services know; to be called before each scrape. */
    observe(observation: Observation): Effect.Effect<void>
    /** The Prometheus text of everything. */
    readonly prometheus: Effect.Effect<string>
  }
>()("runtime-service/layers/Metrics") {
  static readonly layer = Layer.effect(
    Metrics,
    Effect.gen(function* () {
      const summary = yield* Ref.make<DeliverySummary>({
        deliveredCount: 0,
        successCount: 0,
        failureCount: 0,
        consecutiveFailures: 0,
        failedClaims: 0,
        retries: 0,
        lastErrorAt: null,
        lastErrorMessage: null,
        lastDelivery: null,
        inFlight: 0,
        silences: 0,
        deadLetters: 0
      })
      const activity = yield* SubscriptionRef.make(Activity.nothing)
      const note = (step: (before: Activity.Activity) => Activity.Activity) => SubscriptionRef.update(activity, step)

      // A registry of our own holds nothing that other libraries count.
      const registry: Context.Service.Shape<typeof Metric.MetricRegistry> = new Map()
      const context = Context.make(Metric.MetricRegistry, registry)
      const set = <Input, State>(
        metric: Metric.Metric<Input, State>,
        value: Input,
        attributes?: Record<string, string>
      ) =>
        Effect.sync(() =>
          (attributes === undefined ? metric : Metric.withAttributes(metric, attributes)).updateUnsafe(value, context)
        )
      const read = <Input, State>(metric: Metric.Metric<Input, State>): State => metric.valueUnsafe(context)

      const delays = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const histogram = monitorEventLoopDelay({ resolution: SAMPLE_MILLIS })
          histogram.enable()
          return histogram
        }),
        (histogram) => Effect.sync(() => histogram.disable())
      )

      // What Prometheus has never seen cannot be alerted on: whatever can be known exists from the start.
      for (const outcome of deliveryOutcomes) for (const type of types) yield* set(deliveries, 0, { outcome, type })
      for (const metric of [
        successTotal,
        failureTotal,
        retries,
        silences,
        deadLetters,
        leasesLost,
        gatewayRestarts,
        runsHeld,
        unansweredRequests
      ]) {
        yield* set(metric, 0)
      }
      for (const name of Object.values(functions)) {
        for (const outcome of ["success", "failure"]) yield* set(controlPlaneCalls, 0, { function: name, outcome })
      }
      for (const outcome of heartbeatOutcomes) yield* set(heartbeats, 0, { outcome })
      for (const kind of ["roster", "profiles"]) {
        for (const outcome of ["success", "failure"]) yield* set(syncs, 0, { kind, outcome })
      }
      for (const direction of tokenDirections) yield* set(tokens, 0, { agent: "other", direction })
      for (const metric of [weightedTokens, cost]) yield* set(metric, 0, { agent: "other" })
      for (const success of ["true", "false"]) yield* set(toolCalls, 0, { tool: "unknown", success })
      yield* set(inFlight, 0)
      yield* set(consecutiveFailures, 0)
      for (const metric of [deliveryDuration, createdToPost, turnDuration, heartbeatLateness]) read(metric)

      const agentsSeen = new Set<string>()
      const agentLabel = (agent: string): string => {
        if (!agentsSeen.has(agent) && agentsSeen.size >= AGENT_SERIES) return "other"
        agentsSeen.add(agent)
        return agent
      }

      const changeInFlight = (by: number) =>
        Ref.updateAndGet(summary, (before) => ({ ...before, inFlight: Math.max(0, before.inFlight + by) })).pipe(
          Effect.flatMap((after) => set(inFlight, after.inFlight))
        )

      const deliveryEnded = Effect.fnUntraced(function* (end: EndedRun, isFailure: boolean, at: number) {
        const { agent, durationMillis, error, isSilence, outcome, run, type } = end
        const isSuccess = successes.has(outcome)
        const after = yield* Ref.updateAndGet(summary, (before) => ({
          ...before,
          deliveredCount: before.deliveredCount + (isSuccess ? 1 : 0),
          successCount: before.successCount + (isSuccess ? 1 : 0),
          failureCount: before.failureCount + (isFailure ? 1 : 0),
          consecutiveFailures: isSuccess ? before.failedClaims : before.consecutiveFailures + (isFailure ? 1 : 0),
          retries: before.retries + (outcome === "retrying" ? 1 : 0),
          lastErrorAt: error === null ? before.lastErrorAt : at,
          lastErrorMessage: error ?? before.lastErrorMessage,
          lastDelivery: { notificationId: run, agent, outcome, at, durationMillis },
          silences: before.silences + (isSilence ? 1 : 0),
          deadLetters: before.deadLetters + (outcome === "dead" ? 1 : 0)
        }))
        yield* changeInFlight(-1)
        yield* set(deliveries, 1, { outcome, type })
        yield* set(deliveryDuration, durationMillis / 1_000)
        yield* set(consecutiveFailures, after.consecutiveFailures)
        if (isSuccess) yield* set(successTotal, 1)
        if (isFailure) yield* set(failureTotal, 1)
        if (outcome === "retrying") yield* set(retries, 1)
        if (outcome === "dead") yield* set(deadLetters, 1)
        if (outcome === "lease_lost") yield* set(leasesLost, 1)
        if (isSilence) yield* set(silences, 1)
      })

      const claimFailed = Effect.fnUntraced(function* (error: string) {
        const at = yield* Clock.currentTimeMillis
        const after = yield* Ref.updateAndGet(summary, (before) => ({
          ...before,
          failureCount: before.failureCount + 1,
          consecutiveFailures: before.consecutiveFailures + 1,
          failedClaims: before.failedClaims + 1,
          lastErrorAt: at,
          lastErrorMessage: error
        }))
        yield* set(consecutiveFailures, after.consecutiveFailures)
      })

      const claimAnswered = Effect.gen(function* () {
        if ((yield* Ref.get(summary)).failedClaims === 0) return
        const after = yield* Ref.updateAndGet(summary, (before) => ({
          ...before,
          consecutiveFailures: before.consecutiveFailures - before.failedClaims,
          failedClaims: 0
        }))
        yield* set(consecutiveFailures, after.consecutiveFailures)
      })

      const observeProcess = Effect.sync(() => {
        const late = (nanoseconds: number): number =>
          Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e9 - SAMPLE_MILLIS / 1_000) : 0
        const statistics = {
          mean: late(delays.mean),
          p50: late(delays.percentile(50)),
          p99: late(delays.percentile(99)),
          max: late(delays.count === 0 ? 0 : delays.max)
        }
        delays.reset()
        return statistics
      }).pipe(
        Effect.flatMap((statistics) =>
          Effect.forEach(
            Object.entries(statistics),
            ([statistic, value]) => set(eventLoopDelay, value, { statistic }),
            { discard: true }
          )
        ),
        Effect.andThen(
          Effect.suspend(() => {
            const { heapUsed: heap, rss } = process.memoryUsage()
            const files = descriptors()
            return Effect.all(
              [
                set(cpuSeconds, processorSeconds() - read(cpuSeconds).count),
                set(residentMemory, rss),
                set(heapUsed, heap),
                set(startTime, performance.timeOrigin / 1_000),
                ...(files === null ? [] : [set(openFiles, files.open), set(maxFiles, files.limit)])
              ],
              { discard: true }
            )
          })
        )
      )

      let lastBuild: Record<string, string> | null = null
      const observe = Effect.fnUntraced(function* (seen: Observation) {
        yield* set(ready, seen.isReady ? 1 : 0)
        yield* set(healthy, seen.isHealthy ? 1 : 0)
        yield* set(failingAgents, seen.failingAgents)
        yield* set(pushConnected, seen.isPushConnected ? 1 : 0)
        yield* set(oldestWaiting, seen.oldestWaitingSeconds)
        yield* set(heartbeatOverdue, seen.heartbeatOverdueSeconds)
        yield* set(gatewayUp, seen.isGatewayUp ? 1 : 0)
        for (const [state, label] of Object.entries(breakerStates)) {
          yield* set(breakerState, state === seen.breaker ? 1 : 0, { state: label })
        }
        yield* set(gatewayRestarts, Math.max(0, seen.gatewayRestarts - read(gatewayRestarts).count))
        const build = {
          version: seen.runtimeVersion,
          node: process.versions.node,
          gateway: seen.gatewayVersion ?? "unknown"
        }
        // The gateway's version becomes known later, and changes with an upgrade: the earlier series is gone then.
        if (lastBuild !== null) Metric.removeUnsafe(Metric.withAttributes(buildInfo, lastBuild), context)
        lastBuild = build
        yield* set(buildInfo, 1, build)
        yield* observeProcess
      })

      /** Sums of a counter's series over one snapshot, which costs a look at every metric there is. */
      const sums = () => {
        const snapshot = Metric.snapshotUnsafe(context)
        return (id: string, isCounted: (labels: Readonly<Record<string, string>>) => boolean = () => true) => {
          let sum = 0
          for (const series of snapshot) {
            if (series.id === id && series.type === "Counter" && isCounted(series.attributes ?? {})) {
              sum += Number(series.state.count)
            }
          }
          return sum
        }
      }
      const meanOf = (metric: Metric.Histogram<number>): number | null => {
        const { count, sum } = read(metric)
        return count === 0 ? null : sum / count
      }

      return Metrics.of({
        runStarted: Effect.fnUntraced(function* ({ kind, lateMillis, ...work }) {
          const startedAt = yield* Clock.currentTimeMillis
          yield* note((before) => Activity.started(before, { ...work, startedAt, tool: null }))
          yield* kind === "heartbeat" ? set(heartbeatLateness, lateMillis / 1_000) : changeInFlight(1)
        }),
        runEnded: Effect.fnUntraced(function* (end) {
          const at = yield* Clock.currentTimeMillis
          const isFailure = failures.has(end.outcome)
          if (end.kind === "heartbeat") yield* set(heartbeats, 1, { outcome: end.outcome })
          else yield* deliveryEnded(end, isFailure, at)
          // Last, because whoever follows the activity then reads the counts.
          yield* note((before) => Activity.ended(before, { ...end, isFailure, at }))
        }),
        claimFailed,
        claimAnswered,
        posted: (sinceReadyMillis) => set(createdToPost, sinceReadyMillis / 1_000),
        turnEnded: (durationMillis) => set(turnDuration, durationMillis / 1_000),
        toolStarted: (tool, run) => note((before) => Activity.toolChanged(before, run, tool)),
        toolCalled: (tool, success, run) =>
          Effect.andThen(
            set(toolCalls, 1, { tool, success: String(success) }),
            run === undefined ? Effect.void : note((before) => Activity.toolChanged(before, run, null))
          ),
        toolsKnown: (tools) =>
          Effect.forEach(
            tools.flatMap((tool) => ["true", "false"].map((success) => ({ tool, success }))),
            (labels) => set(toolCalls, 0, labels),
            { discard: true }
          ),
        tokensUsed: (agent, usage) =>
          Effect.suspend(() => {
            const label = agentLabel(agent)
            return Effect.forEach(
              tokenDirections,
              (direction) => set(tokens, tokensOf(usage, direction), { agent: label, direction }),
              { discard: true }
            )
          }),
        heldBack: (count) => set(runsHeld, count),
        attemptSpent: (agent, usage) =>
          Effect.suspend(() => {
            const label = { agent: agentLabel(agent) }
            return Effect.all(
              [
                set(weightedTokens, weightedTokensOf(usage), label),
                set(cost, usage.price === null ? 0 : costOf(usage, usage.price), label),
                set(unansweredRequests, usage.unanswered)
              ],
              { discard: true }
            )
          }),
        controlPlaneCalled: (name, outcome, durationMillis) =>
          Effect.andThen(
            set(controlPlaneCalls, 1, { function: name, outcome }),
            set(controlPlaneSeconds, durationMillis / 1_000, { function: name })
          ),
        heartbeatDue: (agent, at) => note((before) => Activity.heartbeatDue(before, agent, at)),
        rosterKnown: Effect.fnUntraced(function* (agents) {
          for (const { slug } of agents) {
            const agent = agentLabel(slug)
            for (const direction of tokenDirections) yield* set(tokens, 0, { agent, direction })
            for (const metric of [weightedTokens, cost]) yield* set(metric, 0, { agent })
          }
          yield* note((before) => Activity.rosterKnown(before, agents))
        }),
        synced: (kind, success) => set(syncs, 1, { kind, outcome: success ? "success" : "failure" }),
        deliverySummary: Ref.get(summary),
        summary: Effect.sync(() => {
          const sumOf = sums()
          const byOutcome = (wanted: string) => sumOf(deliveries.id, ({ outcome }) => outcome === wanted)
          return {
            deliveries: Object.fromEntries(
              deliveryOutcomes.map((outcome) => [outcome, byOutcome(outcome)])
            ) as MetricsSummary["deliveries"],
            turns: read(turnDuration).count,
            meanTurnSeconds: meanOf(turnDuration),
            meanCreatedToPostSeconds: meanOf(createdToPost),
            toolCalls: sumOf(toolCalls.id),
            toolFailures: sumOf(toolCalls.id, ({ success }) => success === "false"),
            inputTokens: sumOf(tokens.id, ({ direction }) => direction === "input"),
            outputTokens: sumOf(tokens.id, ({ direction }) => direction === "output"),
            controlPlaneCalls: sumOf(controlPlaneCalls.id),
            controlPlaneFailures: sumOf(controlPlaneCalls.id, ({ outcome }) => outcome === "failure"),
            heartbeats: sumOf(heartbeats.id),
            residentMemoryBytes: process.memoryUsage.rss(),
            cpuSeconds: processorSeconds()
          }
        }),
        activity: SubscriptionRef.get(activity),
        activityChanges: SubscriptionRef.changes(activity),
        observe,
        prometheus: Effect.sync(() => PrometheusMetrics.formatUnsafe(context))
      })
    })
  )
}
