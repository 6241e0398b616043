const second = 1_000
const minute = 60 * second
const hour = 60 * minute

/** After these delays a failed delivery is retried: the schedule of Standard Webhooks, shortened to a day. */
const delays = [5 * second, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 8 * hour, 9 * hour]

/** A webhook without a successful attempt for this long is disabled. */
export const disabledAfterMs = 24 * hour

/** Spreads the retries of deliveries that failed at the same time. */
const jitter = 0.1

/** The wait before the next attempt after this many, in milliseconds; null after the last one. `random` is from 0 to 1. */
export const retryDelay = (attempts: number, random: number): number | null => {
  const delay = delays[attempts - 1]
  return delay === undefined ? null : Math.round(delay * (1 + jitter * random))
}
