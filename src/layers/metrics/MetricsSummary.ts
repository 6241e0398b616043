import type { Metric } from "effect"
import { deliveryOutcomes } from "../../domain/delivery/RunEnd.ts"
import type { DeliveryOutcome } from "../../domain/delivery/RunEnd.ts"
import * as family from "./Families.ts"
import type { MetricRegistry } from "./MetricRegistry.ts"
import { processorSeconds } from "./ProcessMetrics.ts"

/** The metrics in a few numbers for /health: counts since the start, means in seconds, null without a value. */
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

/** Summarizes the registry. */
export const summarize = ({ read, sums }: MetricRegistry): MetricsSummary => {
  const sumOf = sums()
  const meanOf = (metric: Metric.Histogram<number>): number | null => {
    const { count, sum } = read(metric)
    return count === 0 ? null : sum / count
  }
  return {
    deliveries: Object.fromEntries(
      deliveryOutcomes.map((wanted) => [wanted, sumOf(family.deliveries, ({ outcome }) => outcome === wanted)])
    ) as MetricsSummary["deliveries"],
    turns: read(family.turnDuration).count,
    meanTurnSeconds: meanOf(family.turnDuration),
    meanCreatedToPostSeconds: meanOf(family.createdToPost),
    toolCalls: sumOf(family.toolCalls),
    toolFailures: sumOf(family.toolCalls, ({ success }) => success === "false"),
    inputTokens: sumOf(family.tokens, ({ direction }) => direction === "input"),
    outputTokens: sumOf(family.tokens, ({ direction }) => direction === "output"),
    controlPlaneCalls: sumOf(family.controlPlaneCalls),
    controlPlaneFailures: sumOf(family.controlPlaneCalls, ({ outcome }) => outcome === "failure"),
    heartbeats: sumOf(family.heartbeats),
    residentMemoryBytes: process.memoryUsage.rss(),
    cpuSeconds: processorSeconds()
  }
}
