import { Context, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"

type Labels = Readonly<Record<string, string>>

/** The process's metric series and their values. */
export interface MetricRegistry {
  /** Sets a gauge, adds to a counter or records a value of a histogram. */
  set<Input, State>(metric: Metric.Metric<Input, State>, value: Input, labels?: Labels): void
  read<State>(metric: Metric.Metric<never, State>): State
  remove(metric: Metric.Metric<never, unknown>, labels: Labels): void
  /** A function that adds up series of a counter, from one snapshot of all metrics. */
  sums(): (metric: Metric.Counter<number>, isCounted?: (labels: Labels) => boolean) => number
  /** All series in the Prometheus text format. */
  text(): string
}

/** A separate registry, so that it does not contain metrics of other libraries. */
export const makeMetricRegistry = (): MetricRegistry => {
  const context = Context.make(Metric.MetricRegistry, new Map())
  return {
    set: (metric, value, labels) =>
      (labels === undefined ? metric : Metric.withAttributes(metric, labels)).updateUnsafe(value, context),
    read: (metric) => metric.valueUnsafe(context),
    remove: (metric, labels) => Metric.removeUnsafe(Metric.withAttributes(metric, labels), context),
    sums: () => {
      const snapshot = Metric.snapshotUnsafe(context)
      return ({ id }, isCounted = () => true) => {
        let sum = 0
        for (const series of snapshot) {
          if (series.id === id && series.type === "Counter" && isCounted(series.attributes ?? {})) {
            sum += Number(series.state.count)
          }
        }
        return sum
      }
    },
    text: () => PrometheusMetrics.formatUnsafe(context)
  }
}
