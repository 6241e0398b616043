import { Clock, Context, Duration, Effect, Layer, Option, Result, Schema, Semaphore, Struct } from "effect"
import type { Stream } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { RunSettings } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { PulseAnswer, RuntimeCommands } from "../domain/controlPlane/RuntimeCommands.ts"
import type { Claim, ClaimRequest } from "../domain/delivery/Claim.ts"
import { DeadLetter } from "../domain/delivery/DeadLetter.ts"
import { DeliveryContext } from "../domain/delivery/DeliveryContext.ts"
import type { NotificationEvent } from "../domain/delivery/DeliveryContext.ts"
import {
  Allowed,
  Backlog,
  BrokenRun,
  ClaimAnswer,
  CompleteAnswer,
  ContextAnswers,
  FailAnswer,
  HeartbeatRun,
  JoinAnswer,
  NotificationRun,
  ReleaseAnswer,
  RenewAnswer,
  Wake
} from "../domain/delivery/Run.ts"
import type {
  FailedState,
  Failure,
  Fence,
  Lease,
  Outcome,
  ReleasedState,
  Run,
  SpentUsage
} from "../domain/delivery/Run.ts"
import { RunDetails, RunView } from "../domain/delivery/RunView.ts"
import { Profiles } from "../domain/gateway/ProfilePlan.ts"
import { FinishedHeartbeat } from "../domain/heartbeats/Heartbeat.ts"
import type { HeartbeatReport } from "../domain/heartbeats/Heartbeat.ts"
import type { TurnProgress } from "../domain/observability/TurnProgress.ts"
import { PROTOCOL } from "../domain/shared/Protocol.ts"
import { Roster } from "../domain/tasks/Roster.ts"
import { UsageReport } from "../domain/usage/UsageReport.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Telemetry } from "../layers/telemetry/Telemetry.ts"
import type { Tracing } from "../layers/telemetry/Telemetry.ts"
import { makeControlPlaneCalls, patiently, persistently } from "./ControlPlaneCalls.ts"
import type { ControlPlaneCalls } from "./ControlPlaneCalls.ts"
import { makeControlPlaneClock } from "./ControlPlaneClock.ts"
import type { ControlPlaneClock } from "./ControlPlaneClock.ts"
import { makeControlPlaneTools } from "./ControlPlaneTools.ts"
import type { ControlPlaneTools } from "./ControlPlaneTools.ts"

/** A release because of a shared failure: when to retry, and why. */
export interface SharedFailure {
  readonly retryInMillis: number
  readonly class: string
  readonly error: string
  /** After this long the notification becomes a dead letter. */
  readonly limit?: Duration.Duration
  readonly usage?: SpentUsage
}

/** A notification's context for a dry run, or a code for what is missing or damaged. */
export type ContextOrBroken =
  | { readonly context: DeliveryContext; readonly state: string | null; readonly outcome: string | null }
  | { readonly broken: string }

/** Presence and health of this process for the pulse. */
export interface PulseReport {
  readonly status: "booting" | "online" | "degraded" | "draining" | "offline"
  readonly reasons: ReadonlyArray<string>
  readonly health: string
  readonly openclawVersion: string | null
}

/** Progress of a command: accepted by this boot, running, or ended. */
export type CommandResult = "taken" | "progress" | "success" | "failed" | "rolled_back"

type Called<A> = Effect.Effect<A, ControlPlaneFailure>
type Followed<A> = Stream.Stream<Result.Result<A, ControlPlaneFailure>>

/** The control plane for the runtime: claims due runs, stores their outcomes, follows changes by people. */
export class ControlPlane extends Context.Service<
  ControlPlane,
  ControlPlaneTools & {
    /** Identifies this process among those of the same RUNTIME_ID. */
    readonly bootId: string
    /** The control plane's time, epoch milliseconds, estimated from its answers. */
    readonly now: Effect.Effect<number>
    /** Pushes a counter that grows whenever work becomes claimable except by time, recalled leases, and new messages. */
    readonly wakes: Followed<Wake>
    /** The waiting work; the cheapest call that shows whether the token is accepted. */
    readonly backlog: Called<Backlog>
    /** The commands for this runtime, pushed at each change. */
    readonly commands: Followed<RuntimeCommands>
    /** The account's agents, pushed at each change of the roster but not at heartbeats. */
    readonly rosters: Followed<Roster>
    readonly readRoster: Called<Roster>
    /** The content of the agents' workspaces. */
    readonly profiles: Called<Profiles>
    /** The dead letters, the latest first. */
    deadLetters(options: { readonly limit?: number }): Called<ReadonlyArray<DeadLetter>>
    /** Usage of the account's agents in the last days, by agent. */
    usage(options: { readonly days: number }): Called<UsageReport>
    /** The running and waiting runs, at most 200. */
    runs(options: { readonly limit: number }): Called<ReadonlyArray<RunView>>
    /** Why a notification's run exists, what its attempts did, and how they ended. */
    run(id: string): Called<RunDetails>
    /** Contexts of notifications for dry runs; leases nothing. */
    context(ids: ReadonlyArray<string>): Called<ReadonlyMap<string, ContextOrBroken>>
    /** Leases due runs and returns them with their contexts. Not repeated, because the next claim recovers a lost answer. */
    claim(request: ClaimRequest): Called<Claim>
    /** Extends these leases by DELIVERY_LEASE_MS and reports lost ones. Not repeated. */
    renew(leases: ReadonlyArray<Lease>): Called<RenewAnswer>
    /**
     * Joins people's messages to the run. Returns the events that joined in this attempt, without the first `known`. Not
     * repeated, because the next call returns what a lost answer contained.
     */
    join(fence: Fence, known: number): Called<ReadonlyArray<NotificationEvent>>
    /** Stores reply and outcome in one transaction. Fails with LeaseLost, having written nothing, if the epoch is stale. */
    complete(fence: Fence, outcome: Outcome): Called<void>
    /** Stores the error and the next attempt, or ends the run. */
    fail(fence: Fence, failure: Failure): Called<FailedState>
    /** Releases the run without counting the attempt: at once, or after a shared failure with a delay and its class. */
    release(fence: Fence, shared?: SharedFailure): Called<ReleasedState>
    /** Whether a run that used this many price-weighted tokens may spend more. */
    allow(fence: Fence, usedTokens: number): Called<Allowed>
    /** Records the usage of an attempt whose lease was lost. */
    recordUsage(fence: Fence, usage: SpentUsage): Called<void>
    /** Ends a heartbeat with the agent's status and its message for a thread; returns when the next one is due. */
    updateAgentHeartbeat(fence: Fence, report: HeartbeatReport): Called<typeof FinishedHeartbeat.Type>
    /** Sends presence and health, and receives commands and reconciliation: one call a minute. */
    pulse(report: PulseReport): Called<PulseAnswer>
    /** Stores how far the running turns are, in place of the last report. Not repeated. */
    reportProgress(turns: ReadonlyArray<TurnProgress>): Called<void>
    /** Reports a command's progress. Idempotent; refused if another boot has accepted the command. */
    acknowledge(options: {
      readonly command: string
      readonly result: CommandResult
      readonly message?: string
    }): Called<void>
  }
>()("runtime-service/services/ControlPlane") {
  static readonly layer = Layer.effect(
    ControlPlane,
    Effect.suspend(() => make)
  )
}

const DeadLetters = Schema.Array(DeadLetter)

/**
 * Maximum number of concurrent completions. Otherwise a hundred turns that end together would delay the next claim, in our
 * pool of connections and in the control plane, and their successors would end together again. Eight keep a control plane
 * busy that answers after 50 ms and needs 6 ms for each.
 */
const COMPLETIONS_AT_ONCE = 8

/** The settings for events that a run causes. */
const settingsOf = (config: RuntimeConfig["Service"]): RunSettings => ({
  maxHops: config.maxAgentHops,
  quietTimeMs: Duration.toMillis(config.quietTime),
  quietLimitMs: Duration.toMillis(config.quietTimeLimit)
})

/** The dependencies of this module's functions. */
interface Plane {
  readonly calls: ControlPlaneCalls
  readonly clock: ControlPlaneClock
  readonly config: RuntimeConfig["Service"]
  readonly telemetry: Tracing
  readonly self: { readonly runtimeId: string; readonly bootId: string }
}

const decodeRun = Schema.decodeUnknownResult(Schema.Union([NotificationRun, HeartbeatRun, BrokenRun]))
const decodeClaimed = Schema.decodeUnknownOption(Schema.Struct(Struct.omit(BrokenRun.fields, ["broken"])))

/** A run with an unreadable context becomes a broken run, so that it does not affect the others. */
const readRun = (value: unknown): ReadonlyArray<Run> => {
  const decoded = decodeRun(value)
  if (Result.isSuccess(decoded)) return [decoded.success]
  const broken = `damaged: ${decoded.failure.message.slice(0, 200)}`
  return Option.match(decodeClaimed(value), { onNone: () => [], onSome: (claimed) => [{ ...claimed, broken }] })
}

const claim = ({ calls, clock, config, self }: Plane) =>
  Effect.fn("ControlPlane.claim")(function* (request: ClaimRequest) {
    const { abandoned, held, heartbeatLimit, limit, number, recoverUnnamed } = request
    const answer = yield* calls.mutation(functions.claim, ClaimAnswer, {
      ...self,
      protocol: PROTOCOL,
      number,
      limit,
      heartbeatLimit,
      leaseMs: Duration.toMillis(config.deliveryLease),
      maxAttempts: config.deliveryMaxAttempts,
      maxTurns: config.maxAgentTurnsPerTask,
      held: leasesOf(held),
      abandoned: leasesOf(abandoned),
      recoverUnnamed
    })
    yield* clock.note(answer.now)
    const runs = answer.runs.flatMap(readRun)
    if (runs.length < answer.runs.length) {
      yield* Effect.logError(`${answer.runs.length - runs.length} claimed runs cannot be read by this version`)
    }
    return { ...answer, runs, hasUnreadable: runs.length < answer.runs.length }
  })

const renew = ({ calls, clock, config, self }: Plane) =>
  Effect.fn("ControlPlane.renew")(function* (leases: ReadonlyArray<Lease>) {
    const leaseMs = Duration.toMillis(config.deliveryLease)
    const answer = yield* calls.mutation(functions.renew, RenewAnswer, { ...self, leaseMs, leases: leasesOf(leases) })
    yield* clock.note(answer.now)
    return answer
  })

const complete = ({ calls, clock, config, telemetry }: Plane, completions: Semaphore.Semaphore) =>
  Effect.fnUntraced(function* (fence: Fence, outcome: Outcome) {
    const stored = calls.mutation(functions.complete, CompleteAnswer, {
      ...exactly(fence),
      ...outcome,
      ...(yield* traceOf(telemetry)),
      settings: settingsOf(config)
    })
    const { now } = yield* persistently(completions.withPermit(stored))
    yield* clock.note(now)
  })

const fail = ({ calls, clock, config, telemetry }: Plane) =>
  Effect.fnUntraced(function* (fence: Fence, { refused = [], retryInMillis, ...failure }: Failure) {
    const stored = calls.mutation(functions.fail, FailAnswer, {
      ...exactly(fence),
      ...failure,
      ...(retryInMillis === undefined ? {} : { nextAttemptAt: yield* clock.after(retryInMillis) }),
      ...(refused.length === 0 ? {} : { refused }),
      ...(yield* traceOf(telemetry)),
      silenceLimit: config.noResponseLimit
    })
    const { now, state } = yield* persistently(stored)
    yield* clock.note(now)
    return state
  })

const release = ({ calls, clock, telemetry }: Plane) =>
  Effect.fnUntraced(function* (fence: Fence, shared?: SharedFailure) {
    const delay =
      shared === undefined
        ? {}
        : {
            nextAttemptAt: yield* clock.after(shared.retryInMillis),
            class: shared.class,
            error: shared.error,
            ...(shared.limit === undefined ? {} : { sharedLimitMs: Duration.toMillis(shared.limit) }),
            ...(shared.usage === undefined ? {} : { usage: shared.usage })
          }
    const args = { ...exactly(fence), ...(yield* traceOf(telemetry)), ...delay }
    const { now, state } = yield* persistently(calls.mutation(functions.release, ReleaseAnswer, args))
    yield* clock.note(now)
    return state
  })

const updateAgentHeartbeat = ({ calls, clock, config, telemetry }: Plane) =>
  Effect.fnUntraced(function* (fence: Fence, report: HeartbeatReport) {
    const stored = calls.mutation(functions.updateAgentHeartbeat, FinishedHeartbeat, {
      ...exactly(fence),
      ...report,
      ...(yield* traceOf(telemetry)),
      settings: settingsOf(config)
    })
    const answer = yield* persistently(stored)
    yield* clock.note(answer.now)
    return answer
  })

const context = ({ calls }: Plane) =>
  Effect.fn("ControlPlane.context")(function* (ids: ReadonlyArray<string>) {
    const rows = yield* patiently(calls.query(functions.context, ContextAnswers, { ids }))
    const decode = Schema.decodeUnknownResult(DeliveryContext)
    return new Map(
      rows.map((row): readonly [string, ContextOrBroken] => {
        if (row.broken !== undefined) return [row.id, { broken: row.broken }]
        const found = Result.match(decode(row.context), {
          onSuccess: (context): ContextOrBroken => ({
            context,
            state: row.state ?? null,
            outcome: row.outcome ?? null
          }),
          onFailure: (error) => ({ broken: `damaged: ${error.message.slice(0, 200)}` })
        })
        return [row.id, found]
      })
    )
  })

const pulse = ({ calls, clock, config, self }: Plane) =>
  Effect.fn("ControlPlane.pulse")(function* (report: PulseReport) {
    const answer = yield* calls.mutation(functions.pulse, PulseAnswer, {
      ...self,
      protocol: PROTOCOL,
      status: report.status,
      reasons: report.reasons,
      health: report.health,
      versions: { runtime: config.runtimeVersion, openclaw: report.openclawVersion },
      infrastructure: {
        dropletId: Option.getOrNull(config.dropletId),
        ipAddress: Option.getOrNull(config.dropletIp),
        region: Option.getOrNull(config.dropletRegion)
      },
      intervalMs: Duration.toMillis(config.healthCheckInterval)
    })
    yield* clock.note(answer.now)
    return answer
  })

const reportProgress = ({ calls, self }: Plane) =>
  Effect.fn("ControlPlane.reportProgress")(function* (turns: ReadonlyArray<TurnProgress>) {
    const now = yield* Clock.currentTimeMillis
    yield* calls.mutation(functions.reportProgress, Schema.Null, {
      runtimeId: self.runtimeId,
      turns: turns.map(({ epoch, isStuck, lastActivityAt, session, stepSince, tool }) => ({
        session,
        epoch,
        tool,
        isStuck,
        stepMs: now - stepSince,
        quietMs: now - lastActivityAt
      }))
    })
  })

const leasesOf = (leases: ReadonlyArray<Lease>) => leases.map(({ epoch, session }) => ({ session, epoch }))

/** Only the fence's fields: callers pass objects with more, and the functions refuse unknown fields. */
const exactly = ({ epoch, run, session }: Fence) => ({ run, session, epoch })

/** The attempt's trace, which is stored with its outcome. */
const traceOf = (telemetry: Tracing) =>
  telemetry.isOn ? Effect.map(telemetry.attempt, (attempt) => ({ ...attempt })) : Effect.succeed({})

/** The call as a span of its run's trace. */
const traced =
  (telemetry: Tracing) =>
  <Args extends ReadonlyArray<unknown>, A>(
    name: string,
    run: (...args: Args) => Called<A>
  ): ((...args: Args) => Called<A>) => {
    if (!telemetry.isOn) return run
    const span = telemetry.span(`ControlPlane.${name}`, { kind: "client" })
    return (...args) => span(run(...args))
  }

const make = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const telemetry = yield* Telemetry
  const calls = yield* makeControlPlaneCalls
  const clock = yield* makeControlPlaneClock
  const completions = yield* Semaphore.make(COMPLETIONS_AT_ONCE)
  // Sorts by start time, so that the boots in a log are in order.
  const bootId = yield* (yield* SecureRandom).ulid
  const { runtimeId } = config
  const plane: Plane = { calls, clock, config, telemetry, self: { runtimeId, bootId } }
  const part = traced(telemetry)
  return ControlPlane.of({
    ...makeControlPlaneTools(calls, settingsOf(config)),
    bootId,
    now: clock.after(0),
    backlog: calls.query(functions.backlog, Backlog),
    wakes: calls.follow(functions.wake, Wake),
    commands: calls.follow(functions.commands, RuntimeCommands, { runtimeId }),
    rosters: calls.follow(functions.agents, Roster),
    readRoster: part("readRoster", () => calls.query(functions.agents, Roster))(),
    profiles: part("profiles", () => patiently(calls.query(functions.profiles, Profiles)))(),
    deadLetters: (options) => patiently(calls.query(functions.deadLetters, DeadLetters, options)),
    usage: ({ days }) => patiently(calls.query(functions.usageReport, UsageReport, { by: "agent", days })),
    runs: ({ limit }) => patiently(calls.query(functions.runs, Schema.Array(RunView), { ended: false, limit })),
    run: (run) => patiently(calls.query(functions.run, RunDetails, { run })),
    context: context(plane),
    claim: claim(plane),
    renew: renew(plane),
    join: part("join", (fence: Fence, known: number) =>
      Effect.map(
        calls.mutation(functions.join, JoinAnswer, { ...exactly(fence), known, settings: settingsOf(config) }),
        ({ events }) => events
      )
    ),
    complete: part("complete", complete(plane, completions)),
    fail: part("fail", fail(plane)),
    release: part("release", release(plane)),
    allow: part("allow", (fence: Fence, usedTokens: number) =>
      patiently(calls.mutation(functions.allowUsage, Allowed, { ...exactly(fence), usedTokens }))
    ),
    recordUsage: Effect.fnUntraced(function* (fence: Fence, usage: SpentUsage) {
      const args = { ...exactly(fence), usage, ...(yield* traceOf(telemetry)) }
      yield* patiently(calls.mutation(functions.recordUsage, Schema.Null, args))
    }),
    updateAgentHeartbeat: part("updateAgentHeartbeat", updateAgentHeartbeat(plane)),
    pulse: pulse(plane),
    reportProgress: reportProgress(plane),
    acknowledge: (options) =>
      Effect.asVoid(calls.mutation(functions.acknowledge, Schema.Null, { ...plane.self, ...options }))
  })
})
