import { Context, Deferred, Effect, Layer, Option, SubscriptionRef } from "effect"
import type { Stream } from "effect"
import { RuntimeConfig } from "../layers/Config.ts"
import { Redactor } from "../layers/secrets/Redactor.ts"

/** Phase of the process. */
export type Phase = "booting" | "ready" | "draining" | "stopped"

/** Why the process stops; restart and upgrade exit with code 75, a signal with 0. */
export type StopReason = "signal" | "restart" | "upgrade"

/** What a reason for not being ready concerns. */
export type Concern =
  | "control-plane"
  | "token"
  | "protocol"
  | "gateway"
  | "gateway-process"
  | "gateway-configuration"
  | "profile-sync"
  | "breaker"

/** Reasons with which no work starts; with the others it starts with restrictions. */
const blocking: ReadonlyArray<Concern> = ["token", "protocol", "gateway-process", "gateway-configuration"]

/** The state of the process; `reasons` has at most one reason for each concern, without secrets. */
export interface LifecycleState {
  readonly phase: Phase
  readonly isPaused: boolean
  readonly reasons: Readonly<Partial<Record<Concern, string>>>
}

/** A failure that ends the process, with its exit code. */
export interface Fatal {
  readonly exitCode: 70 | 77 | 78
  readonly message: string
}

/** Whether the process may claim work: ready, not paused, and without a blocking reason. */
export const canClaim = (state: LifecycleState): boolean =>
  state.phase === "ready" && !state.isPaused && blocking.every((concern) => state.reasons[concern] === undefined)

/** Why the process is not ready, one line each; empty when it is. */
export const notReadyBecause = (state: LifecycleState): ReadonlyArray<string> => [
  ...(state.phase === "ready" ? [] : [state.phase]),
  ...(state.isPaused ? ["paused"] : []),
  ...Object.entries(state.reasons).map(([concern, reason]) => `${concern}: ${reason}`)
]

/** Completes when the host asks the process to stop; main sets it, because signals may arrive before any layer is built. */
export const StopSignal = Context.Reference<Effect.Effect<void>>("runtime-service/services/Lifecycle/StopSignal", {
  defaultValue: () => Effect.never
})

/** The phase of the process, the reasons why it is not ready, and requests to stop. */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    readonly state: Effect.Effect<LifecycleState>
    /** The current state and each change. */
    readonly changes: Stream.Stream<LifecycleState>
    enter(phase: Phase): Effect.Effect<void>
    setPaused(isPaused: boolean): Effect.Effect<void>
    /** Sets the concern's reason why the process is not ready; null removes it. */
    setReason(concern: Concern, reason: string | null): Effect.Effect<void>
    /** Requests a drain and a stop. Only the first request counts; true for the first. */
    requestStop(reason: StopReason): Effect.Effect<boolean>
    /** Waits until a stop is requested. */
    readonly stopRequested: Effect.Effect<StopReason>
    /** Waits for the host's signal, even after another stop request; from then on the host's kill timeout runs. */
    readonly signalled: Effect.Effect<void>
    /** Ends the process at once, because it cannot or must not work. Only the first failure counts. */
    abort(fatal: Fatal): Effect.Effect<void>
    readonly aborted: Effect.Effect<Fatal>
  }
>()("runtime-service/services/Lifecycle") {
  static readonly layer = Layer.effect(
    Lifecycle,
    Effect.suspend(() => make)
  )

  /** A lifecycle without secrets, for tests of other subjects. */
  static readonly layerTest = this.layer.pipe(Layer.provide(Redactor.layer), Layer.provide(RuntimeConfig.layerTest()))
}

const make = Effect.gen(function* () {
  const ref = yield* SubscriptionRef.make<LifecycleState>({ phase: "booting", isPaused: false, reasons: {} })
  const stop = yield* Deferred.make<StopReason>()
  const fatal = yield* Deferred.make<Fatal>()
  const signal = yield* StopSignal
  const { redact } = yield* Redactor
  // Subscribers act on each element, so a step without a change is not published.
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
    // Reasons may quote the gateway, and are shown to members and passed to systemd-notify as arguments.
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
