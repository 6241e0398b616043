/** The control plane's heartbeats in memory: leases, identities and moments as the functions on Convex keep them. */
import { Clock, Effect } from "effect"
import { ControlPlaneRefused, LeaseLost } from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import type { Fence } from "../../src/domain/Delivery.ts"
import type { BeatAnswer } from "../../src/domain/Heartbeat.ts"
import type { Roster, RosterAgent } from "../../src/domain/Roster.ts"
import type { ControlPlane } from "../../src/services/ControlPlane.ts"
import { sampleBeatContext } from "../domain/sampleBeat.ts"
import { defaultFlags } from "../domain/sampleContext.ts"

const MINUTE = 60_000
const LEASE_MILLIS = 90_000
const ASK_AGAIN_MILLIS = 15_000

interface Row {
  schedule: RosterAgent["heartbeat"]
  dueAt: number
  followingAt: number | undefined
  notBefore: number
  epoch: number
  failures: number
  requestId: string | undefined
  lease: { readonly expiresAt: number; readonly epoch: number } | null
}

/** One claim as the control plane saw it. */
export interface Asked {
  readonly at: number
  readonly agentId: string
  readonly requestId: string
}

/** An agent of a roster. */
export const agentOf = (id: string, changes: Partial<RosterAgent> = {}): RosterAgent => ({
  id,
  slug: id,
  name: id,
  role: "works",
  isOrchestrator: false,
  flags: defaultFlags,
  heartbeat: 15,
  model: null,
  ...changes
})

export const rosterOf = (revision: number, agents: ReadonlyArray<RosterAgent>): Roster => ({ revision, agents })

/** Where in its window an agent's first beat lies: another place for each number in its id. */
const spread = (id: string): number => ((Number(id.replace(/\D/g, "")) * 37) % 100) / 100

export class BeatPlane {
  readonly rows = new Map<string, Row>()
  readonly agents = new Map<string, RosterAgent>()
  readonly asked: Array<Asked> = []
  /** The identities of the beats that were finished, in their order. */
  readonly finished: Array<{ readonly id: string; readonly at: number }> = []
  readonly givenBack: Array<string> = []
  readonly failed: Array<string> = []
  /** The following moments that were told with claims of beats that are due. */
  readonly reckoned: Array<{ readonly at: number; readonly nextDueAt: number | undefined }> = []
  /** Whether deliveries wait in the sessions of the beats that end. */
  hasWork = false
  /** Answered instead of the next claims. */
  readonly claimFailures: Array<ControlPlaneFailure> = []

  setRoster({ agents }: Roster): void {
    this.agents.clear()
    for (const agent of agents) this.agents.set(agent.id, agent)
  }

  /** How often each beat was finished, by its identity. */
  get counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const { id } of this.finished) counts.set(id, (counts.get(id) ?? 0) + 1)
    return counts
  }

  #following(row: Row, now: number): number {
    if (typeof row.schedule === "string") return row.followingAt ?? now + MINUTE
    const interval = row.schedule * MINUTE
    return row.dueAt + interval * Math.max(1, Math.floor((now - row.dueAt) / interval) + 1)
  }

  #advance(row: Row, now: number): void {
    Object.assign(row, { dueAt: this.#following(row, now), notBefore: 0, failures: 0, followingAt: undefined })
  }

  claimBeat: ControlPlane["Service"]["claimBeat"] = ({ agentId, nextDueAt, requestId }) =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      this.asked.push({ at: now, agentId, requestId })
      const failure = this.claimFailures.shift()
      if (failure !== undefined) return yield* failure
      const agent = this.agents.get(agentId)
      if (agent === undefined) {
        return yield* new ControlPlaneRefused({ function: "claimBeat", code: "not_found", detail: "removed" })
      }
      const { heartbeat } = agent
      let row = this.rows.get(agentId)
      if (row?.lease != null && row.lease.expiresAt > now) {
        const notBefore = Math.min(row.lease.expiresAt, now + ASK_AGAIN_MILLIS)
        return { notBefore, dueAt: row.dueAt, reason: "session_busy", now } satisfies BeatAnswer
      }
      if (row === undefined || row.schedule !== heartbeat) {
        const window = typeof heartbeat === "number" ? Math.min(0.4 * heartbeat * MINUTE, 2 * MINUTE) : 0
        const first = typeof heartbeat === "number" ? now + Math.floor(window * spread(agentId)) : (nextDueAt ?? now)
        const epoch = row?.epoch ?? 0
        row = {
          schedule: heartbeat,
          dueAt: first,
          notBefore: 0,
          epoch,
          failures: 0,
          requestId: undefined,
          lease: null,
          followingAt: undefined
        }
        this.rows.set(agentId, row)
      }
      const wait = (reason: "not_due" | "backing_off", notBefore: number): BeatAnswer => ({
        notBefore,
        dueAt: (row as Row).dueAt,
        reason,
        now
      })
      if (row.dueAt > now) return wait("not_due", row.dueAt)
      this.reckoned.push({ at: now, nextDueAt })
      if (nextDueAt !== undefined && nextDueAt <= now) return wait("not_due", now + 1_000)
      if (row.notBefore > now) return wait("backing_off", row.notBefore)
      row.epoch += 1
      row.followingAt = nextDueAt
      row.lease = { expiresAt: now + LEASE_MILLIS, epoch: row.epoch }
      const id = `${agentId}:${row.dueAt}`
      return {
        claimed: {
          heartbeatId: id,
          session: agentId,
          epoch: row.epoch,
          expiresAt: now + LEASE_MILLIS,
          attempt: 1,
          context: sampleBeatContext({
            heartbeat: { id, dueAt: row.dueAt, schedule: heartbeat, lastHeartbeatAt: null },
            agent: { ...sampleBeatContext().agent, id: agentId, slug: agent.slug, name: agent.name },
            failures: row.failures
          })
        },
        now
      } satisfies BeatAnswer
    })

  #held(fence: Fence): Effect.Effect<Row, LeaseLost> {
    const row = this.rows.get(fence.session)
    return row?.lease?.epoch === fence.epoch
      ? Effect.succeed(row)
      : Effect.fail(new LeaseLost({ function: "updateAgentHeartbeat" }))
  }

  updateAgentHeartbeat: ControlPlane["Service"]["updateAgentHeartbeat"] = (fence) =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      const row = yield* this.#held(fence)
      this.finished.push({ id: `${fence.session}:${row.dueAt}`, at: now })
      this.#advance(row, now)
      row.lease = null
      return { dueAt: row.dueAt, messageId: null, hasWork: this.hasWork, now }
    })

  renew: ControlPlane["Service"]["renew"] = (fence) =>
    Effect.gen({ self: this }, function* () {
      const row = yield* this.#held(fence)
      row.lease = { expiresAt: (yield* Clock.currentTimeMillis) + LEASE_MILLIS, epoch: fence.epoch }
    })

  release: ControlPlane["Service"]["release"] = (fence, shared) =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      const row = yield* this.#held(fence)
      this.givenBack.push(`${fence.session}:${row.dueAt}`)
      row.notBefore = shared === undefined ? 0 : now + shared.retryInMillis
      row.lease = null
      return shared === undefined ? ("ready" as const) : ("waiting" as const)
    })

  fail: ControlPlane["Service"]["fail"] = (fence, failure) =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      const row = yield* this.#held(fence)
      this.failed.push(`${fence.session}:${row.dueAt}`)
      row.failures += 1
      row.notBefore = now + (failure.retryInMillis ?? 0)
      row.lease = null
      if (row.failures < 3) return "waiting" as const
      this.#advance(row, now)
      return "dead" as const
    })
}
