import { Clock, Context, Duration, Effect, Layer, Ref, Result, Schedule, Schema, Semaphore, Stream } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { ControlPlaneUnavailable } from "../domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import { DeadLetter } from "../domain/DeadLetter.ts"
import { Backlog, Claim, FailedState, leaseOf } from "../domain/Delivery.ts"
import type { Failure, Fence, Outcome } from "../domain/Delivery.ts"
import { DeliveryContext } from "../domain/DeliveryContext.ts"
import { BeatAnswer, FinishedBeat } from "../domain/Heartbeat.ts"
import type { BeatReport } from "../domain/Heartbeat.ts"
import { monotonicMillisUnsafe } from "../domain/Monotonic.ts"
import { Profiles } from "../domain/ProfilePlan.ts"
import { Roster } from "../domain/Roster.ts"
import { PulseAnswer, RuntimeCommands } from "../domain/RuntimeCommands.ts"
import {
  AgentSkills,
  AskedResponses,
  AssignedTask,
  ChangedTask,
  LinkedPullRequest,
  LoadedTask,
  MadeTask,
  OneTask,
  PostedMessage,
  RemovedTask,
  SeveralDocuments,
  SeveralTasks,
  StatusChange,
  TaskHistory,
  TaskThread,
  WrittenDocument
} from "../domain/ToolAnswer.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import type { Arguments } from "../layers/ConvexClient.ts"
import { Metrics } from "../layers/Metrics.ts"
import { Telemetry } from "../layers/Telemetry.ts"

/** One delivery's context, or the code that says what of it is gone or damaged. */
export type ContextOrBroken = { readonly context: DeliveryContext } | { readonly broken: string }

/** What the pulse tells about this process. */
export interface PulseReport {
  readonly status: "booting" | "online" | "degraded" | "draining" | "offline"
  readonly reasons: ReadonlyArray<string>
  readonly health: string
  readonly openclawVersion: string | null
}

/** What is said of a command: taken by this boot, how far it is, or how it ended. */
export type CommandResult = "taken" | "progress" | "success" | "failed" | "rolled_back"

const Settled = Schema.Struct({ now: Schema.Finite })
const Renewed = Schema.Struct({ expiresAt: Schema.Finite, now: Schema.Finite })
const Failed = Schema.Struct({ state: FailedState, now: Schema.Finite })
const Released = Schema.Struct({ state: Schema.Literals(["ready", "waiting", "dead"]), now: Schema.Finite })
const DeadLetters = Schema.Array(DeadLetter)
const ContextRow = Schema.Struct({
  id: Schema.String,
  context: Schema.optionalKey(Schema.Unknown),
  broken: Schema.optionalKey(Schema.String)
})

/** What may be said about a task; `dueDate` is epoch milliseconds. */
export interface TaskFields {
  readonly description?: string
  readonly priority?: number
  readonly labels?: ReadonlyArray<string>
  readonly status?: string
  readonly blockedReason?: string
  readonly dueDate?: number
  readonly assigneeSlugs?: ReadonlyArray<string>
}

/** A query that a tool asks. */
type Read<Options, Answer extends Schema.Top> = (options: Options) => Effect.Effect<Answer["Type"], ControlPlaneFailure>

/** A change that a tool makes; a stale fence is refused with LeaseLost before anything is written. */
type Change<Options, Answer extends Schema.Top> = (
  fence: Fence,
  options: Options
) => Effect.Effect<Answer["Type"], ControlPlaneFailure>

/** Callers hand in whatever carries a fence; the functions take nothing beside it. */
const exactly = ({ epoch, session }: Fence): { session: string; epoch: number } => ({ session, epoch })

/** Repeats what may be repeated: the fence and the request id make a second arrival answer as the first. */
const patience = (limit: Duration.Input) =>
  Schedule.exponential("100 millis").pipe(
    (growing) => Schedule.min([growing, Schedule.spaced("5 seconds")]),
    Schedule.jittered,
    Schedule.upTo({ duration: limit })
  )

/**
 * How many outcomes are written at a time. A hundred turns that end together would otherwise stand before the claim that
 * fills their permits again, in our pool of connections and in the control plane, and would end together again. Eight
 * keep a control plane busy that answers after 50 ms and takes 6 ms for each.
 */
const COMPLETIONS_AT_ONCE = 8

/** The control plane as the runtime needs it: what is due, and what became of it, each effect once. */
export class ControlPlane extends Context.Service<
  ControlPlane,
  {
    /** The oldest and newest waiting work, pushed at each change; a failing query is an element. */
    readonly backlog: Stream.Stream<Result.Result<Backlog, ControlPlaneFailure>>
    /** What people ask of this runtime, pushed at each change. */
    readonly commands: Stream.Stream<Result.Result<RuntimeCommands, ControlPlaneFailure>>
    /** The account's agents, pushed at each change of the roster and at no heartbeat. */
    readonly rosters: Stream.Stream<Result.Result<Roster, ControlPlaneFailure>>
    /** The account's agents, asked once. */
    readonly readRoster: Effect.Effect<Roster, ControlPlaneFailure>
    /** Leases up to `permits` free sessions and their first notifications; the same requestId answers alike. */
    claim(options: {
      readonly permits: number
      readonly requestId: string
      readonly parkedAgents: ReadonlyArray<string>
    }): Effect.Effect<Claim, ControlPlaneFailure>
    /**
     * Everything the turns of these notifications need, each on its own: one damaged row leaves the others whole. With the
     * epochs of their leases, in the same order, a row that is another's by now is broken as `lease_lost`.
     */
    context(
      ids: ReadonlyArray<string>,
      epochs?: ReadonlyArray<number>
    ): Effect.Effect<ReadonlyMap<string, ContextOrBroken>, ControlPlaneFailure>
    /** Keeps the lease for another DELIVERY_LEASE_MS; while its end is being written, losing it is no failure. */
    renew(fence: Fence): Effect.Effect<void, ControlPlaneFailure>
    /** Writes reply and outcome in one transaction; fails with LeaseLost, having written nothing, when another holds the session. */
    complete(fence: Fence, outcome: Outcome): Effect.Effect<void, ControlPlaneFailure>
    /** Stores the error and when to try again, or ends the row; says where it stands. */
    fail(fence: Fence, failure: Failure): Effect.Effect<FailedState, ControlPlaneFailure>
    /** Gives the delivery back: for a shared failure with a delay and its class, for a drain without. */
    release(
      fence: Fence,
      shared?: {
        readonly retryInMillis: number
        readonly class: string
        readonly error: string
        readonly limit?: Duration.Duration
      }
    ): Effect.Effect<"ready" | "waiting" | "dead", ControlPlaneFailure>
    /**
     * Leases the agent's session for its heartbeat when that is due, or says when to ask again; the same requestId
     * answers alike. `nextDueAt` is the next moment of a cron `schedule`, the control plane's epoch milliseconds; one
     * that has passed, or was reckoned by a schedule that holds no more, is answered with `not_due`.
     */
    claimBeat(options: {
      readonly agentId: string
      readonly requestId: string
      readonly parkedAgents: ReadonlyArray<string>
      readonly nextDueAt?: number
      readonly schedule?: string
    }): Effect.Effect<BeatAnswer, ControlPlaneFailure>
    /** Ends a beat with its status and what it says in a thread, in one transaction; answers when the next is due. */
    updateAgentHeartbeat(fence: Fence, report: BeatReport): Effect.Effect<typeof FinishedBeat.Type, ControlPlaneFailure>
    /** What the agents' workspaces are made of. */
    readonly profiles: Effect.Effect<Profiles, ControlPlaneFailure>
    /** Presence and health out, commands and reconciliation back: one call a minute. */
    pulse(report: PulseReport): Effect.Effect<PulseAnswer, ControlPlaneFailure>
    /** Says what became of a command; repeating it changes nothing, and one that another boot has taken is refused. */
    acknowledge(options: {
      readonly command: string
      readonly result: CommandResult
      readonly message?: string
    }): Effect.Effect<void, ControlPlaneFailure>
    /** The notifications that were given up, the latest first. */
    readonly deadLetters: Read<{ readonly limit?: number }, typeof DeadLetters>
    readonly loadTask: Read<{ readonly taskId: string; readonly messageLimit?: number }, typeof LoadedTask>
    readonly getTask: Read<{ readonly taskId: string }, typeof OneTask>
    readonly listTasks: Read<
      { readonly status?: string; readonly assigneeSlug?: string; readonly limit?: number },
      typeof SeveralTasks
    >
    readonly searchTasks: Read<{ readonly query: string; readonly limit?: number }, typeof SeveralTasks>
    readonly taskThread: Read<{ readonly taskId: string; readonly limit?: number }, typeof TaskThread>
    readonly taskHistory: Read<
      { readonly taskId: string; readonly messageLimit?: number; readonly activityLimit?: number },
      typeof TaskHistory
    >
    readonly listDocuments: Read<
      { readonly taskId?: string; readonly type?: string; readonly limit?: number },
      typeof SeveralDocuments
    >
    readonly agentSkills: Read<{ readonly agentSlug: string }, typeof AgentSkills>
    readonly setTaskStatus: Change<
      { readonly taskId: string; readonly status: string; readonly blockedReason?: string },
      typeof StatusChange
    >
    /** Once per run and arguments, like every creation: a second identical call answers `repeated`. */
    readonly createTask: Change<TaskFields & { readonly title: string }, typeof MadeTask>
    /** All or nothing. */
    readonly updateTask: Change<TaskFields & { readonly taskId: string; readonly title?: string }, typeof ChangedTask>
    readonly assignTask: Change<
      { readonly taskId: string; readonly assigneeSlugs: ReadonlyArray<string> },
      typeof AssignedTask
    >
    /** Archives the task; what waits for agents about it ends skipped. */
    readonly removeTask: Change<{ readonly taskId: string; readonly reason: string }, typeof RemovedTask>
    readonly linkPullRequest: Change<{ readonly taskId: string; readonly prNumber: number }, typeof LinkedPullRequest>
    readonly upsertDocument: Change<
      {
        readonly title: string
        readonly content: string
        readonly type: string
        readonly documentId?: string
        readonly taskId?: string
      },
      typeof WrittenDocument
    >
    readonly postMessage: Change<{ readonly taskId: string; readonly content: string }, typeof PostedMessage>
    readonly requestResponses: Change<
      { readonly recipientSlugs: ReadonlyArray<string>; readonly message: string; readonly taskId?: string },
      typeof AskedResponses
    >
    /** The control plane's clock, epoch milliseconds, as its answers let us know it. */
    readonly now: Effect.Effect<number>
    /** Identifies this process among those of the same RUNTIME_ID. */
    readonly bootId: string
  }
>()("runtime-service/services/ControlPlane") {
  static readonly layer = Layer.effect(
    ControlPlane,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const convex = yield* ConvexClient
      const metrics = yield* Metrics
      const telemetry = yield* Telemetry
      const clock = yield* Clock.Clock
      // Sorts by the time of the start, so that logs of several boots can be told apart at a glance.
      const bootId = yield* (yield* SecureRandom).ulid
      const self = { runtimeId: config.runtimeId, bootId }
      // Convex's clock minus one that nobody sets: what we send and get as moments is in its time. Until its first answer
      // our own time of day stands for its.
      const skew = yield* Ref.make(clock.currentTimeMillisUnsafe() - monotonicMillisUnsafe(clock))
      const noteTime = (now: number) => Ref.set(skew, now - monotonicMillisUnsafe(clock))

      const call = <A>(
        kind: "query" | "mutation",
        path: string,
        schema: Schema.Codec<A, unknown>,
        args: Arguments
      ): Effect.Effect<A, ControlPlaneFailure> => {
        const decode = Schema.decodeUnknownEffect(schema)
        return Effect.suspend(() => {
          const startedAt = clock.currentTimeMillisUnsafe()
          return convex[kind](path, args).pipe(
            Effect.flatMap((value) =>
              decode(value).pipe(
                Effect.mapError(
                  (error) =>
                    new ControlPlaneUnavailable({
                      function: path,
                      detail: `the answer has another shape than this version expects: ${error.message.slice(0, 300)}`
                    })
                )
              )
            ),
            Effect.onExit((exit) =>
              metrics.controlPlaneCalled(
                path,
                exit._tag === "Success" ? "success" : "failure",
                clock.currentTimeMillisUnsafe() - startedAt
              )
            )
          )
        })
      }
      const persistent =
        (limit: Duration.Input, passing: ReadonlyArray<ControlPlaneFailure["_tag"]>) =>
        <A>(effect: Effect.Effect<A, ControlPlaneFailure>): Effect.Effect<A, ControlPlaneFailure> =>
          Effect.retry(effect, { schedule: patience(limit), while: ({ _tag }) => passing.includes(_tag) })
      // What became of a turn is worth waiting for a token that is just being changed: the turn is over and paid for.
      const settled = persistent("2 minutes", ["ControlPlaneUnavailable", "TokenRefused"])
      const patient = persistent("20 seconds", ["ControlPlaneUnavailable"])
      const followed = <A>(path: string, schema: Schema.Codec<A, unknown>, args: Arguments) => {
        const decode = Schema.decodeUnknownResult(schema)
        return Stream.map(convex.subscribe(path, args), (result) =>
          Result.flatMap(result, (value) =>
            Result.mapError(
              decode(value),
              (error) => new ControlPlaneUnavailable({ function: path, detail: error.message.slice(0, 300) })
            )
          )
        )
      }
      /** Leases whose end is being written. */
      const ending = new Set<string>()
      /** What ends a lease: only its own answer says whether it was written, repeated or not. */
      const endOf = <A>(fence: Fence, write: Effect.Effect<A, ControlPlaneFailure>) => {
        const lease = leaseOf(fence)
        return Effect.acquireUseRelease(
          Effect.sync(() => void ending.add(lease)),
          () => settled(write),
          () => Effect.sync(() => void ending.delete(lease))
        )
      }
      const inConvexTime = (millis: number) =>
        Effect.map(Ref.get(skew), (offset) => Math.round(monotonicMillisUnsafe(clock) + offset + millis))

      /** The call as a part of its run's trace. */
      const traced = <Args extends ReadonlyArray<unknown>, A>(
        name: string,
        run: (...args: Args) => Effect.Effect<A, ControlPlaneFailure>
      ): ((...args: Args) => Effect.Effect<A, ControlPlaneFailure>) => {
        if (!telemetry.isOn) return run
        const span = telemetry.span(`ControlPlane.${name}`, { kind: "client" })
        return (...args) => span(run(...args))
      }

      /** The attempt's trace, kept with what becomes of it. */
      const trace: Effect.Effect<Arguments> = telemetry.isOn
        ? Effect.map(telemetry.attempt, (attempt) => ({ ...attempt }))
        : Effect.succeed({})

      const claim = Effect.fn("ControlPlane.claim")(function* (options: {
        readonly permits: number
        readonly requestId: string
        readonly parkedAgents: ReadonlyArray<string>
      }) {
        const answer = yield* call("mutation", "service/notifications:claim", Claim, {
          ...self,
          requestId: options.requestId,
          limit: options.permits,
          leaseMs: Duration.toMillis(config.deliveryLease),
          maxAttempts: config.deliveryMaxAttempts,
          parkedAgents: [...options.parkedAgents]
        })
        yield* noteTime(answer.now)
        return answer
      })

      const context = Effect.fn("ControlPlane.context")(function* (
        ids: ReadonlyArray<string>,
        epochs?: ReadonlyArray<number>
      ) {
        const rows = yield* patient(
          call("query", "service/notifications:context", Schema.Array(ContextRow), {
            ids: [...ids],
            ...(epochs === undefined ? {} : { epochs: [...epochs] })
          })
        )
        const decode = Schema.decodeUnknownEffect(DeliveryContext)
        const contexts = new Map<string, ContextOrBroken>()
        for (const row of rows) {
          const decoded = yield* Effect.result(decode(row.context))
          contexts.set(
            row.id,
            row.broken !== undefined
              ? { broken: row.broken }
              : Result.isSuccess(decoded)
                ? { context: decoded.success }
                : { broken: `damaged: ${decoded.failure.message.slice(0, 200)}` }
          )
        }
        return contexts
      })

      const renew = Effect.fn("ControlPlane.renew")(function* (fence: Fence) {
        const answer = yield* patient(
          call("mutation", "service/notifications:renew", Renewed, {
            ...self,
            ...exactly(fence),
            leaseMs: Duration.toMillis(config.deliveryLease)
          })
        ).pipe(
          // Perhaps by that end, whose answer is still on its way: it says so itself.
          Effect.catchIf(
            (failure) => failure._tag === "LeaseLost" && ending.has(leaseOf(fence)),
            () => Effect.succeed(null)
          )
        )
        if (answer !== null) yield* noteTime(answer.now)
      })

      const completions = yield* Semaphore.make(COMPLETIONS_AT_ONCE)
      const complete = Effect.fn("ControlPlane.complete")(function* (fence: Fence, outcome: Outcome) {
        const { refused, usage, ...rest } = outcome
        const write = call("mutation", "service/notifications:complete", Settled, {
          ...exactly(fence),
          ...rest,
          ...(refused === undefined ? {} : { refused: refused.map((row) => ({ ...row })) }),
          ...(usage === undefined ? {} : { usage: { ...usage } }),
          ...(yield* trace),
          maxHops: config.maxAgentHops
        })
        yield* endOf(fence, completions.withPermit(write))
      })

      const fail = Effect.fn("ControlPlane.fail")(function* (fence: Fence, failure: Failure) {
        const { refused, retryInMillis, ...rest } = failure
        const nextAttemptAt = retryInMillis === undefined ? undefined : yield* inConvexTime(retryInMillis)
        const { state } = yield* endOf(
          fence,
          call("mutation", "service/notifications:fail", Failed, {
            ...exactly(fence),
            ...rest,
            ...(nextAttemptAt === undefined ? {} : { nextAttemptAt }),
            ...(refused === undefined || refused.length === 0 ? {} : { refused: refused.map((row) => ({ ...row })) }),
            ...(yield* trace),
            silenceLimit: config.noResponseLimit,
            maxHops: config.maxAgentHops
          })
        )
        return state
      })

      const release = Effect.fn("ControlPlane.release")(function* (
        fence: Fence,
        shared?: {
          readonly retryInMillis: number
          readonly class: string
          readonly error: string
          readonly limit?: Duration.Duration
        }
      ) {
        const { state } = yield* endOf(
          fence,
          call("mutation", "service/notifications:release", Released, {
            ...exactly(fence),
            ...(yield* trace),
            ...(shared === undefined
              ? {}
              : {
                  nextAttemptAt: yield* inConvexTime(shared.retryInMillis),
                  class: shared.class,
                  error: shared.error,
                  ...(shared.limit === undefined ? {} : { sharedLimitMs: Duration.toMillis(shared.limit) })
                })
          })
        )
        return state
      })

      const claimBeat = Effect.fn("ControlPlane.claimBeat")(function* (options: {
        readonly agentId: string
        readonly requestId: string
        readonly parkedAgents: ReadonlyArray<string>
        readonly nextDueAt?: number
        readonly schedule?: string
      }) {
        const answer = yield* call("mutation", "service/sessions:claimBeat", BeatAnswer, {
          ...self,
          ...options,
          parkedAgents: [...options.parkedAgents],
          leaseMs: Duration.toMillis(config.deliveryLease)
        })
        yield* noteTime(answer.now)
        return answer
      })

      const updateAgentHeartbeat = Effect.fn("ControlPlane.updateAgentHeartbeat")(function* (
        fence: Fence,
        { message, ...report }: BeatReport
      ) {
        const answer = yield* endOf(
          fence,
          call("mutation", "service/agents:updateAgentHeartbeat", FinishedBeat, {
            ...exactly(fence),
            ...report,
            ...(message === undefined ? {} : { message: { ...message } }),
            ...(yield* trace),
            maxHops: config.maxAgentHops
          })
        )
        yield* noteTime(answer.now)
        return answer
      })

      const pulse = Effect.fn("ControlPlane.pulse")(function* (report: PulseReport) {
        const orNull = <A>(option: { readonly _tag: string; readonly value?: A }): A | null => option.value ?? null
        const answer = yield* call("mutation", "service/runtimes:pulse", PulseAnswer, {
          ...self,
          status: report.status,
          reasons: [...report.reasons],
          health: report.health,
          versions: { runtime: config.runtimeVersion, openclaw: report.openclawVersion },
          infrastructure: {
            dropletId: orNull(config.dropletId),
            ipAddress: orNull(config.dropletIp),
            region: orNull(config.dropletRegion)
          },
          intervalMs: Duration.toMillis(config.healthCheckInterval)
        })
        yield* noteTime(answer.now)
        return answer
      })

      const acknowledge = Effect.fn("ControlPlane.acknowledge")(function* (options: {
        readonly command: string
        readonly result: CommandResult
        readonly message?: string
      }) {
        yield* call("mutation", "service/runtimes:acknowledge", Schema.Null, { ...self, ...options })
      })

      const read =
        <A>(path: string, schema: Schema.Codec<A, unknown>) =>
        (options: object) =>
          patient(call("query", path, schema, { ...options }))
      const change =
        <A>(path: string, schema: Schema.Codec<A, unknown>) =>
        (fence: Fence, options: object) =>
          patient(call("mutation", path, schema, { ...options, ...exactly(fence), maxHops: config.maxAgentHops }))

      return ControlPlane.of({
        backlog: followed("service/notifications:backlog", Backlog, {}),
        commands: followed("service/runtimes:commands", RuntimeCommands, { runtimeId: config.runtimeId }),
        rosters: followed("service/agents:list", Roster, {}),
        readRoster: traced("readRoster", () => call("query", "service/agents:list", Roster, {}))(),
        profiles: traced("profiles", () => patient(call("query", "service/agents:profiles", Profiles, {})))(),
        claim,
        context,
        renew,
        complete: traced("complete", complete),
        fail: traced("fail", fail),
        release: traced("release", release),
        claimBeat,
        updateAgentHeartbeat: traced("updateAgentHeartbeat", updateAgentHeartbeat),
        pulse,
        acknowledge,
        deadLetters: read("service/notifications:deadLetters", DeadLetters),
        loadTask: read("service/tasks:load", LoadedTask),
        getTask: read("service/tasks:get", OneTask),
        listTasks: read("service/tasks:list", SeveralTasks),
        searchTasks: read("service/tasks:search", SeveralTasks),
        taskThread: read("service/tasks:thread", TaskThread),
        taskHistory: read("service/tasks:history", TaskHistory),
        listDocuments: read("service/documents:list", SeveralDocuments),
        agentSkills: read("service/agents:skills", AgentSkills),
        setTaskStatus: change("service/tasks:setStatus", StatusChange),
        createTask: change("service/tasks:create", MadeTask),
        updateTask: change("service/tasks:update", ChangedTask),
        assignTask: change("service/tasks:assign", AssignedTask),
        removeTask: change("service/tasks:remove", RemovedTask),
        linkPullRequest: change("service/tasks:linkPullRequest", LinkedPullRequest),
        upsertDocument: change("service/documents:upsert", WrittenDocument),
        postMessage: change("service/messages:post", PostedMessage),
        requestResponses: change("service/responseRequests:create", AskedResponses),
        now: inConvexTime(0),
        bootId
      })
    })
  )
}
