import { Effect } from "effect"

/**
 * The failures in a row of one kind of work, for its log lines: the first of each class and the recovery are told, the
 * others in between are `debug`. A gateway that is away makes one line, not one for each notification that waits for it.
 */
export interface FailureStreak {
  /** Whether the failure, `class: detail` or a text of its own, is the first of its kind since the work last went well. */
  isFirst(error: string): boolean
  /** The work went well; if it had failed before, says so with how often each class came. */
  recovered(line: string): Effect.Effect<void>
}

/** The class of an error written as `class: detail`; undefined for a text of another form. */
export const classOf = (error: string): string | undefined => /^\w+(?=: )/.exec(error)?.[0]

/** The streaks of many, each made at its first failure and forgotten when it has recovered. */
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

/** A streak that begins with the next failure. */
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
