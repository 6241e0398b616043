import { Context, Effect, Layer, Redacted, References } from "effect"
import type { Ref, Scope } from "effect"
import { hmacSha256, Mac, timingSafeEqual } from "effect/crypto/Mac"
import { Base64Url } from "effect/encoding"
import type { Fence } from "../domain/delivery/Run.ts"
import { CAPABILITY_PREFIX, capabilityText } from "../domain/http/Capability.ts"
import type { Spending } from "../domain/usage/Spending.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Telemetry } from "../layers/telemetry/Telemetry.ts"
import type { RunContext } from "./tools/AgentTool.ts"

/**
 * The caller is not an agent in a live run of this process; the detail does not say which part was wrong. Not an Error,
 * because stack traces would be most of the cost of a flood of such calls.
 */
export interface Unauthenticated {
  readonly _tag: "Unauthenticated"
  readonly detail: string
}

interface OpenedRun {
  readonly context: RunContext
  readonly fence: Fence
  /** Grows with each tool call. */
  readonly spending: Ref.Ref<Spending>
}

/** A run of this process, from its claim until its turn has ended. */
export interface LiveRun extends OpenedRun {
  /** The agent's proof over HTTP, valid only for this run's tools. */
  readonly capability: Redacted.Redacted
  /** The tasks created in this run, over either transport. */
  readonly createdTaskIds: Set<string>
  /** The effect tools that succeeded over HTTP, in order. */
  readonly httpEffects: Array<string>
  /** Runs a call of the agent in the run's trace and with the run's log annotations. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Ends the turn; the capability is refused from now on. */
  readonly end: Effect.Effect<void>
}

/** Compared if the session has no run, so that the comparison takes the same time. */
const NO_CAPABILITY = `${CAPABILITY_PREFIX}${"-".repeat(43)}`

/** The live runs of this process, by session; a session has at most one. */
export class LiveRuns extends Context.Service<
  LiveRuns,
  {
    /** Makes the run known to the endpoints until it ends or the scope closes. */
    open(run: OpenedRun): Effect.Effect<LiveRun, never, Scope.Scope>
    /** The run of this session if the capability belongs to it; makes no call. */
    authenticate(
      sessionKey: string | undefined,
      capability: string | undefined
    ): Effect.Effect<LiveRun, Unauthenticated>
    readonly current: Effect.Effect<ReadonlyArray<LiveRun>>
  }
>()("runtime-service/services/LiveRuns") {
  static readonly layer = Layer.effect(
    LiveRuns,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const { agentHttpAuth } = yield* RuntimeConfig
  const mac = yield* Mac
  const telemetry = yield* Telemetry
  // A new key for each process, so that capabilities of an earlier boot are refused.
  const key = yield* Effect.orDie(mac.generateKey(hmacSha256))
  const encoder = new TextEncoder()
  const runs = new Map<string, LiveRun>()

  const open = Effect.fn("LiveRuns.open")(function* (run: OpenedRun) {
    const { agent, notification, sessionKey, task } = run.context
    const text = capabilityText({
      runId: notification.id,
      agentId: agent.id,
      taskId: task?.id ?? null,
      epoch: run.fence.epoch
    })
    const tag = yield* Effect.orDie(mac.sign(key, encoder.encode(text)))
    const capability = Redacted.make(`${CAPABILITY_PREFIX}${Base64Url.encode(tag)}`, { label: "capability" })
    const lines = yield* References.CurrentLogAnnotations
    const withinTrace = yield* telemetry.within
    const live: LiveRun = {
      ...run,
      capability,
      within: (effect) => withinTrace(Effect.annotateLogs(effect, lines)),
      createdTaskIds: new Set(),
      httpEffects: [],
      end: Effect.sync(() => {
        // The session may already have its next run.
        if (runs.get(sessionKey) === live) runs.delete(sessionKey)
      })
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => runs.set(sessionKey, live)),
      () => live.end
    )
    return live
  })

  const authenticate = (sessionKey: string | undefined, capability: string | undefined) =>
    Effect.suspend(() => {
      const live = sessionKey === undefined ? undefined : runs.get(sessionKey)
      const expected = live === undefined ? NO_CAPABILITY : Redacted.value(live.capability)
      const isProven =
        agentHttpAuth === "session-key" || timingSafeEqual(encoder.encode(capability ?? ""), encoder.encode(expected))
      return live !== undefined && isProven
        ? Effect.succeed(live)
        : Effect.fail<Unauthenticated>({
            _tag: "Unauthenticated",
            detail:
              sessionKey === undefined
                ? "the session key is missing: send it as described in the instructions"
                : agentHttpAuth === "capability" && capability === undefined
                  ? "the capability is missing: send it as described in the instructions"
                  : "session key and capability belong to no live run: the run may have ended"
          })
    })

  return LiveRuns.of({ open, authenticate, current: Effect.sync(() => [...runs.values()]) })
})
