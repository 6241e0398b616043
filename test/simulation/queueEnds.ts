/** How runs end, what a run may do under its fence, and the schedule of heartbeats. */
import { Cron, Result } from "effect"
import type { ArgumentsOf, functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { Allowed, FailedState, RefusedEvent, ReleasedState } from "../../src/domain/delivery/Run.ts"
import { acceptedOf, heartbeatRun, isOwed, QueueState, Refusal, unlimited } from "./queueState.ts"
import type { Cause, EndKind, Fence, Heartbeat, Lease, Notification, Outcome, RunKind, Session } from "./queueState.ts"
import { shares } from "./usageModel.ts"

/** A run as its effects see it; a heartbeat has no notification. */
export interface Run {
  readonly id: string
  readonly kind: RunKind
  readonly agent: string
  readonly row: Notification | null
}

/** The end of an attempt, with what it spent. */
type Ended = Fence & Pick<ArgumentsOf<typeof functions.complete>, "usage">
export type Completion = ArgumentsOf<typeof functions.complete>
export type Failure = ArgumentsOf<typeof functions.fail>
export type Release = ArgumentsOf<typeof functions.release>

/** After so many own failures and crashes a heartbeat is given up. */
const HEARTBEAT_FAILURES = 3

/** Why work is done: heartbeats and passive updates stop first, people's messages last. */
export const urgencyOf = (row: Notification | null): keyof typeof shares => {
  if (row === null || !isOwed(row.events)) return "passive"
  return row.events.some(({ actor }) => actor.type === "person") ? "person" : "own"
}

/** A heartbeat that was never tried. */
const untried = { attempts: 0, claims: 0, failures: 0, crashes: 0 }

/** The moments at which a schedule fires: the first one strictly after a time, and the last one until it. */
export const momentAfter = ({ dueAt, schedule }: Pick<Heartbeat, "dueAt" | "schedule">, after: number): number => {
  const since = Math.max(dueAt, after)
  if (typeof schedule === "string") return Cron.next(Result.getOrThrow(Cron.parse(schedule, "UTC")), since).getTime()
  const interval = schedule * 60_000
  return dueAt + (Math.floor((since - dueAt) / interval) + 1) * interval
}
const latestMoment = (heartbeat: Pick<Heartbeat, "dueAt" | "schedule">, until: number): number => {
  let moment = heartbeat.dueAt
  for (let next = moment; next <= until; next = momentAfter({ ...heartbeat, dueAt: next }, next)) moment = next
  return moment
}

/** The ends of the runs of one account. */
export class QueueEnds extends QueueState {
  private readonly ledger = new Map<string, object>()
  /** For the mistake "retry counter in memory": attempts as each boot counted them. */
  protected readonly counted = new Map<string, number>()

  /** The session whose lease the fence names, expired or not; `lease_lost` otherwise. */
  held(fence: Fence, isUnfenced = false): { readonly session: Session; readonly lease: Lease } {
    const session = this.sessions.get(fence.session)
    const lease = session?.lease ?? null
    const isRecalled = session?.recalled !== null && !this.mistakes.has("a stop that does not fence")
    const isNamed = lease?.epoch === fence.epoch && lease.run === fence.run && !isRecalled
    if (session === undefined || lease === null || !(isNamed || isUnfenced)) {
      const reason = session?.epoch === fence.epoch ? session.recalled : null
      throw new Refusal("lease_lost", reason)
    }
    return { session, lease }
  }

  /** Ends the run that the fence names; a repeated call is answered as the first time. */
  private ending<A extends object>(
    now: number,
    fence: Ended,
    kind: EndKind,
    end: (session: Session, lease: Lease, row: Notification | null) => A
  ): A {
    return this.transact(now, () => {
      const live = this.sessions.get(fence.session)
      const isHeld = live?.lease?.epoch === fence.epoch && live.recalled === null
      const known = [...this.notifications.values(), ...this.heartbeats.values()].find(
        (work) => work.end?.run === fence.run && work.end.epoch === fence.epoch && work.session === fence.session
      )?.end
      if (!isHeld && known?.kind === kind) return known.answer as A
      const { lease, session } = this.held(fence, kind === "complete" && this.mistakes.has("unfenced complete"))
      if (!this.mistakes.has("an end that records no usage") || kind !== "fail") {
        const attempt = { run: lease.run, session: session.id, epoch: lease.epoch }
        this.usage.end(now, attempt, fence.usage, lease.allowance)
      }
      const row = lease.kind === "notification" ? this.row(lease.run) : null
      const work = row ?? this.heartbeats.get(session.agent) ?? null
      const answer = end(session, lease, row)
      if (work !== null) work.end = { run: fence.run, epoch: fence.epoch, kind, answer }
      return answer
    })
  }

  complete(now: number, args: Completion): { readonly messageId: string | null } {
    return this.ending(now, args, "complete", (session, lease, row) => {
      if (row === null) throw new Refusal("invalid")
      const reply = args.reply?.trim() ?? ""
      const isReplied = reply !== ""
      if (args.outcome === "replied" && !isReplied) throw new Refusal("invalid")
      const unshown = this.takeUnshown(row, args.epoch, args.joined)
      this.noteHistory(session, lease, args.requestTokens)
      this.free(now, session, "complete", { outcome: args.outcome, epoch: args.epoch }, args.turn)
      this.judge(row, args.refused)
      let messageId: string | null = null
      if (args.outcome === "fallback") {
        messageId = this.fallback(row, args.epoch)
        row.hasFallback = true
      } else if (this.surroundings.hasTask(row.task)) {
        const kind = isReplied ? "reply" : "note"
        const content = isReplied ? reply : (args.note?.trim() ?? "")
        if (content !== "") messageId = this.surroundings.post(row, args.epoch, { kind, content }, args.settings)
        if (args.outcome === "replied" || args.outcome === "acted") this.surroundings.beginWork(row, args.settings)
      }
      this.deliver(now, row, args.outcome)
      this.requeueUnshown(now, row, unshown)
      session.generation = lease.generation
      if (args.isHistoryLong === true && this.readyOf(session.id).length === 0) {
        session.nextGeneration = Math.max(session.nextGeneration ?? 0, session.generation + 1)
      }
      if (args.turn === "answered") session.stoppedRuns = []
      if (args.outcome === "stopped" && !session.stoppedRuns.includes(row.id)) session.stoppedRuns.push(row.id)
      return { messageId }
    })
  }

  /** A history that became shorter has lost what it held before. */
  private noteHistory(session: Session, { epoch, generation }: Lease, tokens: Completion["requestTokens"]): void {
    if (tokens === undefined) return
    const isShorter = generation === session.generation && tokens.first < 0.9 * (session.historyTokens ?? 0)
    if (isShorter && !this.mistakes.has("a delta on a history that was seen to be shorter")) session.historyFrom = epoch
    session.historyTokens = tokens.least
  }

  fail(now: number, args: Failure): { readonly state: FailedState } {
    const { class: kind, nextAttemptAt, silence } = args
    const retryIn = nextAttemptAt === undefined ? null : nextAttemptAt - now
    return this.ending(now, args, "fail", (session, lease, row) => {
      if (row === null) {
        const state = this.failHeartbeat(now, session, nextAttemptAt)
        const isOver = state === "dead"
        this.free(now, session, "fail", { isSilence: silence, class: kind, retryIn: isOver ? null : retryIn })
        if (args.rotate === true) {
          session.nextGeneration = Math.max(session.nextGeneration ?? 0, lease.generation + 1)
        }
        return { state }
      }
      this.free(now, session, "fail", { isSilence: silence, class: kind, retryIn })
      row.failures += 1
      row.silences += silence ? 1 : 0
      row.crashes = 0
      row.sharedSince = null
      this.noteError(now, row, args)
      const isSilenceLimit = silence && row.silences >= args.silenceLimit
      const isOver = isSilenceLimit || nextAttemptAt === undefined
      if (isOver) this.requeueUnshown(now, row, this.takeUnshown(row, args.epoch, args.joined))
      else if (this.mistakes.has("joined events lost at a failure")) this.takeUnshown(row, args.epoch)
      if (isSilenceLimit) {
        this.judge(row, args.refused)
        const isRequired = isOwed(acceptedOf(row.events))
        if (isRequired) this.fallback(row, args.epoch)
        row.hasFallback ||= isRequired
        this.deliver(now, row, isRequired ? "fallback" : "skipped")
        return { state: "delivered" }
      }
      if (nextAttemptAt === undefined) {
        this.die(now, row, args.epoch)
        return { state: "dead" }
      }
      this.retry(now, row, nextAttemptAt)
      row.runsInNextGeneration = args.rotate ?? false
      return { state: "ready" }
    })
  }

  /** Ends an attempt that does not count: claimable at once in its old place, or at nextAttemptAt. */
  release(now: number, args: Release): { readonly state: ReleasedState } {
    const { class: kind, nextAttemptAt, sharedLimitMs } = args
    const retryIn = nextAttemptAt === undefined ? null : nextAttemptAt - now
    return this.ending(now, args, "release", (session, { bootId }, row) => {
      const logged = { isShared: retryIn !== null, class: kind ?? null, retryIn }
      if (row === null) {
        const heartbeat = this.heartbeatOf(session)
        if (heartbeat !== null) {
          heartbeat.at = nextAttemptAt ?? heartbeat.dueAt
          heartbeat.attempts -= 1
        }
        this.free(now, session, "release", logged)
        return { state: "ready" }
      }
      this.free(now, session, "release", logged)
      if (nextAttemptAt === undefined) {
        this.uncount(now, row, bootId)
        return { state: "ready" }
      }
      const since = sharedLimitMs === undefined ? null : (row.sharedSince ?? now)
      this.noteError(now, row, args)
      row.failures += 1
      if (since !== null && now - since > (sharedLimitMs ?? 0)) {
        this.die(now, row, args.epoch)
        return { state: "dead" }
      }
      row.sharedSince = since
      this.uncount(now, row, bootId)
      this.retry(now, row, nextAttemptAt)
      return { state: "ready" }
    })
  }

  /** Ends a heartbeat with what the agent says; answers when the next one is due. */
  finishHeartbeat(
    now: number,
    fence: Ended,
    say: (run: Run) => string | null
  ): { readonly dueAt: number; readonly messageId: string | null } {
    return this.ending(now, fence, "heartbeat", (session, lease, row) => {
      if (row !== null) throw new Refusal("invalid")
      const messageId = say({ id: lease.run, kind: "heartbeat", agent: session.agent, row })
      const heartbeat = this.heartbeatOf(session)
      this.free(now, session, "heartbeat")
      session.generation = lease.generation
      // A heartbeat whose schedule changed in the meantime has ended all the same.
      const current = this.heartbeats.get(session.agent)
      if (current !== undefined) current.lastHeartbeatAt = now
      if (heartbeat !== null) this.moveOn(heartbeat, momentAfter(heartbeat, now))
      return { dueAt: this.heartbeats.get(session.agent)?.dueAt ?? now, messageId }
    })
  }

  /** Records what an attempt spent that lost its lease. */
  recordUsage(now: number, { usage, ...fence }: ArgumentsOf<typeof functions.recordUsage>): null {
    const session = this.sessions.get(fence.session)
    const isOf = (run: string) =>
      this.notifications.has(run) ? this.row(run).session === session?.id : run.startsWith(session?.agent ?? "none")
    if (session === undefined || fence.epoch < 1 || fence.epoch > session.epoch || !isOf(fence.run)) {
      throw new Refusal("not_found")
    }
    this.usage.record(now, fence, usage, null)
    return null
  }

  /** Lets a run spend more than its allowance, if the budget does. */
  allow(now: number, { usedTokens, ...fence }: ArgumentsOf<typeof functions.allowUsage>): Allowed {
    const { lease, session } = this.held(fence)
    // A call that arrives after a later one changes nothing.
    if (usedTokens < lease.askedTokens) return { allowance: lease.allowance }
    const row = lease.kind === "heartbeat" ? null : this.row(lease.run)
    const isUnasked = this.mistakes.has("a run that gets more without asking the budget")
    const more = isUnasked
      ? 1_000
      : this.usage.permit(now, shares[urgencyOf(row)], this.reserved(session.id) + usedTokens)
    if (more === 0) return { reason: "the budget is used", until: this.usage.heldUntil(now, shares[urgencyOf(row)]) }
    lease.askedTokens = usedTokens
    lease.allowance = more === null ? null : usedTokens + more
    return { allowance: lease.allowance }
  }

  /** The run of the fence; `lease_lost` if it does not hold. */
  liveRun(fence: Fence, isUnfenced = this.mistakes.has("unfenced tool")): Run {
    const { lease, session } = this.held(fence, isUnfenced)
    const { kind, run: id } = lease
    return { id, kind, agent: session.agent, row: kind === "heartbeat" ? null : this.row(id) }
  }

  /** The effect of a tool under its fence. */
  effect<A extends object>(
    now: number,
    fence: Fence,
    tool: string,
    act: (run: Run) => A,
    creation: string | null = null
  ): A {
    const run = this.liveRun(fence)
    const { epoch, session } = fence
    const result = act(run)
    this.history.push({ entry: "effect", at: now, session, epoch, run: run.id, tool, creation })
    return result
  }

  /** The effect of a tool that creates something: it happens once in a run for the same arguments. */
  creation<A extends object>(
    now: number,
    fence: Fence,
    tool: string,
    creation: string,
    act: (run: Run) => A
  ): A & { readonly repeated: boolean } {
    const { lease } = this.held(fence, this.mistakes.has("unfenced tool"))
    const key = `${lease.run} ${tool} ${creation}`
    const found = this.ledger.get(key)
    if (found !== undefined && !this.mistakes.has("a ledger that forgets")) return { ...(found as A), repeated: true }
    const result = this.effect(now, fence, tool, act, creation)
    this.ledger.set(key, result)
    return { ...result, repeated: false }
  }

  /** Whether the run has created this. */
  hasCreated(run: string, tool: string, creation: string): boolean {
    return this.ledger.has(`${run} ${tool} ${creation}`)
  }

  /** A creation that a person approved: it happens once in the run that asked, without a lease. */
  approvedCreation<A extends object>(run: string, tool: string, creation: string, act: () => A): A {
    const result = act()
    this.ledger.set(`${run} ${tool} ${creation}`, result)
    return { ...result, repeated: false }
  }

  /** The verdicts of an end replace those of an earlier one. */
  private judge(row: Notification, refused: ReadonlyArray<RefusedEvent> | undefined): void {
    if (refused === undefined) return
    for (const [index, event] of row.events.entries()) {
      event.refusal = refused.find((each) => each.event === index)?.reason ?? null
    }
  }

  private deliver(now: number, row: Notification, outcome: Outcome): void {
    row.outcome = outcome
    row.crashes = 0
    this.set(now, row, "delivered")
  }

  private retry(now: number, row: Notification, at: number): void {
    row.at = at
    row.readyAt = at
    if (row.state !== "ready") this.set(now, row, "ready")
  }

  /** Makes a claimed notification ready again in its old place, without its attempt. */
  protected uncount(now: number, row: Notification, bootId: string): void {
    const memory = `${bootId} ${row.id}`
    this.counted.set(memory, Math.max(0, (this.counted.get(memory) ?? 0) - 1))
    row.attempts = Math.max(0, row.attempts - 1)
    this.set(now, row, "ready")
  }

  private noteError(now: number, row: Notification, args: { class?: string; error?: string }): void {
    if (args.class === undefined && args.error === undefined) return
    row.error = { class: args.class ?? "Unknown", message: args.error ?? "", at: now }
  }

  /** Ends it as a dead letter; posts the fallback if an answer was owed. */
  protected die(now: number, row: Notification, epoch: number): void {
    if (isOwed(row.events) && this.fallback(row, epoch) !== null) row.hasFallback = true
    row.crashes = 0
    this.set(now, row, "dead")
  }

  private fallback(row: Notification, epoch: number): string | null {
    if (row.hasFallback || !this.surroundings.hasTask(row.task)) return null
    return this.surroundings.post(row, epoch, { kind: "fallback", content: null }, unlimited)
  }

  // Dead letters, and work that is over.

  private deadLetter(id: string): Notification {
    const row = this.row(id)
    if (row.state !== "dead") throw new Refusal("conflict")
    return row
  }

  /** A dead letter gets a new budget; a fallback it had is not posted twice. */
  retryDeadLetter(now: number, id: string): void {
    this.transact(now, () => {
      this.renewed(now, this.deadLetter(id))
    })
  }

  /** Makes a notification that is over ready with a new budget. */
  private renewed(now: number, row: Notification): void {
    // The agent was removed.
    if (!this.heartbeats.has(row.agent)) throw new Refusal("invalid")
    Object.assign(row, { attempts: 0, failures: 0, silences: 0, crashes: 0 })
    Object.assign(row, { sharedSince: null, runsInNextGeneration: false, outcome: null })
    this.retry(now, row, now)
  }

  discardDeadLetter(now: number, id: string): void {
    this.set(now, this.deadLetter(id), "discarded")
  }

  /** Ends the task's notifications that agents alone caused and no one has tried. */
  skipAgentsOwn(now: number, task: string): void {
    for (const row of this.notifications.values()) {
      const isAgentsOwn = row.claims === 0 && row.events.every(({ actor }) => actor.type === "agent")
      if (row.state !== "ready" || row.task !== task || !isAgentsOwn) continue
      row.outcome = "skipped"
      this.set(now, row, "delivered")
    }
  }

  // Stops.

  /** Ends the ready and running notifications of a task or an agent, and the agent's running heartbeat; answers how many. */
  stopAll(
    now: number,
    by: Cause,
    of: { readonly task?: string; readonly agent?: string },
    exceptRun: string | null = null
  ): number {
    return this.transact(now, () => {
      let stopped = 0
      for (const session of this.sessions.values()) {
        if (session.lease?.kind !== "heartbeat" || session.agent !== of.agent || session.recalled !== null) continue
        const heartbeat = this.heartbeatOf(session)
        this.recall(now, session, "stopped")
        if (heartbeat !== null) this.moveOn(heartbeat, momentAfter(heartbeat, now))
        stopped += 1
      }
      for (const row of this.notifications.values()) {
        if (row.id === exceptRun || (row.task !== of.task && row.agent !== of.agent)) continue
        if (this.stopNotification(now, row, by)) stopped += 1
      }
      return stopped
    })
  }

  private stopNotification(now: number, row: Notification, by: Cause): boolean {
    if (row.state !== "ready" && row.state !== "claimed") return false
    const session = this.sessionFor(row.session, row.agent)
    if (row.state === "claimed") this.recall(now, session, "stopped")
    else if (row.claims > 0 && !session.stoppedRuns.includes(row.id)) session.stoppedRuns.push(row.id)
    if (this.mistakes.has("a stop that leaves work to be retried")) {
      if (row.state === "claimed") this.set(now, row, "ready")
    } else this.deliver(now, row, "stopped")
    if (row.claims > 0) this.surroundings.noteStop(row, by)
    return true
  }

  /** Stops one run; answers what it ended with. */
  stopRun(now: number, by: Cause, run: string): { readonly stopped: number; readonly outcome: string } {
    return this.transact(now, () => {
      const row = this.notifications.get(run)
      if (row !== undefined) {
        if (this.stopNotification(now, row, by)) return { stopped: 1, outcome: "stopped" }
        return { stopped: 0, outcome: row.outcome ?? row.state }
      }
      const heartbeat = this.heartbeats.get(run.split(":")[0] ?? "")
      if (heartbeat === undefined) throw new Refusal("not_found")
      const session = this.sessionFor(heartbeat.session, heartbeat.agent)
      const isCurrent = heartbeatRun(heartbeat) === run
      const isLive = session.lease?.run === run
      if (isLive ? session.recalled !== null : !isCurrent) return { stopped: 0, outcome: "ended" }
      if (isLive) this.recall(now, session, "stopped")
      if (isCurrent) this.moveOn(heartbeat, momentAfter(heartbeat, now))
      return { stopped: 1, outcome: "stopped" }
    })
  }

  // Pauses.

  /** Pauses an agent, or with null the account; `release` takes running turns back without their attempt. */
  pause(now: number, agent: string | null, release: boolean): void {
    this.transact(now, () => {
      if (agent === null) this.isPaused = true
      else this.paused.add(agent)
      if (!release) return
      for (const session of this.sessions.values()) {
        const { lease } = session
        if (lease === null || session.recalled !== null || (agent !== null && session.agent !== agent)) continue
        const heartbeat = this.heartbeatOf(session)
        if (heartbeat !== null) Object.assign(heartbeat, { at: heartbeat.dueAt, attempts: heartbeat.attempts - 1 })
        if (lease.kind === "notification") this.uncount(now, this.row(lease.run), lease.bootId)
        this.recall(now, session, "paused")
      }
    })
  }

  resume(now: number, agent: string | null): void {
    this.transact(now, () => {
      if (agent === null) this.isPaused = false
      else if (this.paused.delete(agent)) {
        const heartbeat = this.heartbeats.get(agent)
        if (heartbeat !== undefined && heartbeat.at !== null) heartbeat.at = heartbeat.dueAt
        this.noteRescheduled(agent)
      }
    })
  }

  /** A stopped notification gets a new budget. */
  runAgain(now: number, id: string): void {
    this.transact(now, () => {
      const row = this.notifications.get(id)
      const isHeartbeat = row === undefined && this.heartbeats.has(id.split(":")[0] ?? "")
      if (row === undefined && !isHeartbeat) throw new Refusal("not_found")
      if (row?.outcome !== "stopped") throw new Refusal("conflict")
      if (!this.surroundings.isOpen(row.task)) throw new Refusal("invalid")
      this.renewed(now, row)
    })
  }

  // Heartbeats.

  /** Gives the agent its heartbeat, or the first moment of its new schedule. */
  schedule(now: number, agent: string, session: string, schedule: number | string): void {
    this.transact(now, () => {
      const found = this.heartbeats.get(agent)
      if (found?.schedule === schedule) return
      const dueAt =
        typeof schedule === "string"
          ? momentAfter({ dueAt: now, schedule }, now)
          : this.surroundings.firstHeartbeatAt(agent, schedule, now)
      const heartbeat = found ?? {
        agent,
        session,
        schedule,
        dueAt,
        at: dueAt,
        ...untried,
        lastHeartbeatAt: null,
        end: null
      }
      this.heartbeats.set(agent, heartbeat)
      heartbeat.schedule = schedule
      this.moveOn(heartbeat, dueAt)
      this.noteRescheduled(agent)
    })
  }

  /** The heartbeat of the session's lease; null if the agent was removed or its schedule changed since. */
  protected heartbeatOf({ agent, lease }: Session): Heartbeat | null {
    const heartbeat = this.heartbeats.get(agent)
    return heartbeat !== undefined && heartbeatRun(heartbeat) === lease?.run ? heartbeat : null
  }

  protected moveOn(heartbeat: Heartbeat, dueAt: number): void {
    Object.assign(heartbeat, { ...untried, dueAt, at: dueAt })
  }

  private failHeartbeat(now: number, session: Session, nextAttemptAt: number | undefined): "ready" | "dead" {
    const heartbeat = this.heartbeatOf(session)
    if (heartbeat === null) return "dead"
    heartbeat.failures += heartbeat.crashes + 1
    heartbeat.crashes = 0
    heartbeat.at = nextAttemptAt ?? null
    const isOver = nextAttemptAt === undefined || heartbeat.failures >= HEARTBEAT_FAILURES
    if (isOver) this.moveOn(heartbeat, momentAfter(heartbeat, now))
    return isOver ? "dead" : "ready"
  }

  protected crashHeartbeat(now: number, session: Session): void {
    const heartbeat = this.heartbeatOf(session)
    if (heartbeat === null) return
    heartbeat.crashes += 1
    heartbeat.at = heartbeat.dueAt
    if (heartbeat.failures + heartbeat.crashes >= HEARTBEAT_FAILURES) {
      this.moveOn(heartbeat, momentAfter(heartbeat, now))
    }
  }

  /** Whether the heartbeat was tried and the following one is due too: then it is given up for the latest that is. */
  protected isLate(heartbeat: Heartbeat, now: number): boolean {
    return heartbeat.claims > 0 && momentAfter(heartbeat, heartbeat.dueAt) <= now
  }

  protected skipToLatest(heartbeat: Heartbeat, now: number): void {
    this.moveOn(heartbeat, latestMoment(heartbeat, now))
  }
}
