import { Cron, Duration, Result } from "effect"

/** What determines the calls of an idle runtime, without deliveries. */
export interface CallRates {
  readonly pulseInterval: Duration.Duration
  /** Each agent's minutes between heartbeats, or its cron expression. */
  readonly heartbeats: ReadonlyArray<number | string>
}

const MONTH_MINUTES = 30 * 24 * 60
const WEEK_MILLIS = 7 * 24 * 60 * 60 * 1_000
/** Claim and completion. */
const CALLS_PER_HEARTBEAT = 2

/** Heartbeats a month of a cron expression, estimated from its next week; 0 if it cannot be read. */
const countOfCron = (expression: string): number => {
  const cron = Cron.parse(expression, "UTC")
  if (Result.isFailure(cron)) return 0
  let count = 0
  for (const moment of Cron.sequence(cron.success, 0)) {
    if (moment.getTime() > WEEK_MILLIS) break
    count += 1
  }
  return Math.round((count * 30) / 7)
}

/** Calls in 30 days without any delivery; a lone delivery adds three, and one per effect. */
export const callsPerMonth = ({ heartbeats, pulseInterval }: CallRates): number => {
  const pulses = MONTH_MINUTES / Duration.toMinutes(pulseInterval)
  const count = heartbeats.reduce<number>(
    (sum, every) => sum + (typeof every === "number" ? MONTH_MINUTES / Math.max(1, every) : countOfCron(every)),
    0
  )
  return Math.round(pulses + count * CALLS_PER_HEARTBEAT)
}
