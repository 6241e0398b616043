/** The runtime's metric families, one constant each: `mission_control_<noun>_<unit|total>`, durations in seconds. */
import { Metric } from "effect"
import { functions } from "../../domain/controlPlane/ControlPlaneFunctions.ts"
import { NotificationType } from "../../domain/delivery/DeliveryContext.ts"
import { deliveryOutcomes, heartbeatOutcomes } from "../../domain/delivery/RunEnd.ts"
import { durationBounds } from "../../domain/observability/Quantiles.ts"
import type { MetricRegistry } from "./MetricRegistry.ts"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })
const histogram = (name: string, description: string) =>
  Metric.histogram(name, { description, boundaries: durationBounds })

export const deliveries = counter(
  "mission_control_deliveries_total",
  `Ended deliveries, by outcome (${deliveryOutcomes.join(", ")}) and notification type.`
)
export const deliverySuccesses = counter(
  "mission_control_delivery_successes_total",
  "Deliveries that succeeded: replied, acted, skipped or fallback."
)
export const deliveryFailures = counter(
  "mission_control_delivery_failures_total",
  "Deliveries that failed: they will be retried, are dead or were abandoned."
)
export const consecutiveFailures = gauge(
  "mission_control_delivery_consecutive_failures",
  "Failed deliveries since the last one that succeeded, plus failed claims since the last one that was answered."
)
export const retries = counter("mission_control_delivery_retries_total", "Deliveries that failed and will be retried.")
export const silences = counter("mission_control_silences_total", "Turns that ended without the answer they owed.")
export const deadLetters = counter("mission_control_dead_letters_total", "Notifications that became dead letters.")
export const leasesLost = counter(
  "mission_control_leases_lost_total",
  "Deliveries that ended because another runtime took their session."
)
export const deliveryDuration = histogram(
  "mission_control_delivery_duration_seconds",
  "Duration of deliveries from claim to outcome, for every outcome."
)
export const createdToPost = histogram(
  "mission_control_created_to_post_seconds",
  "Time from when a notification becomes ready to the first request of its turn."
)
export const turnDuration = histogram(
  "mission_control_turn_duration_seconds",
  "Duration of turns, including all rounds and tools."
)
export const toolCalls = counter(
  "mission_control_tool_calls_total",
  "Tool calls of agents, by tool and whether they succeeded."
)
export const inFlight = gauge("mission_control_deliveries_in_flight", "Deliveries that are running now.")
export const controlPlaneCalls = counter(
  "mission_control_control_plane_calls_total",
  "Calls of control-plane functions, by function and outcome."
)
export const controlPlaneSeconds = histogram(
  "mission_control_control_plane_call_seconds",
  "Duration of control-plane calls."
)
export const tokenDirections = ["input", "output", "cache_read", "cache_write"] as const
export const tokens = counter(
  "mission_control_tokens_total",
  "Tokens of turns as reported by the gateway, by agent and direction (input, output; cache_read and cache_write are part of input)."
)
export const weightedTokens = counter(
  "mission_control_weighted_tokens_total",
  "Price-weighted tokens of answered requests (input 1, cache read 0.1, cache write 1.25, output 5), by agent."
)
export const cost = counter(
  "mission_control_cost_dollars_total",
  "Cost of answered requests in US dollars, by agent, where the price is known."
)
export const unansweredRequests = counter(
  "mission_control_unanswered_requests_total",
  "Requests without an answer that may have cost something; the control plane estimates their cost."
)
export const runsHeld = counter("mission_control_runs_held_total", "Notifications and heartbeats held by a budget.")
export const heartbeats = counter(
  "mission_control_heartbeats_total",
  `Ended heartbeats, by outcome (${heartbeatOutcomes.join(", ")}).`
)
export const heartbeatLateness = histogram(
  "mission_control_heartbeat_lateness_seconds",
  "Time from when a heartbeat was due to its start."
)
export const heartbeatOverdue = gauge(
  "mission_control_heartbeat_overdue_seconds",
  "How long due heartbeats have been waiting for a permit of this runtime; 0 if none is waiting."
)
export const syncs = counter("mission_control_syncs_total", "Refreshes of roster and profiles, by kind and outcome.")
export const healthy = gauge("mission_control_healthy", "Whether /health reports healthy: 1 or 0.")
export const failingAgents = gauge(
  "mission_control_failing_agents",
  "Agents whose last deliveries or heartbeats failed; an agent with both counts twice."
)
export const stuckTurns = gauge(
  "mission_control_stuck_turns",
  "Running turns that have been quiet for minutes while the gateway does nothing in their session."
)
export const ready = gauge("mission_control_ready", "Whether /readyz reports that the process is ready: 1 or 0.")
export const oldestWaiting = gauge(
  "mission_control_oldest_waiting_seconds",
  "How long the oldest ready notification has been waiting; 0 if none is waiting."
)
export const breakerState = gauge("mission_control_breaker_state", "The gateway's breaker: 1 for its current state.")
export const gatewayUp = gauge(
  "mission_control_gateway_up",
  "Whether the gateway accepted turns at its last probe: 1 or 0."
)
export const pushConnected = gauge(
  "mission_control_push_connected",
  "Whether pushes of the control plane arrive: 1, or 0 while the runtime polls."
)
export const gatewayRestarts = counter("mission_control_gateway_restarts_total", "Restarts of the supervised gateway.")
export const status = gauge("mission_control_status", "The status of the runtime: 1 for its current status.")
export const buildInfo = gauge(
  "mission_control_build_info",
  "Account, RUNTIME_ID, and versions of runtime, Node.js and gateway; always 1."
)
export const eventLoopDelay = gauge(
  "mission_control_event_loop_delay_seconds",
  "Delay of the event loop since the last scrape: mean, p50, p99 and max."
)
export const cpuSeconds = counter("process_cpu_seconds_total", "Processor time of the process, user and system.")
export const residentMemory = gauge("process_resident_memory_bytes", "Resident memory of the process.")
export const startTime = gauge("process_start_time_seconds", "Start of the process, in seconds since the Unix epoch.")
export const openFiles = gauge("process_open_fds", "Open file descriptors.")
export const maxFiles = gauge("process_max_fds", "Maximum number of open file descriptors.")
export const heapUsed = gauge("nodejs_heap_size_used_bytes", "Memory used by JavaScript objects.")

/** The label of agents beyond the limit of series. */
export const OTHER_AGENT = "other"

/** A delivery with a broken context has an unknown type. */
const types: ReadonlyArray<string> = [...NotificationType.literals, "unknown"]

/** Creates every series whose labels are known, because Prometheus cannot alert on a series that it has never seen. */
export const createSeries = ({ read, set }: MetricRegistry): void => {
  for (const outcome of deliveryOutcomes) for (const type of types) set(deliveries, 0, { outcome, type })
  for (const metric of [
    deliverySuccesses,
    deliveryFailures,
    retries,
    silences,
    deadLetters,
    leasesLost,
    gatewayRestarts,
    runsHeld,
    unansweredRequests
  ]) {
    set(metric, 0)
  }
  for (const name of Object.values(functions)) {
    for (const outcome of ["success", "failure"]) set(controlPlaneCalls, 0, { function: name, outcome })
  }
  for (const outcome of heartbeatOutcomes) set(heartbeats, 0, { outcome })
  for (const kind of ["roster", "profiles"]) {
    for (const outcome of ["success", "failure"]) set(syncs, 0, { kind, outcome })
  }
  createAgentSeries({ set }, OTHER_AGENT)
  createToolSeries({ set }, "unknown")
  set(inFlight, 0)
  set(consecutiveFailures, 0)
  for (const metric of [deliveryDuration, createdToPost, turnDuration, heartbeatLateness]) read(metric)
}

/** Creates the series of an agent. */
export const createAgentSeries = ({ set }: Pick<MetricRegistry, "set">, agent: string): void => {
  for (const direction of tokenDirections) set(tokens, 0, { agent, direction })
  for (const metric of [weightedTokens, cost]) set(metric, 0, { agent })
}

/** Creates the series of a tool. */
export const createToolSeries = ({ set }: Pick<MetricRegistry, "set">, tool: string): void => {
  for (const success of ["true", "false"]) set(toolCalls, 0, { tool, success })
}
