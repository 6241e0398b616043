import { Duration, Effect, Stream } from "effect"
import { GatewayEvents } from "../../../layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../../layers/Metrics.ts"

/** Changes within this time are one event. */
const GATHER = Duration.millis(100)

/**
 * What the gateway's events report of the running turns, now and at each change: model calls, tokens and the length of
 * the text so far. With `hasTexts` also the last line of that text.
 */
export const liveTurns = Effect.fnUntraced(function* (hasTexts: boolean) {
  const events = yield* GatewayEvents
  const metrics = yield* Metrics

  const read = Effect.gen(function* () {
    const state = yield* events.state
    const turns = yield* events.current
    const { running } = yield* metrics.activity
    const shown = running.flatMap(({ run, sessionKey }) => {
      const turn = sessionKey === null ? undefined : turns.get(sessionKey)
      return turn === undefined ? [] : [{ run, turn }]
    })
    return {
      off: state._tag === "Off" ? state.reason : null,
      turns: yield* Effect.forEach(shown, ({ run, turn: { modelCalls, sessionKey, textLength, usage } }) =>
        Effect.map(hasTexts ? events.lastLine(sessionKey) : Effect.succeed(null), (lastLine) => ({
          run,
          modelCalls,
          inputTokens: usage.inputTokens,
          outputTokens: usage.outputTokens,
          textLength,
          lastLine
        }))
      )
    }
  })

  return Stream.merge(Stream.succeed(undefined), events.changes).pipe(
    Stream.mapEffect(() => Effect.andThen(Effect.sleep(GATHER), read))
  )
})
