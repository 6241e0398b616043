/** The claim: who gets which work, and what becomes of leases whose process does not name them. */
import type { ArgumentsOf, functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { BrokenRun, ClaimAnswer as RunAnswer, RenewAnswer } from "../../src/domain/delivery/Run.ts"
import { momentAfter, urgencyOf } from "./queueEnds.ts"
import { QueueJoins } from "./queueJoins.ts"
import { byOrder, heartbeatRun, isSuspect, least, Refusal } from "./queueState.ts"
import type { Lease, LeaseName, Notification, Session } from "./queueState.ts"
import { shares } from "./usageModel.ts"

export type ClaimRequest = Omit<ArgumentsOf<typeof functions.claim>, "protocol">
type Renewal = ArgumentsOf<typeof functions.renew>
/** A claimed run without its context. */
export type ClaimedRun = Omit<BrokenRun, "broken">
export type ClaimAnswer = Omit<RunAnswer, "runs" | "now"> & { readonly runs: ReadonlyArray<ClaimedRun> }

/** A heartbeat that the budget keeps waiting is tried again after so long at the latest. */
const HELD_HEARTBEAT = 60 * 60 * 1_000

/** One claim at work. */
interface Taking {
  readonly now: number
  readonly request: ClaimRequest
  readonly runs: Array<ClaimedRun>
  readonly spent: Array<string>
  heldBack: number
  hasMore: boolean
  hasMoreHeartbeats: boolean
}

/** The queue of one account. */
export class QueueModel extends QueueJoins {
  /** The first pulse of a new boot ends the leases of earlier boots of its RUNTIME_ID; answers how many. */
  boot(now: number, runtimeId: string, bootId: string): number {
    return this.transact(now, () => {
      const known = this.boots.get(runtimeId)
      if (known?.bootId === bootId) return 0
      if (known?.former.includes(bootId) === true) throw new Refusal("conflict")
      const former = known === undefined ? [] : [known.bootId, ...known.former]
      this.boots.set(runtimeId, { bootId, former, lastClaim: 0, hasEnded: false })
      const left = [...this.sessions.values()].filter(({ lease }) => lease?.runtimeId === runtimeId)
      for (const session of left) this.rescue(now, session, null)
      return left.length
    })
  }

  private mustBeCurrent(runtimeId: string, bootId: string) {
    const boot = this.boots.get(runtimeId)
    if (boot?.bootId !== bootId) throw new Refusal("conflict")
    return boot
  }

  /** Ends the lease of a process that is gone: the attempt stays spent, and a crash is counted. */
  private rescue(now: number, session: Session, endedBy: string | null): void {
    const { lease } = session
    if (lease !== null && !this.mistakes.has("a rescue that records no usage")) this.spendUnknown(now, session, lease)
    if (session.recalled !== null) return this.free(now, session, "recalled", { endedBy })
    if (lease?.kind === "heartbeat") this.crashHeartbeat(now, session)
    const row = lease?.kind === "notification" ? this.row(lease.run) : null
    if (row?.state === "claimed") {
      row.crashes += 1
      if (this.mistakes.has("attempts counted only on failure")) row.attempts -= 1
      this.set(now, row, "ready")
    }
    this.free(now, session, "rescue", { endedBy })
  }

  private spendUnknown(now: number, { id }: Session, { allowance, epoch, run }: Lease): void {
    this.usage.end(now, { run, session: id, epoch }, "unknown", allowance)
  }

  /** The moments at which time alone makes work claimable: due notifications and heartbeats, and expired leases. */
  private moments(now: number, isOther: (lease: Lease) => boolean): ReadonlyArray<number | null> {
    const isBehindTurn = ({ agent, readyAt, session }: Notification) =>
      readyAt <= now && (this.sessions.get(session)?.lease !== null || this.isHeld(agent))
    return [
      ...[...this.notifications.values()].map((row) =>
        row.state === "ready" && !isBehindTurn(row) ? row.readyAt : null
      ),
      ...[...this.heartbeats.values()].map((heartbeat) => this.heartbeatAt(heartbeat)),
      ...[...this.sessions.values()].map(({ lease }) => (lease !== null && isOther(lease) ? lease.expiresAt : null))
    ]
  }

  /** The next of these moments for a claim of this boot. */
  nextDueAt(now: number, bootId: string): number | null {
    const moments = this.moments(now, (lease) => lease.bootId !== bootId)
    return least(moments.map((at) => (at !== null && at > now ? at : null)))
  }

  /** As nextDueAt, but overdue work counts as due now, since this runtime may not have seen it come. */
  pulseDueAt(now: number, runtimeId: string): number | null {
    const at = least(this.moments(now, (lease) => lease.runtimeId !== runtimeId || lease.expiresAt <= now))
    return at === null ? null : Math.max(now, at)
  }

  /** Extends the leases that are held; answers the others, and whether this boot has one that was not named. */
  renew(now: number, args: Renewal): Omit<RenewAnswer, "now"> {
    const { bootId, leases, runtimeId } = args
    this.mustBeCurrent(runtimeId, bootId)
    const lost: Array<RenewAnswer["lost"][number]> = []
    for (const { epoch, session } of leases) {
      const { lease = null, recalled = null } = this.sessions.get(session) ?? {}
      const isHeld = lease?.epoch === epoch && lease.bootId === bootId
      if (isHeld && recalled === null) lease.expiresAt = now + args.leaseMs
      else lost.push({ session, epoch, ...(isHeld && recalled !== null ? { recalled } : {}) })
    }
    const news = this.news.filter((each) => contains(leases, each) && !contains(lost, each))
    return { lost, news, hasUnnamed: this.leasedBy(bootId).some((session) => !isNamed(session, leases)) }
  }

  private leasedBy(bootId: string): Array<Session & { readonly lease: Lease }> {
    return [...this.sessions.values()]
      .filter((session): session is Session & { readonly lease: Lease } => session.lease?.bootId === bootId)
      .toSorted((left, right) => left.lease.expiresAt - right.lease.expiresAt || left.seq - right.seq)
  }

  claim(now: number, request: ClaimRequest): ClaimAnswer {
    return this.transact(now, () => {
      const { bootId, limit, number, runtimeId } = request
      const boot = this.mustBeCurrent(runtimeId, bootId)
      if (boot.hasEnded && !this.mistakes.has("a claim after the last one")) throw new Refusal("conflict")
      const nothing = {
        runs: [],
        spent: [],
        heldBack: 0,
        hasMore: false,
        hasMoreHeartbeats: false,
        nextDueAt: null,
        oldest: null
      }
      this.rescueAbandoned(now, request)
      if (limit === 0) {
        boot.hasEnded = true
        this.releaseAll(now, request)
        return nothing
      }
      const isLate = number <= boot.lastClaim && !this.mistakes.has("a late claim that leases")
      if (isLate) return nothing
      for (const session of this.unnamed(request)) {
        if (session.recalled === null) continue
        this.spendUnknown(now, session, session.lease)
        this.free(now, session, "recalled", { endedBy: bootId })
      }
      if (this.isPaused) return nothing
      const taking: Taking = {
        now,
        request,
        runs: [],
        spent: [],
        heldBack: 0,
        hasMore: false,
        hasMoreHeartbeats: false
      }
      this.offerAgain(taking)
      this.rescueExpired(taking)
      this.takeNotifications(taking)
      this.takeHeartbeats(taking)
      const { hasMore, hasMoreHeartbeats, heldBack, runs, spent } = taking
      if (runs.length > 0 || request.recoverUnnamed) boot.lastClaim = Math.max(boot.lastClaim, number)
      const nextDueAt = this.nextDueAt(now, bootId)
      return { runs, spent, heldBack, hasMore, hasMoreHeartbeats, nextDueAt, oldest: this.oldest(now) }
    })
  }

  private rescueAbandoned(now: number, { abandoned, bootId }: ClaimRequest): void {
    if (this.mistakes.has("an abandoned run not rescued")) return
    for (const session of this.leasedBy(bootId)) if (isNamed(session, abandoned)) this.rescue(now, session, bootId)
  }

  /** Leases of the boot that it neither names as held nor as abandoned. */
  private unnamed({ abandoned, bootId, held }: ClaimRequest) {
    return this.leasedBy(bootId).filter((session) => !isNamed(session, held) && !isNamed(session, abandoned))
  }

  /** The last claim of a process: what it does not name is released without counting. */
  private releaseAll(now: number, request: ClaimRequest): void {
    if (this.mistakes.has("a last claim that leaves leases behind")) return
    for (const session of this.unnamed(request)) {
      if (this.mistakes.has("a last claim that counts attempts")) this.rescue(now, session, request.bootId)
      else {
        this.spendUnknown(now, session, session.lease)
        this.releaseLease(now, session)
      }
    }
  }

  private releaseLease(now: number, session: Session & { readonly lease: Lease }): void {
    const { bootId, kind, run } = session.lease
    if (session.recalled !== null) return this.free(now, session, "recalled", { endedBy: bootId })
    const heartbeat = this.heartbeatOf(session)
    if (heartbeat !== null) Object.assign(heartbeat, { at: heartbeat.dueAt, attempts: heartbeat.attempts - 1 })
    if (kind === "notification") this.uncount(now, this.row(run), bootId)
    this.free(now, session, "last claim", { endedBy: bootId })
  }

  /** Offers the unnamed leases of the boot again, under a new epoch and with the same attempt. */
  private offerAgain(taking: Taking): void {
    const { now, request, runs } = taking
    const isRecovering = request.recoverUnnamed || request.held.length === 0
    if (!isRecovering || this.mistakes.has("a claim that forgets unnamed leases")) return
    for (const session of this.unnamed(request)) {
      const { lease } = session
      if (this.isHeld(session.agent)) this.releaseLease(now, session)
      else if (runs.length >= request.limit) taking.hasMore = true
      else if (lease.kind === "heartbeat" && this.heartbeatOf(session) === null) this.releaseLease(now, session)
      else {
        if (!this.mistakes.has("an unnamed lease offered again without a new epoch")) session.epoch += 1
        session.lease = { ...lease, epoch: session.epoch, expiresAt: now + request.leaseMs }
        runs.push(this.claimed(now, session, session.lease, lease.epoch))
      }
    }
  }

  /** Rescues the runs of other runtimes whose leases have expired, as many as the limit. */
  private rescueExpired(taking: Taking): void {
    const { now, request } = taking
    const isOther = ({ runtimeId }: Lease) =>
      runtimeId !== request.runtimeId || this.mistakes.has("a named lease taken by its own process")
    const expired = [...this.sessions.values()]
      .filter(({ lease }) => lease !== null && isOther(lease) && lease.expiresAt <= now)
      .toSorted((left, right) => (left.lease?.expiresAt ?? 0) - (right.lease?.expiresAt ?? 0))
      .slice(0, request.limit)
    if (expired.length === request.limit) taking.hasMore = true
    for (const session of expired) this.rescue(now, session, request.bootId)
  }

  /** Whether the process has a suspect run: one that it holds, one of which it may not know, or one of this claim. */
  private hasSuspect({ request: { abandoned, bootId } }: Taking): boolean {
    if (this.mistakes.has("several suspects at once")) return false
    return this.leasedBy(bootId).some((session) => session.lease.isSuspect && !isNamed(session, abandoned))
  }

  /** Takes the first due notification of each due session, in their order, until the limit. */
  private takeNotifications(taking: Taking): void {
    const isEarly = this.mistakes.has("a held notification taken before its time")
    const { now, request, runs, spent } = taking
    const due = [...this.sessions.values()]
      .filter((session) => this.isDue(session, now))
      .map((session) => ({ session, at: this.atOf(session), seq: session.seq }))
      .toSorted(byOrder)
    for (const { session } of due) {
      if (runs.length >= request.limit) {
        taking.hasMore = true
        return
      }
      if (this.isInHeartbeat(session.agent)) continue
      for (const row of this.readyOf(session.id).filter(({ at }) => at <= now)) {
        if (this.attemptsOf(row, request.bootId) >= request.maxAttempts) {
          row.error = { class: "AttemptsSpent", message: "", at: now }
          this.die(now, row, session.epoch)
          this.history.push({ entry: "spent", at: now, run: row.id })
          spent.push(row.id)
        } else if (isSuspect(row) && this.hasSuspect(taking)) taking.hasMore = true
        else if (!(isEarly && row.heldUntil !== null) && this.permit(now, row) === 0) {
          const share = shares[urgencyOf(row)]
          const until = this.usage.heldUntil(now, share)
          const at = isEarly ? now + 1_000 : until
          this.history.push({ entry: "held", at: now, run: row.id, until, share })
          if (row.heldUntil === null) row.heldSince = row.readyAt
          Object.assign(row, { heldUntil: until, at, readyAt: at })
          taking.heldBack += 1
        } else {
          runs.push(this.take(now, session, request, row))
          break
        }
      }
    }
  }

  /** Takes due heartbeats of agents that are idle and have no due notification, within both limits. */
  private takeHeartbeats(taking: Taking): void {
    const { now, request, runs } = taking
    let taken = 0
    const due = [...this.heartbeats.values()]
      .map((heartbeat, seq) => ({ heartbeat, at: this.heartbeatAt(heartbeat), seq }))
      .filter(({ at }) => at !== null && at <= now)
      .toSorted(byOrder)
    for (const { heartbeat } of due) {
      if (runs.length >= request.limit || taken >= request.heartbeatLimit) {
        taking.hasMoreHeartbeats = true
        return
      }
      const isApart = this.mistakes.has("a heartbeat next to a delivery")
      const sessions = this.sessionsOf(heartbeat.agent).filter(({ id }) => !isApart || id === heartbeat.session)
      if (sessions.some((session) => session.lease !== null || this.isDue(session, now))) continue
      if (isSuspect(heartbeat) && !this.isLate(heartbeat, now) && this.hasSuspect(taking)) {
        taking.hasMoreHeartbeats = true
        continue
      }
      if (this.permit(now, null) === 0) {
        const until = this.usage.heldUntil(now, shares[urgencyOf(null)])
        this.moveOn(heartbeat, momentAfter(heartbeat, Math.min(until, now + HELD_HEARTBEAT)))
        taking.heldBack += 1
        continue
      }
      if (this.isLate(heartbeat, now)) this.skipToLatest(heartbeat, now)
      heartbeat.at = null
      heartbeat.attempts += 1
      heartbeat.claims += 1
      taken += 1
      runs.push(this.take(now, this.sessionFor(heartbeat.session, heartbeat.agent), request, null))
    }
  }

  /** How much a run of the notification, or a heartbeat, may spend before it asks again. */
  private permit(now: number, row: Notification | null): number | null {
    return this.usage.permit(now, shares[urgencyOf(row)], this.reserved())
  }

  private attemptsOf(row: Notification, bootId: string): number {
    return this.mistakes.has("retry counter in memory") ? (this.counted.get(`${bootId} ${row.id}`) ?? 0) : row.attempts
  }

  /** Leases the session for the notification, or for its agent's heartbeat. */
  private take(now: number, session: Session, request: ClaimRequest, row: Notification | null): ClaimedRun {
    const { bootId, leaseMs, runtimeId } = request
    if (row !== null) {
      row.attempts += 1
      row.claims += 1
      const { heldUntil } = row
      if (heldUntil !== null) this.history.push({ entry: "resumed", at: now, run: row.id, heldUntil })
      row.heldUntil = null
      const memory = `${bootId} ${row.id}`
      this.counted.set(memory, (this.counted.get(memory) ?? 0) + 1)
      this.set(now, row, "claimed")
      if (row.claims === 1) this.surroundings.turnBegins(row, request.maxTurns)
    }
    const heartbeat = this.heartbeats.get(session.agent)
    const lastDay = dayOf(heartbeat?.lastHeartbeatAt ?? now)
    const isFirstOfDay = lastDay < dayOf(now)
    if ((session.nextGeneration ?? 0) > session.generation) session.historyTokens = null
    const before = session.generation
    session.generation = Math.max(session.generation, session.nextGeneration ?? 0)
    session.nextGeneration = null
    session.epoch += 1
    session.lease = {
      runtimeId,
      bootId,
      epoch: session.epoch,
      attempt: (row === null ? heartbeat?.attempts : this.attemptsOf(row, bootId)) ?? 1,
      run: row?.id ?? (heartbeat === undefined ? "" : heartbeatRun(heartbeat)),
      kind: row === null ? "heartbeat" : "notification",
      isSuspect: isSuspect(row ?? heartbeat ?? { crashes: 0 }),
      generation: session.generation + ((row ?? { runsInNextGeneration: isFirstOfDay }).runsInNextGeneration ? 1 : 0),
      shows: null,
      allowance: this.permit(now, row),
      askedTokens: 0,
      expiresAt: now + leaseMs
    }
    if (session.lease.generation !== before) session.stoppedRuns = []
    return this.claimed(now, session, session.lease, null)
  }

  private claimed(now: number, session: Session, lease: Lease, offeredAgain: number | null): ClaimedRun {
    const { allowance, attempt, bootId, epoch, expiresAt, kind, run } = lease
    const row = this.notifications.get(run)
    const heartbeat = this.heartbeats.get(session.agent)
    const named = { session: session.id, epoch, kind }
    const logged = { ...named, run, bootId, attempt, isSuspect: lease.isSuspect, offeredAgain }
    this.history.push({ entry: "claim", at: now, ...logged })
    const { failures = 0 } = row ?? heartbeat ?? {}
    const readyAt = row?.readyAt ?? heartbeat?.dueAt ?? now
    return { id: run, ...named, expiresAt, attempt, failures, silences: row?.silences ?? 0, readyAt, allowance }
  }

  /** Gives the agent's sessions a new generation, newer than the running one, from their next claim. */
  rotate(agent: string): ReadonlyArray<Session> {
    const rotated = this.sessionsOf(agent)
    if (rotated.length === 0) throw new Refusal("not_found")
    for (const session of rotated) {
      session.nextGeneration = Math.max(session.generation, session.lease?.generation ?? 0) + 1
    }
    return rotated
  }
}

const dayOf = (moment: number): number => Math.floor(moment / 86_400_000)

const contains = (names: ReadonlyArray<LeaseName>, name: LeaseName): boolean =>
  names.some(({ epoch, session }) => session === name.session && epoch === name.epoch)

const isNamed = ({ id, lease }: Session, names: ReadonlyArray<LeaseName>): boolean =>
  lease !== null && contains(names, { session: id, epoch: lease.epoch })
