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
 * Who calls is no agent in a live run of this process; it does not say which part was wrong. No Error: a stack trace
 * would be most of what a flood of such calls costs.
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
  /** What the agent shows over HTTP; it opens this run's tools and nothing else. */
  readonly capability: Redacted.Redacted
  /** The tasks made in this run, over whichever transport. */
  readonly createdTaskIds: Set<string>
  /** The effect tools that succeeded over HTTP, in their order. */
  readonly httpEffects: Array<string>
  /** Lets a call of the agent's work within the run: in its trace, and its lines say whose they are. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The turn has ended: from here on the capability is refused. */
  readonly end: Effect.Effect<void>
}

/** Stands for the capability of a session that has no run, so that the comparison takes its time all the same. */
const NO_CAPABILITY = `${CAPABILITY_PREFIX}${"-".repeat(43)}`

/** The runs that live in this process, by session; a session has one at most. */
export class LiveRuns extends Context.Service<
  LiveRuns,
  {
    /** Makes the run known to the endpoints; its end, at the latest the scope's, makes it unknown. */
    open(run: OpenedRun): Effect.Effect<LiveRun, never, Scope.Scope>
    /** The run of this session if the capability is its own; asks nobody. */
    authenticate(
      sessionKey: string | undefined,
      capability: string | undefined
    ): Effect.Effect<LiveRun, Unauthenticated>
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
  // Dies with the process: what an earlier boot gave out opens nothing here.
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
        // The session may have its next run already.
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
                ? "the session key is missing: send it as the instructions say"
                : agentHttpAuth === "capability" && capability === undefined
                  ? "the capability is missing: send it as the instructions say"
                  : "session key and capability open no live run: the run may have ended"
          })
    })

  return LiveRuns.of({ open, authenticate })
})
