/** When a supervised gateway that has ended is started again. */
import { dirname } from "node:path"
import { Clock, Duration, Effect, FileSystem, Option, Ref, Schedule } from "effect"
import { RuntimeConfig } from "../Config.ts"
import type { GatewayHealthRef } from "./GatewayHealth.ts"

/** After more ends than this within the window the gateway is not started again. */
const RESTARTS = 10
const RESTART_WINDOW_MILLIS = Duration.toMillis("10 minutes")
const FIRST_WAIT_MILLIS = 1_000
const LONGEST_WAIT_MILLIS = 60_000

/** One second, doubled with each further time, at most a minute. */
const growingWait = (times: number): Duration.Duration =>
  Duration.millis(Math.min(LONGEST_WAIT_MILLIS, FIRST_WAIT_MILLIS * 2 ** (times - 1)))

/** The policy of one gateway; each of its waits publishes the reason as the gateway's health. */
export const makeRestartPolicy = Effect.fnUntraced(function* (health: GatewayHealthRef) {
  const { gatewayConfigPath } = yield* RuntimeConfig
  const fileSystem = yield* FileSystem.FileSystem
  const restarts = yield* Ref.make(0)

  /** Changes with every edit of the gateway's configuration. */
  const configStamp = Effect.map(
    Effect.option(fileSystem.stat(gatewayConfigPath)),
    Option.match({
      onNone: () => "absent",
      onSome: ({ ino, mtime, size }) =>
        `${Option.getOrElse(ino, () => 0)} ${Option.match(mtime, { onNone: () => 0, onSome: (time) => time.getTime() })} ${size}`
    })
  )

  /** The stamp before the gateway could read its configuration. */
  let startedWith = yield* configStamp
  /** Consecutive runs during which the configuration changed, perhaps by the gateway itself. */
  let changedRuns = 0
  let endedAt: ReadonlyArray<number> = []

  return {
    restarts: Ref.get(restarts),

    /** Call it before each start. */
    noteStart: Effect.map(configStamp, (stamp) => void (startedWith = stamp)),

    /**
     * Waits until a person fixes the problem, instead of restarting in a loop: until the configuration changes, or with
     * `retries` for at most a minute.
     */
    waitForRepair: Effect.fnUntraced(function* (detail: string, retries: boolean) {
      yield* health.publishFault(detail, `the gateway cannot run: ${detail}`)
      // An edit after the gateway read its configuration and before it ended counts too.
      const before = startedWith
      const isChangedAlready = (yield* configStamp) !== before
      changedRuns = isChangedAlready ? changedRuns + 1 : 0
      if (isChangedAlready) yield* Effect.sleep(growingWait(changedRuns))
      const isChanged = configStamp.pipe(
        Effect.repeat({ schedule: Schedule.spaced("1 second"), until: (now) => now !== before }),
        Effect.andThen(
          Effect.logInfo(`the configuration in ${dirname(gatewayConfigPath)} changed, starting the gateway`)
        )
      )
      yield* retries ? Effect.timeoutOption(isChanged, "1 minute") : isChanged
    }),

    /** Waits before the next start, longer with each end within ten minutes; after the tenth restart for ever. */
    startAgain: Effect.fnUntraced(function* (reason: string) {
      const now = yield* Clock.currentTimeMillis
      endedAt = [...endedAt.filter((at) => now - at < RESTART_WINDOW_MILLIS), now]
      if (endedAt.length > RESTARTS) {
        yield* health.publish("spent", `the gateway ended ${endedAt.length} times within ten minutes, last: ${reason}`)
        return yield* Effect.never
      }
      const wait = growingWait(endedAt.length)
      yield* Effect.logWarning(`the gateway ended (${reason}), restarting it in ${Duration.toSeconds(wait)} s`)
      yield* health.publish("starting", `the gateway ended (${reason}) and is being restarted`)
      yield* Effect.sleep(wait)
      yield* Ref.update(restarts, (count) => count + 1)
    })
  }
})
