import { Context, Deferred, Duration, Effect, Latch, Layer, Queue, Schedule, Stream } from "effect"
import { describeFailure, LeaseLost } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { leaseKey } from "../domain/delivery/Run.ts"
import type { Lease, LeaseNews, Recall, Wake } from "../domain/delivery/Run.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { noteRefusal } from "./ControlPlaneRefusal.ts"
import { makeFailureStreak } from "./FailureStreak.ts"
import { Lifecycle } from "./Lifecycle.ts"
import { Supervisor } from "./Supervisor.ts"

/** The leases that a claim names. */
export interface NamedLeases {
  readonly held: ReadonlyArray<Lease>
  readonly abandoned: ReadonlyArray<Lease>
}

/** The leases of this process: every claim names them, and one call renews all of them. */
export class Leases extends Context.Service<
  Leases,
  {
    /** Holds the lease until it is dropped or abandoned. */
    hold(lease: Lease): Effect.Effect<void>
    /** The outcome of its run was stored, or the run was aborted with the process. */
    drop(lease: Lease): Effect.Effect<void>
    /** Its run has ended, but its outcome could not be stored: the next claim has it rescued. */
    abandon(lease: Lease): Effect.Effect<void>
    /**
     * Runs the work of a lease. If the lease is recalled or lost, interrupts the work and fails with LeaseLost. Storing
     * the outcome is not part of the work, because only its answer shows whether it was stored.
     */
    during<A, E, R>(lease: Lease, work: Effect.Effect<A, E, R>): Effect.Effect<A, E | LeaseLost, R>
    /** Interrupts the work of held leases that the push lists as recalled, and notes which have new messages. */
    pushed(leases: Pick<Wake, "recalled" | "news">): Effect.Effect<void>
    /** The id of a person's latest message that may join the lease's turn; null if none is known. */
    news(lease: Lease): Effect.Effect<string | null>
    /** Renews all leases now, which reports recalled and lost ones and new messages; for use while push is down. */
    readonly check: Effect.Effect<void>
    readonly named: Effect.Effect<NamedLeases>
    /** A claim that named these leases as abandoned was answered. */
    rescued(abandoned: ReadonlyArray<Lease>): Effect.Effect<void>
    /** Emits for each renewal that reports a lease of this boot which was not named. */
    readonly unnamed: Stream.Stream<void>
  }
>()("runtime-service/services/Leases") {
  static readonly layer = Layer.effect(
    Leases,
    Effect.suspend(() => make)
  )
}

interface Held {
  readonly lease: Lease
  /** A person's latest message that may join the turn. */
  news: string | null
  readonly lost: Deferred.Deferred<never, LeaseLost>
}

/** The messages by their leases. */
const newsIn = (news: ReadonlyArray<LeaseNews>): ReadonlyMap<string, string> =>
  new Map(news.map((each) => [leaseKey(each), each.message]))

const make = Effect.gen(function* () {
  const { deliveryLease } = yield* RuntimeConfig
  const controlPlane = yield* ControlPlane
  const lifecycle = yield* Lifecycle
  const supervisor = yield* Supervisor
  const held = new Map<string, Held>()
  const abandoned = new Map<string, Lease>()
  const isAnyHeld = yield* Latch.make(false)
  const unnamed = yield* Queue.sliding<void>(1)
  const failures = makeFailureStreak()

  const drop = (lease: Lease) =>
    Effect.sync(() => {
      held.delete(leaseKey(lease))
      if (held.size === 0) isAnyHeld.closeUnsafe()
    })

  /** The last lists of the push, because a running claim may return a lease that they contain. */
  let pushed: Pick<Wake, "recalled" | "news"> = { recalled: [], news: [] }

  const lose = (lease: Lease & { readonly recalled?: Recall }) => {
    const known = held.get(leaseKey(lease))
    const reason = lease.recalled === undefined ? {} : { recalled: lease.recalled }
    return known === undefined
      ? Effect.void
      : Effect.asVoid(Deferred.fail(known.lost, new LeaseLost({ function: functions.renew, ...reason })))
  }

  const renewAll = Effect.gen(function* () {
    if (held.size === 0) return
    const answer = yield* controlPlane.renew([...held.values()].map(({ lease }) => lease))
    yield* failures.recovered("leases are renewed again")
    yield* Effect.forEach(answer.lost, lose, { discard: true })
    // A push may have arrived during the call, so that an answer without news proves nothing.
    for (const [key, message] of newsIn(answer.news)) {
      const known = held.get(key)
      if (known !== undefined) known.news = message
    }
    if (answer.hasUnnamed) yield* Queue.offer(unnamed, undefined)
  })

  /** A lease that is not renewed stays valid until another process claims its session. */
  const noteFailure = Effect.fnUntraced(function* (failure: ControlPlaneFailure) {
    if (failure._tag === "BootConflict") return yield* noteRefusal(lifecycle, failure)
    const message = `leases are not renewed: ${describeFailure(failure)}`
    yield* failures.isFirst(failure._tag) ? Effect.logWarning(message) : Effect.logDebug(message)
  })

  const interval = Duration.millis(Duration.toMillis(deliveryLease) / 3)
  const retries = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")]).pipe(
    Schedule.jittered
  )
  const renewals = isAnyHeld.await.pipe(
    Effect.andThen(Effect.sleep(interval)),
    Effect.andThen(
      renewAll.pipe(
        Effect.tapError(noteFailure),
        Effect.retry({ schedule: retries, while: ({ _tag }) => _tag === "ControlPlaneUnavailable" }),
        Effect.ignore
      )
    ),
    Effect.forever
  )
  yield* supervisor.run("lease-renewals", renewals)

  return Leases.of({
    // Copied, because callers pass a run, whose context would be kept in memory.
    hold: ({ epoch, session }) =>
      Effect.suspend(() => {
        const lease = { session, epoch }
        const key = leaseKey(lease)
        held.set(key, { lease, news: newsIn(pushed.news).get(key) ?? null, lost: Deferred.makeUnsafe() })
        isAnyHeld.openUnsafe()
        const known = pushed.recalled.find((each) => leaseKey(each) === key)
        return known === undefined ? Effect.void : lose(known)
      }),
    pushed: (leases) =>
      Effect.suspend(() => {
        pushed = leases
        const news = newsIn(leases.news)
        for (const [key, each] of held) each.news = news.get(key) ?? null
        return Effect.forEach(leases.recalled, lose, { discard: true })
      }),
    news: (lease) => Effect.sync(() => held.get(leaseKey(lease))?.news ?? null),
    check: renewAll.pipe(Effect.tapError(noteFailure), Effect.ignore),
    drop,
    abandon: ({ epoch, session }) => {
      const lease = { session, epoch }
      return Effect.andThen(
        Effect.sync(() => void abandoned.set(leaseKey(lease), lease)),
        drop(lease)
      )
    },
    during: (lease, work) =>
      Effect.suspend(() => {
        const known = held.get(leaseKey(lease))
        return known === undefined
          ? Effect.fail(new LeaseLost({ function: functions.renew }))
          : Effect.raceFirst(work, Deferred.await(known.lost))
      }),
    named: Effect.sync(() => ({
      held: [...held.values()].map(({ lease }) => lease),
      abandoned: [...abandoned.values()]
    })),
    rescued: (leases) => Effect.sync(() => leases.forEach((lease) => void abandoned.delete(leaseKey(lease)))),
    unnamed: Stream.fromQueue(unnamed)
  })
})
