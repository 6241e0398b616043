/** Distinguishes a stuck turn from a quiet one: the gateway is asked whether it still works on it. */
import { Clock, Duration, Effect } from "effect"
import { lastActivityOf } from "../domain/observability/Activity.ts"
import type { offEvents } from "../layers/gateway/GatewayEvents.ts"
import type { Metrics } from "../layers/Metrics.ts"

/** A model may think for minutes without an event, so only a longer silence is a reason to ask. */
const QUIET_LIMIT = Duration.minutes(3)
/** How soon a stuck turn that continues is no longer shown as stuck, if an event is all that happened. */
const CONTINUED_CHECK = Duration.seconds(10)

interface Watched {
  /** The run's id in the metrics. */
  readonly run: string
  readonly sessionKey: string
}

/**
 * Watches a running turn, for ever. Asks the gateway only while the turn has been quiet for three minutes, at most
 * every three minutes. The turn seems stuck if the gateway has neither a running nor a queued turn in its session. That
 * is shown and logged once; the deadline of the turn ends it. Without the gateway's events no turn is called stuck.
 */
export const watchStuckTurn = Effect.fnUntraced(function* (
  { events, metrics }: { readonly events: typeof offEvents; readonly metrics: Metrics["Service"] },
  { run, sessionKey }: Watched
): Effect.fn.Return<never> {
  const state = Effect.gen(function* () {
    const work = (yield* metrics.activity).running.find((each) => each.run === run)
    const live = (yield* events.current).get(sessionKey)
    return {
      // While this process executes a tool, the gateway has nothing to do.
      isWaiting: work !== undefined && !work.isOwnTool,
      activeAt: work === undefined ? 0 : lastActivityOf(work, live)
    }
  })
  const limit = Duration.toMillis(QUIET_LIMIT)
  let isLogged = false
  const untilActive = (since: number): Effect.Effect<void> =>
    Effect.flatMap(Effect.delay(state, CONTINUED_CHECK), ({ activeAt }) =>
      activeAt === since ? untilActive(since) : metrics.turnStuck(run, false)
    )
  const check = Effect.gen(function* () {
    const { activeAt, isWaiting } = yield* state
    const quiet = (yield* Clock.currentTimeMillis) - activeAt
    if (!isWaiting || quiet < limit) return yield* Effect.sleep(isWaiting ? limit - quiet : QUIET_LIMIT)
    const isIdle = yield* events.isIdle(sessionKey)
    const after = yield* state
    const isStuck = isIdle === true && after.isWaiting && after.activeAt === activeAt
    if (!isStuck) return yield* Effect.sleep(QUIET_LIMIT)
    yield* metrics.turnStuck(run, true)
    if (!isLogged) {
      yield* Effect.logWarning(
        `the turn seems stuck: no event for ${Duration.format(QUIET_LIMIT)}, and the gateway does nothing in its session. Its deadline ends it`
      )
    }
    isLogged = true
    yield* untilActive(activeAt)
  })
  return yield* Effect.forever(check)
})
