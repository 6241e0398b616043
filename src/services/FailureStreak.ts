import { Effect } from "effect"

/**
 * Consecutive failures of one kind of work. The first failure of each class and the recovery are logged, the others only
 * at `debug`, so that a gateway that is down causes one line and not one for each waiting notification.
 */
export interface FailureStreak {
  /** Whether the error, `class: detail` or another text, is the first of its class since the last success. */
  isFirst(error: string): boolean
  /** Notes a success. After failures it logs the line with the number of failures of each class. */
  recovered(line: string): Effect.Effect<void>
}

/** The class of an error of the form `class: detail`; undefined for another text. */
export const classOf = (error: string): string | undefined => /^\w+(?=: )/.exec(error)?.[0]

/** Streaks by key; each exists from its first failure to its recovery. */
export const makeFailureStreaks = (): ((key: string) => FailureStreak) => {
  const streaks = new Map<string, FailureStreak>()
  return (key) => ({
    isFirst: (error) => {
      const streak = streaks.get(key) ?? makeFailureStreak()
      streaks.set(key, streak)
      return streak.isFirst(error)
    },
    recovered: (line) =>
      Effect.suspend(() => {
        const streak = streaks.get(key)
        streaks.delete(key)
        return streak?.recovered(line) ?? Effect.void
      })
  })
}

/** A streak without failures. */
export const makeFailureStreak = (): FailureStreak => {
  const counts = new Map<string, number>()
  return {
    isFirst: (error) => {
      const kind = classOf(error) ?? error
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      return counts.get(kind) === 1
    },
    recovered: (line) =>
      Effect.suspend(() => {
        if (counts.size === 0) return Effect.void
        const kinds = [...counts].map(([kind, count]) => `${kind} ${count}`).join(", ")
        counts.clear()
        return Effect.logInfo(`${line}, after ${kinds}`)
      })
  }
}
