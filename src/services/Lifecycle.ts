import { Context, Deferred, Effect, Layer, Option, SubscriptionRef } from "effect"
import type { Stream } from "effect"
import { RuntimeConfig } from "../layers/Config.ts"
import { Redactor } from "../layers/secrets/Redactor.ts"

/** Where the process is in its life. */
export type Phase = "booting" | "ready" | "draining" | "stopped"

/** Why the process is to end; restart and upgrade end with exit code 75, a signal with 0. */
export type StopReason = "signal" | "restart" | "upgrade"

/** What can stand against being ready. */
export type Concern =
  | "control-plane"
  | "token"
  | "protocol"
  | "gateway"
  | "gateway-process"
  | "gateway-configuration"
  | "profile-sync"
  | "breaker"

/** With these no work is begun at all; with the others it is tried, more carefully. */
const blocking: ReadonlyArray<Concern> = ["token", "protocol", "gateway-process", "gateway-configuration"]

/** The one state of the process; `reasons` say why it is not ready, by what they concern, without a secret. */
export interface LifecycleState {
  readonly phase: Phase
  readonly isPaused: boolean
  readonly reasons: Readonly<Partial<Record<Concern, string>>>
}

/** A failure that ends the process, with the exit code it stands for. */
export interface Fatal {
  readonly exitCode: 70 | 77 | 78
  readonly message: string
}

/** Whether new work may be taken: ready, not paused, and nothing that makes every turn pointless. */
export const canClaim = (state: LifecycleState): boolean =>
  state.phase === "ready" && !state.isPaused && blocking.every((concern) => state.reasons[concern] === undefined)

/** Why the process is not ready, one line each; empty when it is. */
export const notReadyBecause = (state: LifecycleState): ReadonlyArray<string> => [
  ...(state.phase === "ready" ? [] : [state.phase]),
  ...(state.isPaused ? ["paused"] : []),
  ...Object.entries(state.reasons).map(([concern, reason]) => `${concern}: ${reason}`)
]

/** Completes when the host asks the process to stop; main sets it, since signals come before any layer stands. */
export const StopSignal = Context.Reference<Effect.Effect<void>>("runtime-service/services/Lifecycle/StopSignal", {
  defaultValue: () => Effect.never
})

/** The life of the process: what phase it is in, why it is not ready, and that it shall stop. */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    readonly state: Effect.Effect<LifecycleState>
    /** Every state from now on, the current one first. */
    readonly changes: Stream.Stream<LifecycleState>
    enter(phase: Phase): Effect.Effect<void>
    setPaused(isPaused: boolean): Effect.Effect<void>
    /** Says why the process is not ready, or with null that this no longer stands; one reason for each concern. */
    setReason(concern: Concern, reason: string | null): Effect.Effect<void>
    /** Asks for a drain and a stop; the first asker's reason counts. True for the first. */
    requestStop(reason: StopReason): Effect.Effect<boolean>
    /** Waits until a stop is asked for. */
    readonly stopRequested: Effect.Effect<StopReason>
    /** Waits until the host signals, whatever else was asked for before: from then on it counts the seconds. */
    readonly signalled: Effect.Effect<void>
    /** Ends the process at once: it cannot do its work, or must not. The first failure counts. */
    abort(fatal: Fatal): Effect.Effect<void>
    readonly aborted: Effect.Effect<Fatal>
  }
>()("runtime-service/services/Lifecycle") {
  static readonly layer = Layer.effect(
    Lifecycle,
    Effect.suspend(() => make)
  )

  /** The same, which knows no secret, for tests that are not about one. */
  static readonly layerTest = this.layer.pipe(Layer.provide(Redactor.layer), Layer.provide(RuntimeConfig.layerTest()))
}

const make = Effect.gen(function* () {
  const ref = yield* SubscriptionRef.make<LifecycleState>({ phase: "booting", isPaused: false, reasons: {} })
  const stop = yield* Deferred.make<StopReason>()
  const fatal = yield* Deferred.make<Fatal>()
  const signal = yield* StopSignal
  const { redact } = yield* Redactor
  // Whoever follows the state acts on each element: what changes nothing is not published.
  const change = (step: (before: LifecycleState) => LifecycleState) =>
    SubscriptionRef.updateSome(ref, (before) => {
      const after = step(before)
      return after === before ? Option.none() : Option.some(after)
    })
  yield* signal.pipe(Effect.andThen(Deferred.succeed(stop, "signal")), Effect.forkScoped)
  return Lifecycle.of({
    state: SubscriptionRef.get(ref),
    changes: SubscriptionRef.changes(ref),
    enter: (phase) => change((before) => (before.phase === phase ? before : { ...before, phase })),
    setPaused: (isPaused) => change((before) => (before.isPaused === isPaused ? before : { ...before, isPaused })),
    // Reasons hold words of the gateway, and go to members and into systemd-notify's arguments.
    setReason: (concern, text) =>
      change((before) => {
        const reason = text === null ? null : redact(text)
        if ((before.reasons[concern] ?? null) === reason) return before
        const { [concern]: _, ...others } = before.reasons
        return { ...before, reasons: reason === null ? others : { ...others, [concern]: reason } }
      }),
    requestStop: (reason) => Deferred.succeed(stop, reason),
    stopRequested: Deferred.await(stop),
    signalled: signal,
    abort: (failure) => Effect.asVoid(Deferred.succeed(fatal, failure)),
    aborted: Deferred.await(fatal)
  })
})
