import { Clock, Duration, Effect, FileSystem, Schedule } from "effect"

const POLL = Duration.millis(50)

const errnoOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

/** Sends the signal to every process of the group; true when there was one, also when it may not be signalled. */
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
 * What tells this process from a later one with the same id: the moment of its start in the kernel's ticks. Null when it
 * has ended, and where the kernel does not tell (there is no /proc).
 */
export const processIdentity = Effect.fnUntraced(function* (pid: number) {
  const fileSystem = yield* FileSystem.FileSystem
  const stat = yield* Effect.option(fileSystem.readFileString(`/proc/${pid}/stat`))
  if (stat._tag === "None") return null
  // The name in parentheses may hold anything; what follows its end is separated by spaces, the state first.
  const fields = stat.value.slice(stat.value.lastIndexOf(")") + 2).split(" ")
  return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null)
})

/** Ends a process group that is not our child: SIGTERM, and SIGKILL for what is left after the grace. */
export const stopProcessGroup = Effect.fnUntraced(function* (leader: number, grace: Duration.Duration) {
  if (!(yield* signalGroup(leader, "SIGTERM"))) return
  const startedAt = yield* Clock.currentTimeMillis
  const isOver = Effect.gen(function* () {
    const isGone = !(yield* signalGroup(leader, 0)) || (yield* processIdentity(leader)) === null
    return isGone || (yield* Clock.currentTimeMillis) - startedAt >= Duration.toMillis(grace)
  })
  yield* isOver.pipe(Effect.repeat({ schedule: Schedule.spaced(POLL), until: (isOver) => isOver }))
  // Also when its leader has gone: its helpers may not.
  yield* signalGroup(leader, "SIGKILL")
})
