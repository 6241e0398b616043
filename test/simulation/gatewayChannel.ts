/** The events of the gateway in memory: the model calls within a request, which only some processes see. */
import { Effect, Layer } from "effect"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import type { ModelCall } from "../../src/domain/gateway/GatewayEvent.ts"
import { weightedTokensOf } from "../../src/domain/shared/TokenPrice.ts"
import { GatewayEvents, offEvents } from "../../src/layers/gateway/GatewayEvents.ts"
import type { Listener } from "../../src/layers/gateway/GatewayEvents.ts"
import type { Dice } from "./dice.ts"
import type { RuntimeProcess, Turn, World } from "./world.ts"

const changedBy =
  (onModelCall: NonNullable<Listener["onModelCall"]>, change: (call: ModelCall) => ModelCall): typeof onModelCall =>
  (runId, call) =>
    onModelCall(runId, change(call))

/** A request on which the gateway works. */
export interface OpenRequest {
  readonly runId: string
  readonly turn: Turn
  /** That of its process for its turn; a later turn of the session does not learn of it. */
  readonly listener: Listener | undefined
  /** Output tokens of its model calls before the last one. */
  outputTokens: number
  /** The price-weighted tokens of the most expensive of these calls. */
  largest: number
  /** The process saw all of these calls in time. */
  isSeen: boolean
  /** The process knows its end. */
  isOver: boolean
}

/** The connections of all processes of a world. */
export class GatewayChannel {
  private readonly world: World
  private readonly dice: Dice
  private readonly listeners = new Map<RuntimeProcess, Map<string, Listener>>()
  private runs = 0

  constructor(world: World, dice: Dice) {
    this.world = world
    this.dice = dice
  }

  open(turn: Turn, sessionKey: string): OpenRequest {
    turn.shown = 0
    const runId = `resp_${(this.runs += 1)}`
    const listener = this.listeners.get(turn.process)?.get(sessionKey)
    return { runId, turn, listener, outputTokens: 0, largest: 0, isSeen: true, isOver: false }
  }

  /** An event of a model call. It is late, or lost with the connection, or its process has died. */
  private show(request: OpenRequest, outputTokens: number, hasTools: boolean): Effect.Effect<void> {
    const { listener, runId, turn } = request
    const usage = { ...noUsage, outputTokens }
    const arrives = Effect.suspend(() => {
      if (turn.process.isDead || listener?.onModelCall === undefined) {
        request.isSeen = false
        return Effect.void
      }
      if (!request.isOver) turn.shown += weightedTokensOf(usage)
      turn.hasSeenCalls = true
      this.world.cover(request.isOver ? "model call shown late" : "model call shown", "turn")
      return listener.onModelCall(runId, { _tag: "ModelCalled", usage, model: null, hasTools })
    })
    // A frozen process reads it later.
    return Effect.asVoid(this.world.fork(Effect.andThen(turn.process.awake.await, arrives)))
  }

  private lose(request: OpenRequest): Effect.Effect<void> {
    return Effect.sync(() => void (request.isSeen = false))
  }

  /** The gateway's built-in tools, with a model call before each. */
  builtInTools(request: OpenRequest): Effect.Effect<void> {
    const { dice, world } = this
    const count = world.isCalm || !dice.chance(0.3) ? 0 : dice.between(1, 4)
    const call = Effect.suspend(() => {
      const outputTokens = dice.between(5, 60)
      request.outputTokens += outputTokens
      request.largest = Math.max(request.largest, weightedTokensOf({ ...noUsage, outputTokens }))
      const isLost = dice.chance(0.05)
      return Effect.andThen(
        isLost ? this.lose(request) : this.show(request, outputTokens, true),
        Effect.sleep(dice.between(200, 4_000))
      )
    })
    return Effect.repeat(call, { times: count - 1 }).pipe(Effect.when(Effect.succeed(count > 0)), Effect.asVoid)
  }

  /** The last model call of a request, whose event often follows the answer. */
  lastCall(request: OpenRequest, outputTokens: number): Effect.Effect<void> {
    const late = Effect.andThen(Effect.sleep(this.dice.between(1, 2_000)), this.show(request, outputTokens, false))
    return this.dice.chance(0.5) ? this.show(request, outputTokens, false) : Effect.asVoid(this.world.fork(late))
  }

  /** The events for this process. Some have no connection. */
  layer(process: RuntimeProcess, change: (call: ModelCall) => ModelCall = (call) => call): Layer.Layer<never> {
    if (this.dice.chance(0.3)) return Layer.empty
    const listeners = new Map<string, Listener>()
    this.listeners.set(process, listeners)
    return Layer.succeed(GatewayEvents, {
      ...offEvents,
      follow: (sessionKey, listener = {}) =>
        Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => {
              const { onModelCall } = listener
              const changed = onModelCall === undefined ? {} : { onModelCall: changedBy(onModelCall, change) }
              listeners.set(sessionKey, changed)
              return changed
            }),
            (set) => Effect.sync(() => listeners.get(sessionKey) === set && listeners.delete(sessionKey))
          )
        )
    })
  }
}
