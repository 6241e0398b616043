/** What a claim may give, what becomes of leases, and that no work waits while a runtime could claim it. */
import { leaseKey } from "../../src/domain/delivery/Run.ts"
import { momentAfter } from "./queueEnds.ts"
import { heartbeatRun, isPassive, isSuspect, MAX_EVENTS } from "./queueState.ts"
import type { ClaimEntry, EndEntry, Event, Session } from "./queueState.ts"
import type { RuntimeProcess, World } from "./world.ts"

/** Due work waits no longer than this for a runtime that could claim it: less than a pulse, so that a wake must bring it. */
const STARVED_MILLIS = 35_000
/** A due heartbeat of an idle agent waits no longer than this, since other heartbeats go first. */
const STARVED_HEARTBEAT_MILLIS = 600_000
/** A lease that its process does not name lasts no longer than this: a renewal, or at the latest its end and a pulse. */
const UNNAMED_MILLIS = 160_000
/** How long the effects of faults last: two backoffs of the poll. */
const RECOVERY_MILLIS = 150_000
/** Own failures and crashes of a heartbeat before it is given up. */
const HEARTBEAT_FAILURES = 3

/** The limits a run was started with. */
export interface Limits {
  readonly maxAttempts: number
  readonly silenceLimit: number
  readonly maxHops: number
  readonly maxTurns: number
  /** For how long agents' updates wait for quiet, and at most. */
  readonly quietMillis: number
  readonly quietLimitMillis: number
  readonly drainMillis: number
}

/** Watches the claims of one world. */
export class ClaimInvariants {
  private readonly world: World
  private readonly limits: Limits
  private readonly epochs = new Map<string, number>()
  /** Attempts of a run that count, since its budget began. */
  private readonly spent = new Map<string, number>()
  /** Attempts in a row that ended with their process. */
  private readonly crashes = new Map<string, number>()
  private readonly finished = new Set<string>()
  /** What a person or operator had tried again, at once. */
  private readonly renewed = new Set<string>()
  /** The turns on each task since a person acted on it for the last time, and how often they were used up. */
  private readonly turns = new Map<string, { readonly acts: number; readonly count: number }>()
  private readonly limited = new Map<string, number>()
  private readonly waitsSince = new Map<string, number>()

  constructor(world: World, limits: Limits) {
    this.world = world
    this.limits = limits
  }

  private get maxAttempts(): number {
    return this.limits.maxAttempts
  }

  private get queue() {
    return this.world.account.queue
  }

  private processOf(bootId: string): RuntimeProcess | undefined {
    return this.world.processes.find((process) => process.bootId === bootId)
  }

  judgeClaim(entry: ClaimEntry): void {
    const { bootId, epoch, offeredAgain, run, session } = entry
    const { world } = this
    if (epoch <= (this.epochs.get(session) ?? 0)) world.violate("I3", `${session} has epoch ${epoch} twice`)
    this.epochs.set(session, epoch)
    if (this.queue.boots.get(this.runtimeOf(bootId))?.hasEnded === true) {
      world.violate("I7", `${run} was claimed after the last claim of its process`)
    }
    if (offeredAgain !== null) {
      world.cover("offered again", "claim")
      const process = this.processOf(bootId)
      const has = process?.isRunning === true && process.received.has(leaseKey({ session, epoch: offeredAgain }))
      if (has) world.violate("I3", `${run} is offered again to ${process?.name}, which was given it`)
      return
    }
    this.judgeExclusion(entry)
    if (entry.kind === "heartbeat") this.judgeHeartbeat(entry)
    else this.judgeNotification(entry)
  }

  private runtimeOf(bootId: string): string {
    return [...this.queue.boots].find(([, boot]) => boot.bootId === bootId)?.[0] ?? ""
  }

  /** An agent's heartbeat runs next to no other turn of it. */
  private judgeExclusion({ kind, run, session }: ClaimEntry): void {
    const agent = this.queue.sessions.get(session)?.agent ?? ""
    for (const { id, lease } of this.queue.sessionsOf(agent)) {
      if (id === session || lease === null || (kind !== "heartbeat" && lease.kind !== "heartbeat")) continue
      this.world.violate("I4", `${run} runs next to ${lease.run}, and one of them is a heartbeat`)
    }
  }

  private judgeNotification({ bootId, run, session }: ClaimEntry): void {
    const { world } = this
    const spent = (this.spent.get(run) ?? 0) + 1
    this.spent.set(run, spent)
    if (spent > this.maxAttempts) {
      world.violate("I6", `${run} was tried ${spent} times, the budget is ${this.maxAttempts}`)
    }
    const { claims, events, task } = this.queue.row(run)
    if (claims === 1) this.judgeTurn(run, task, events)
    if (claims === 1 && !this.renewed.has(run) && this.dueBy(events) > world.now)
      world.violate("quiet", `${run} is claimed before its updates are due`)
    if (events.every(isPassive)) world.cover("updates", "claim")
    if (!this.isSuspect(run)) return
    world.cover("suspect", "claim")
    for (const { id, lease } of this.queue.sessions.values()) {
      const isOther = lease?.bootId === bootId && id !== session && this.isSuspect(lease.run)
      if (isOther) world.violate("I9", `${run} runs next to ${lease.run}, and both are suspect`)
    }
  }

  /** Agents have no more turns of their own on a task than the limit since a person last acted on it. */
  private judgeTurn(run: string, task: string, events: ReadonlyArray<Event>): void {
    const { world } = this
    const turns = this.turnsOn(task) + 1
    this.turns.set(task, { acts: world.account.acts.get(task) ?? 0, count: turns })
    if (turns === this.limits.maxTurns) {
      this.limited.set(task, (this.limited.get(task) ?? 0) + 1)
      world.cover("turns used up", "claim")
    }
    // A person may run a stopped notification again beyond the limit.
    const isOfAgents = events.every(({ actor }) => actor.type === "agent") && !this.renewed.has(run)
    if (turns > this.limits.maxTurns && isOfAgents) {
      world.violate("turns", `${run} is turn ${turns} of agents on ${task}`)
    }
  }

  /** The turns on the task since a person last acted on it. */
  private turnsOn(task: string): number {
    const found = this.turns.get(task)
    return found !== undefined && found.acts === (this.world.account.acts.get(task) ?? 0) ? found.count : 0
  }

  /** At the end: each time that agents used up their turns on a task, the thread says so once. */
  judgeRest(): void {
    const { messages } = this.world.account
    for (const [task, times] of this.limited) {
      const told = messages.filter(({ author, task: of }) => of === task && author.type === "system").length
      if (told !== times)
        this.world.violate("turns", `${task} reached its limit ${times} times and says so ${told} times`)
    }
  }

  /** When events that were never tried are due: at the first that does not wait, after the first quiet, or at the limit. */
  private dueBy(events: ReadonlyArray<Event>): number {
    const { quietLimitMillis, quietMillis } = this.limits
    let due = (events[0]?.at ?? 0) + Math.min(quietMillis, quietLimitMillis)
    for (const event of events) {
      if (event.at >= due) return due
      if (!isPassive(event)) return event.at
      due = Math.min(event.at + quietMillis, (events[0]?.at ?? 0) + quietLimitMillis)
    }
    return due
  }

  private isSuspect(run: string): boolean {
    return isSuspect({ crashes: this.crashes.get(run) ?? 0 })
  }

  private judgeHeartbeat({ at, epoch, run, session }: ClaimEntry): void {
    const { world } = this
    if (this.finished.has(run)) world.violate("I2", `${run} is tried although it was finished`)
    for (const task of world.account.heartbeatTasks.get(`${run} ${epoch}`) ?? []) {
      if (this.turnsOn(task) >= this.limits.maxTurns)
        world.violate("turns", `${run} shows ${task}, which is closed to agents`)
    }
    const heartbeat = [...this.queue.heartbeats.values()].find((each) => heartbeatRun(each) === run)
    const agent = this.queue.sessions.get(session)?.agent ?? ""
    if (typeof heartbeat?.schedule === "string") {
      const { dueAt, schedule } = heartbeat
      world.cover("by cron", "heartbeat")
      const isMoment = momentAfter({ schedule, dueAt: dueAt - 1 }, dueAt - 1) === dueAt
      if (!isMoment) world.violate("cron", `${run} is no moment of ${schedule}`)
    }
    const failed = (heartbeat?.failures ?? 0) + (heartbeat?.crashes ?? 0)
    if (failed >= HEARTBEAT_FAILURES) world.violate("I6", `${run} is tried after ${failed} failures`)
    const isBehind = this.queue.sessionsOf(agent).some((each) => this.queue.isDue(each, at))
    if (isBehind) world.violate("I9", `${run} goes before a due notification of its agent`)
  }

  judgeEnd(entry: EndEntry): void {
    const { bootId, endedBy, how, run } = entry
    const { world } = this
    const process = this.processOf(bootId)
    const key = leaseKey(entry)
    if (how === "rescue" && endedBy === bootId && process !== undefined) {
      // Only what a process names as abandoned is rescued by its own claim.
      if (process.abandoned.has(key)) world.cover("abandoned", "claim")
      else if (process.isEnding) world.violate("I7", `${run} lost an attempt to the last claim of its process`)
      else world.violate("I3", `${run} was taken by a claim of ${process.name}, which holds it`)
    }
    if (how === "last claim") world.cover("last claim", "claim")
    if (how === "recalled") world.cover(endedBy === bootId ? "recalled" : "recalled, expired", "claim")
    if (how === "heartbeat") {
      if (this.finished.has(run)) world.violate("I2", `${run} was finished twice`)
      this.finished.add(run)
    }
    if (how === "rescue") this.crashes.set(run, (this.crashes.get(run) ?? 0) + 1)
    else if (how === "complete" || how === "fail") this.crashes.delete(run)
    if (how === "release" || how === "last claim") this.uncount(run)
  }

  /** The run is released without its attempt. */
  uncount(run: string): void {
    this.spent.set(run, (this.spent.get(run) ?? 1) - 1)
  }

  /** A notification became a dead letter because its attempts were used up. */
  judgeSpent(run: string): void {
    this.crashes.delete(run)
    const spent = this.spent.get(run) ?? 0
    if (spent < this.maxAttempts) this.world.violate("I6", `${run} was given up after ${spent} attempts`)
  }

  /** An operator retries a dead letter, or a person runs a stopped run again. */
  renewBudget(run: string): void {
    this.renewed.add(run)
    this.spent.delete(run)
    this.crashes.delete(run)
  }

  /** A message joined the run, of which this is its first attempt. */
  joined(run: string): void {
    this.spent.set(run, 1)
  }

  /** At a moment between transactions: no work waits that one of these processes could claim. */
  look(able: ReadonlyArray<RuntimeProcess>): void {
    const { now } = this.world
    for (const { at, attempts, claims, events, heldUntil, id, state } of this.queue.notifications.values()) {
      const isHeld = heldUntil !== null
      if (state === "ready" && claims === 0 && !isHeld && at > now && this.dueBy(events) <= now) {
        this.world.violate("quiet", `${id} waits although its events are due`)
      }
      if (attempts > this.maxAttempts) this.world.violate("I6", `${id} has ${attempts} attempts`)
      if (events.length > MAX_EVENTS) this.world.violate("I9", `${id} has ${events.length} events`)
    }
    const helpers = able.filter((process) => now - Math.max(process.lastFaultAt, process.startedAt) > RECOVERY_MILLIS)
    for (const session of this.queue.sessions.values()) {
      const { id } = session
      const canRun = !this.queue.isPaused && helpers.some((process) => this.isClaimable(session, process))
      this.mustNotWait("I9", `${id} is due`, canRun, STARVED_MILLIS)
      const { lease } = session
      const process = helpers.find(({ bootId }) => bootId === lease?.bootId)
      const isUnnamed = lease !== null && process?.holds.has(leaseKey({ session: id, epoch: lease.epoch })) === false
      this.mustNotWait("I3", `${id} is leased and not named`, isUnnamed, UNNAMED_MILLIS)
    }
    for (const heartbeat of this.queue.heartbeats.values()) {
      const isIdle = this.queue
        .sessionsOf(heartbeat.agent)
        .every((session) => session.lease === null && !this.queue.isDue(session, now))
      const at = this.queue.heartbeatAt(heartbeat)
      const isDue = at !== null && at <= now && isIdle
      const canRun = isDue && helpers.length > 0 && !this.queue.isPaused
      this.mustNotWait("I9", `the heartbeat of ${heartbeat.agent} is due`, canRun, STARVED_HEARTBEAT_MILLIS)
    }
  }

  private mustNotWait(invariant: string, what: string, isWaiting: boolean, limit: number): void {
    const { now } = this.world
    if (!isWaiting) {
      this.waitsSince.delete(what)
      return
    }
    const since = this.waitsSince.get(what) ?? now
    this.waitsSince.set(what, since)
    if (now - since <= limit) return
    this.world.violate(invariant, `${what} since ${since} although a runtime could act`)
    this.waitsSince.delete(what)
  }

  /** Whether the process could claim something of the session: it is due, or its lease has expired. */
  private isClaimable(session: Session, process: RuntimeProcess): boolean {
    const { now } = this.world
    const { agent, id, lease } = session
    if (lease !== null) return lease.expiresAt <= now && lease.bootId !== process.bootId
    if (!this.queue.isDue(session, now) || this.queue.isInHeartbeat(agent)) return false
    const hasSuspect = [...this.queue.sessions.values()].some(
      (each) => each.lease?.bootId === process.bootId && each.lease.isSuspect
    )
    return !hasSuspect || !isSuspect(this.queue.readyOf(id)[0] ?? { crashes: 0 })
  }
}
