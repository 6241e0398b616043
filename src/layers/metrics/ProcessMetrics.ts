/** Processor time, memory, event loop delay and file descriptors of this process. */
import { readdirSync, readFileSync } from "node:fs"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { Effect } from "effect"
import * as family from "./Families.ts"
import type { MetricRegistry } from "./MetricRegistry.ts"

/** Interval at which the event loop delay is sampled; recorded delays include it. Each sample wakes an idle process. */
const SAMPLE_MILLIS = 1_000

/** File descriptors according to Linux's /proc; null on other systems. */
const descriptors = (): { readonly open: number; readonly limit: number } | null => {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]
    return { open: readdirSync("/proc/self/fd").length, limit: Number(limit ?? Number.POSITIVE_INFINITY) }
  } catch {
    return null
  }
}

/** User and system time of the process, in seconds. */
export const processorSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1_000_000
}

/** Samples the event loop until the scope closes; `observe` records all process metrics. */
export const makeProcessMetrics = Effect.fnUntraced(function* ({ read, set }: MetricRegistry) {
  const delays = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const histogram = monitorEventLoopDelay({ resolution: SAMPLE_MILLIS })
      histogram.enable()
      return histogram
    }),
    (histogram) => Effect.sync(() => histogram.disable())
  )
  const delayOf = (nanoseconds: number): number =>
    Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e9 - SAMPLE_MILLIS / 1_000) : 0

  const observe = Effect.sync(() => {
    set(family.eventLoopDelay, delayOf(delays.mean), { statistic: "mean" })
    set(family.eventLoopDelay, delayOf(delays.percentile(50)), { statistic: "p50" })
    set(family.eventLoopDelay, delayOf(delays.percentile(99)), { statistic: "p99" })
    set(family.eventLoopDelay, delayOf(delays.count === 0 ? 0 : delays.max), { statistic: "max" })
    delays.reset()
    const { heapUsed, rss } = process.memoryUsage()
    set(family.cpuSeconds, processorSeconds() - read(family.cpuSeconds).count)
    set(family.residentMemory, rss)
    set(family.heapUsed, heapUsed)
    set(family.startTime, performance.timeOrigin / 1_000)
    const files = descriptors()
    if (files === null) return
    set(family.openFiles, files.open)
    set(family.maxFiles, files.limit)
  })
  return { observe }
})
