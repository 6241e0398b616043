import { Clock, Effect, Layer, Queue, Stream } from "effect"
import type { Duration, Result } from "effect"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { Claim, ClaimRequest } from "../../../src/domain/delivery/Claim.ts"
import { leaseKey } from "../../../src/domain/delivery/Run.ts"
import type { Lease, Run, Wake } from "../../../src/domain/delivery/Run.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { sampleRun } from "../../domain/delivery/sampleContext.ts"
import { sampleHeartbeatRun } from "../../domain/heartbeats/sampleHeartbeat.ts"

/** A claimable notification with a session of its own. */
export const notification = (id: string, changes: Partial<Run> = {}): Run => ({
  ...sampleRun({}, { id, session: `session_${id}`, epoch: 1 }),
  ...(changes as object)
})

/** A claimable heartbeat of an agent with this slug. */
export const heartbeat = (slug: string): Run => {
  const { agent } = sampleHeartbeatRun().context
  return sampleHeartbeatRun(
    { agent: { ...agent, id: `agent_${slug}`, slug } },
    { id: `${slug}:1`, session: `session_${slug}`, epoch: 1 }
  )
}

/** A control plane in memory as far as claims, leases and renewals go; tests say what is due and how calls are answered. */
export class QueuePlane {
  readonly calls: Array<ClaimRequest> = []
  /** Due runs. */
  due: Array<Run> = []
  readonly leased = new Map<string, Run>()
  readonly released: Array<string> = []
  readonly rescued: Array<string> = []
  /** Every call that reached it, by name. */
  readonly log: Array<string> = []
  /** What the next claims fail with; whether they leased all the same, their answers lost. */
  failures: Array<ControlPlaneFailure> = []
  isAnswerLost = false
  claimDelay: Duration.Input = 0
  releaseDelay: Duration.Input = 0
  changes: Partial<Claim> = {}
  nextDueIn: number | null = null
  readonly wakes = Effect.runSync(Queue.unbounded<Result.Result<Wake, ControlPlaneFailure>>())
  bug: unknown = null
  /** Lets time make something due. */
  beforeClaim: (now: number) => void = () => undefined

  /** The claims since the last call of this. */
  readonly claims = Effect.sync(() => this.calls.splice(0))

  private readonly lease = (request: ClaimRequest): Array<Run> => {
    const { abandoned, heartbeatLimit, held, limit, recoverUnnamed } = request
    const isNamed = (leases: ReadonlyArray<Lease>, run: Lease) =>
      leases.some((lease) => leaseKey(lease) === leaseKey(run))
    const runs: Array<Run> = []
    for (const [key, run] of this.leased) {
      const isRecovered = limit === 0 || recoverUnnamed || held.length === 0 || isNamed(abandoned, run)
      if (isNamed(held, run) || !isRecovered) continue
      this.leased.delete(key)
      if (limit === 0) this.released.push(run.id)
      else if (isNamed(abandoned, run)) this.rescued.push(run.id)
      else runs.push({ ...run, epoch: run.epoch + 1 })
    }
    const isLeft = (run: Run): boolean => {
      const heartbeats = runs.filter(({ kind }) => kind === "heartbeat").length
      if (runs.length >= limit || (run.kind === "heartbeat" && heartbeats >= heartbeatLimit)) return true
      runs.push(run)
      return false
    }
    const notifications = this.due.filter(({ kind }) => kind === "notification").filter(isLeft)
    const heartbeats = this.due.filter(({ kind }) => kind === "heartbeat").filter(isLeft)
    this.due = [...notifications, ...heartbeats]
    for (const run of runs) this.leased.set(leaseKey(run), run)
    return runs
  }

  private readonly claim = Effect.fnUntraced(
    function* (this: QueuePlane, request: ClaimRequest) {
      this.calls.push(request)
      this.log.push("claim")
      if (this.bug !== null) return yield* Effect.die(this.bug)
      this.beforeClaim(yield* Clock.currentTimeMillis)
      const failure = this.failures.shift()
      const isLeased = failure === undefined || this.isAnswerLost
      const runs = isLeased ? this.lease(request) : []
      const hasMore = this.due.some(({ kind }) => kind === "notification")
      const hasMoreHeartbeats = this.due.some(({ kind }) => kind === "heartbeat")
      yield* Effect.sleep(this.claimDelay)
      if (failure !== undefined) return yield* failure
      const now = yield* Clock.currentTimeMillis
      const nextDueAt = this.nextDueIn === null ? null : now + this.nextDueIn
      const found = { runs, spent: [], heldBack: 0, hasMore, hasMoreHeartbeats, hasUnreadable: false }
      return { ...found, nextDueAt, oldest: null, now, ...this.changes }
    }.bind(this)
  )

  /** An end of the run is stored. */
  readonly end = (run: Lease) =>
    Effect.sync(() => {
      this.log.push("end")
      this.leased.delete(leaseKey(run))
    })

  readonly layer = Layer.mock(ControlPlane, {
    bootId: "boot",
    now: Clock.currentTimeMillis,
    backlog: Effect.suspend((): Effect.Effect<{ oldest: null }, ControlPlaneFailure> => {
      const failure = this.failures.shift()
      return failure === undefined ? Effect.succeed({ oldest: null }) : Effect.fail(failure)
    }),
    wakes: Stream.fromQueue(this.wakes),
    claim: this.claim,
    renew: (leases) =>
      Effect.sync(() => {
        this.log.push("renew")
        const keys = new Set(leases.map(leaseKey))
        return {
          lost: leases.filter((lease) => !this.leased.has(leaseKey(lease))),
          news: [],
          hasUnnamed: [...this.leased.keys()].some((key) => !keys.has(key)),
          now: 0
        }
      }),
    release: (fence) =>
      Effect.sleep(this.releaseDelay).pipe(
        Effect.andThen(this.end(fence)),
        Effect.andThen(Effect.sync(() => void this.released.push(fence.run))),
        Effect.as("ready" as const)
      )
  })
}
