/** RunExecution over a control plane and turns that the test holds; everything else is real. */
import { NodeCrypto } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { Clock, Effect, Layer, Logger, Option, Redacted, Ref } from "effect"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ClaimTimes } from "../../../src/domain/delivery/Claim.ts"
import type { DeliveryContext } from "../../../src/domain/delivery/DeliveryContext.ts"
import type {
  Failure,
  FailedState,
  HeartbeatRun,
  NotificationRun,
  Outcome,
  ReleasedState,
  RenewAnswer,
  Run
} from "../../../src/domain/delivery/Run.ts"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import type { SpentUsage } from "../../../src/domain/delivery/Run.ts"
import { readSpokenText } from "../../../src/domain/delivery/Silence.ts"
import type { SpokenText } from "../../../src/domain/delivery/Silence.ts"
import type { TurnEnd } from "../../../src/domain/delivery/TurnEnd.ts"
import type { TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import type { HeartbeatContext, HeartbeatReport } from "../../../src/domain/heartbeats/Heartbeat.ts"
import { requestAnswered, requestSent } from "../../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { Gateway } from "../../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import { ModelPrices } from "../../../src/layers/gateway/ModelPrices.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { RunExecution } from "../../../src/programs/delivery/RunExecution.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import type { SharedFailure } from "../../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../../src/services/GatewayGuard.ts"
import { Leases } from "../../../src/services/Leases.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { LiveRuns } from "../../../src/services/LiveRuns.ts"
import { Roster } from "../../../src/services/Roster.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"
import { Turns } from "../../../src/services/Turns.ts"
import type { Turn } from "../../../src/services/Turns.ts"
import { sampleEvent, sampleRun } from "../../domain/delivery/sampleContext.ts"
import { sampleHeartbeatRun } from "../../domain/heartbeats/sampleHeartbeat.ts"

export const MINUTE = 60_000

/** What a run stored in the control plane. */
export type Stored =
  | { readonly _tag: "complete"; readonly outcome: Outcome }
  | { readonly _tag: "fail"; readonly failure: Failure }
  | { readonly _tag: "release"; readonly shared: SharedFailure | undefined }
  | { readonly _tag: "heartbeat"; readonly report: HeartbeatReport }

const usage = { ...noUsage, inputTokens: 10, outputTokens: 5 }
const price = { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 }
/** What a run stores of a turn of one round. */
export const spent: SpentUsage = {
  ...usage,
  rounds: 1,
  unanswered: 0,
  contextTokens: 10,
  model: "anthropic/claude",
  price,
  isDelta: false,
  steps: [],
  stepsLeftOut: 0
}

/** A turn that ended so. */
export const spoke = (spoken: SpokenText, changes: Partial<TurnEnd> = {}): TurnEnd => ({
  spoken,
  isTruncated: false,
  effects: [],
  ...changes
})

/** A turn that ended with this text. */
export const said = (text: string, changes: Partial<TurnEnd> = {}): TurnEnd => spoke(readSpokenText(text), changes)

export const gatewaySecret = "gateway-secret-0123456789"

export interface Options {
  readonly run?: (turn: Turn) => Effect.Effect<TurnEnd, TurnFailure | ControlPlaneFailure>
  readonly complete?: Effect.Effect<void, ControlPlaneFailure>
  readonly fail?: Effect.Effect<FailedState, ControlPlaneFailure>
  readonly release?: Effect.Effect<ReleasedState, ControlPlaneFailure>
  readonly report?: (report: HeartbeatReport) => Effect.Effect<void, ControlPlaneFailure>
  /** The leases that every renewal reports as lost. */
  readonly lost?: RenewAnswer["lost"]
  /** What the gateway says of the length of every session's history. */
  readonly historyTokens?: number
  readonly settings?: Partial<Settings>
  readonly telemetry?: Layer.Layer<never>
}

export const failsWith = (failure: TurnFailure | ControlPlaneFailure): Options => ({ run: () => Effect.fail(failure) })

/** Runs nothing. */
export const noTurn: Options = { run: () => Effect.die("no turn may run") }

export const quiet = Effect.provide(Logger.layer([]))

/** A change of status, to which no answer is owed. */
export const passive: Partial<DeliveryContext> = {
  events: [sampleEvent({ type: "status_change", previousStatus: "assigned", newStatus: "in_progress", message: null })]
}

/** The program, with what it stores and the turns that it runs; each run's lease is held from its start. */
export const runHouse = Effect.fnUntraced(function* (options: Options = {}) {
  const stored: Array<Stored> = []
  /** What was spent, as each end says it, and as a run without its lease does. */
  const spendings: Array<SpentUsage | undefined> = []
  const reported: Array<SpentUsage> = []
  const turns: Array<Turn> = []
  const store = <A, E>(entry: Stored, usage: SpentUsage | undefined, answer: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      spendings.push(usage)
      stored.push(entry)
      return answer
    })
  const controlPlane = Layer.mock(ControlPlane, {
    bootId: "boot",
    now: Clock.currentTimeMillis,
    complete: (_, { usage, ...outcome }) =>
      store({ _tag: "complete", outcome }, usage, options.complete ?? Effect.void),
    fail: (_, { usage, ...failure }) =>
      store({ _tag: "fail", failure }, usage, options.fail ?? Effect.succeed("ready" as const)),
    release: (_, given) => {
      const { usage, ...shared } = given ?? {}
      const entry = { _tag: "release", shared: given === undefined ? undefined : (shared as SharedFailure) } as const
      return store(entry, usage, options.release ?? Effect.succeed("ready" as const))
    },
    updateAgentHeartbeat: (_, { usage, ...report }) =>
      store({ _tag: "heartbeat", report }, usage, options.report?.(report) ?? Effect.void).pipe(
        Effect.andThen(Clock.currentTimeMillis),
        Effect.map((now) => ({ dueAt: now + 15 * MINUTE, messageId: null, now }))
      ),
    recordUsage: (_, usage) => Effect.sync(() => void reported.push(usage)),
    renew: () => Effect.succeed({ lost: options.lost ?? [], news: [], hasUnnamed: false, now: 0 })
  })
  const turnsLayer = Layer.effect(
    Turns,
    Effect.map(GatewayGuard, (guard) =>
      Turns.of({
        run: (turn) =>
          Effect.suspend(() => {
            turns.push(turn)
            return Effect.andThen(
              Ref.update(turn.spending, (spending) => requestAnswered(requestSent(spending), usage)),
              (options.run ?? (() => Effect.succeed(said("Done."))))(turn)
            )
          }).pipe(
            // A silent turn has had a round too.
            Effect.tapError(({ _tag }) =>
              _tag === "TurnSilent" ? guard.completed(turn.context.agent.id) : Effect.void
            ),
            Effect.tap(() => guard.completed(turn.context.agent.id))
          ) as never
      })
    )
  )
  const services = yield* Layer.build(
    RunExecution.layer.pipe(
      Layer.provide(turnsLayer),
      Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Leases.layer, LiveRuns.layer, Metrics.layer)),
      Layer.provideMerge(Layer.mergeAll(Roster.layer, Supervisor.layer)),
      Layer.provideMerge(Lifecycle.layer),
      Layer.provide([
        controlPlane,
        GatewayProcess.layerTest,
        ModelPrices.layerTest({ model: "anthropic/claude", price }),
        Layer.mock(Gateway, {
          state: Effect.succeed({ version: "2026.9.6" } as never),
          historyTokens: () => Effect.succeed(options.historyTokens ?? null)
        }),
        NodeCrypto.layerMac,
        NodeCrypto.layerSecureRandom
      ]),
      Layer.provideMerge(Layer.merge(Redactor.layer, options.telemetry ?? Layer.empty)),
      Layer.provide(
        RuntimeConfig.layerTest({ ...options.settings, gatewayToken: Option.some(Redacted.make(gatewaySecret)) })
      )
    )
  )
  const { execution, guard, leases, lifecycle, metrics } = yield* Effect.all({
    execution: RunExecution,
    guard: GatewayGuard,
    leases: Leases,
    lifecycle: Lifecycle,
    metrics: Metrics
  }).pipe(Effect.provideContext(services))
  return {
    execute: (run: Run, times?: ClaimTimes) =>
      Effect.acquireUseRelease(
        leases.hold(run),
        () => execution.execute(run, times),
        () => leases.drop(run)
      ),
    guard,
    lifecycle,
    metrics,
    reported,
    spendings,
    stored,
    turns
  }
})

/** Executes one run and answers what it stored and how it ended. */
export const executeOnce = Effect.fnUntraced(function* (options: Options, run: Run) {
  const { execute, metrics, reported, spendings, stored, turns } = yield* runHouse(options)
  const end = yield* execute(run)
  const summary = yield* metrics.deliverySummary
  assert.strictEqual(summary.inFlight, 0)
  return { end, outcome: end.outcome, reported, spendings, stored, summary, turns }
})

interface Changes<Context, OneRun> {
  readonly context?: Partial<Context>
  readonly run?: Partial<OneRun>
}

/** Delivers the sample's notification once. */
export const deliverOnce = (options: Options, changes: Changes<DeliveryContext, NotificationRun> = {}) =>
  executeOnce(options, sampleRun(changes.context, changes.run))

/** Runs the sample's heartbeat once. */
export const heartbeatOnce = (options: Options, changes: Changes<HeartbeatContext, HeartbeatRun> = {}) =>
  executeOnce(options, sampleHeartbeatRun(changes.context, changes.run))

/** The only thing stored, of this kind. */
export const only = <Tag extends Stored["_tag"]>(
  stored: ReadonlyArray<Stored>,
  tag: Tag
): Extract<Stored, { readonly _tag: Tag }> => {
  assert.deepStrictEqual(
    stored.map(({ _tag }) => _tag),
    [tag]
  )
  return stored[0] as Extract<Stored, { readonly _tag: Tag }>
}
