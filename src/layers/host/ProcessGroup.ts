import { Clock, Duration, Effect, FileSystem, Schedule } from "effect"

const POLL = Duration.millis(50)

const errnoOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

/** Sends the signal to every process of the group. True if the group exists, even if this user may not signal it. */
const signalGroup = (leader: number, signal: NodeJS.Signals | 0): Effect.Effect<boolean> =>
  Effect.sync(() => {
    try {
      process.kill(-leader, signal)
      return true
    } catch (error) {
      return errnoOf(error) === "EPERM"
    }
  })

/**
 * Distinguishes this process from a later one with the same pid: the time of its start in the kernel's ticks. Null if it
 * has ended, or if the system has no /proc.
 */
export const processIdentity = Effect.fnUntraced(function* (pid: number) {
  const fileSystem = yield* FileSystem.FileSystem
  const stat = yield* Effect.option(fileSystem.readFileString(`/proc/${pid}/stat`))
  if (stat._tag === "None") return null
  // The name in parentheses may have any character. Fields separated by spaces follow it; the state is the first.
  const fields = stat.value.slice(stat.value.lastIndexOf(")") + 2).split(" ")
  return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null)
})

/** Stops a process group that is not our child: SIGTERM, then SIGKILL after the grace period. */
export const stopProcessGroup = Effect.fnUntraced(function* (leader: number, grace: Duration.Duration) {
  if (!(yield* signalGroup(leader, "SIGTERM"))) return
  const startedAt = yield* Clock.currentTimeMillis
  const isOver = Effect.gen(function* () {
    const isGone = !(yield* signalGroup(leader, 0)) || (yield* processIdentity(leader)) === null
    return isGone || (yield* Clock.currentTimeMillis) - startedAt >= Duration.toMillis(grace)
  })
  yield* isOver.pipe(Effect.repeat({ schedule: Schedule.spaced(POLL), until: (isOver) => isOver }))
  // Other processes of the group may outlive its leader.
  yield* signalGroup(leader, "SIGKILL")
})
