/** I1 to I12 as far as a queue and its turns can break them, judged from what happened and not from what was meant. */
import { Option } from "effect"
import { isAnswerOwed } from "../../src/domain/AnswerDuty.ts"
import { divideFold } from "../../src/domain/DeliveryPolicy.ts"
import { nextCronMoment } from "../../src/domain/HeartbeatCadence.ts"
import { ACCOUNT } from "./accountModel.ts"
import { GATEWAY_SECRET } from "./memoryGateway.ts"
import type { Event, Row, RowState } from "./queueModel.ts"
import type { RuntimeProcess, Turn, World } from "./world.ts"

/** The limits a run was started with. */
export interface Limits {
  readonly maxAttempts: number
  readonly silenceLimit: number
  readonly maxHops: number
  readonly drainMillis: number
}

const moves: Readonly<Record<RowState, ReadonlyArray<RowState>>> = {
  ready: ["claimed", "folded", "delivered"],
  waiting: ["ready", "delivered"],
  claimed: ["delivered", "waiting", "dead", "ready"],
  folded: ["delivered", "dead"],
  dead: ["ready", "folded", "discarded"],
  delivered: [],
  discarded: []
}
const ended: ReadonlySet<RowState> = new Set(["delivered", "dead", "discarded"])
/** A session that could be claimed waits no longer than this for a runtime that could claim it: a pulse and a poll. */
const STARVED_MILLIS = 90_000
/** How long faults of the control plane may be felt: two backoffs of the poll. */
const RECOVERY_MILLIS = 150_000

/** So many attempts that ended with their runtime make a row run alone; it holds others back once it waited so long. */
const ALONE_AFTER = 2
const ALONE_MILLIS = 60_000
/** No longer than this lies between two looks. */
const LOOK_MILLIS = 10_000

/** Own failures and crashes of a beat before it is given up. */
const BEAT_FAILURES = 3

/** How a row or beat ends whose last round failed so. */
const endsOf: Readonly<Record<string, "fail" | "release">> = {
  ConnectionLost: "fail",
  TurnRefused: "fail",
  TurnUnreadable: "fail",
  Defect: "fail",
  GatewayUnreachable: "release",
  GatewayMisconfigured: "release",
  UnknownAgent: "release",
  ProviderFailed: "release"
}

/** Watches one world. */
export class Invariants {
  private readonly world: World
  private readonly limits: Limits
  private seen = 0
  private readonly lastClaim = new Map<string, Extract<Event, { kind: "claim" }>>()
  private readonly isOver = new Map<string, boolean>()
  /** Claims of a row that were not given back, since its budget began. */
  private readonly spent = new Map<string, number>()
  private readonly deaths = new Map<string, number>()
  private readonly revivals = new Map<string, number>()
  private readonly creations = new Set<string>()
  private readonly finished = new Set<string>()
  private readonly claimableSince = new Map<string, number>()
  private readonly freedAt = new Map<string, number>()
  private readonly readyAt = new Map<string, number>()
  private readonly parkedAt = new Map<string, number>()

  constructor(world: World, limits: Limits) {
    this.world = world
    this.limits = limits
  }

  /** Judges what happened since the last look; called after each transaction. */
  observe(): void {
    const { history } = this.world.account.queue
    for (; this.seen < history.length; this.seen += 1) {
      const event = history[this.seen]
      if (event !== undefined) this.judge(event)
    }
  }

  private judge(event: Event): void {
    switch (event.kind) {
      case "claim": {
        this.lastClaim.set(event.session, event)
        this.isOver.set(event.session, false)
        this.judgePrecedence(event)
        if (event.isBeat) return this.judgeBeatClaim(event)
        if (event.spent) return
        const spent = (this.spent.get(event.row) ?? 0) + 1
        this.spent.set(event.row, spent)
        if (spent > this.limits.maxAttempts) {
          this.world.violate("I6", `${event.row} was tried ${spent} times, the budget is ${this.limits.maxAttempts}`)
        }
        return
      }
      case "end":
        return this.judgeEnd(event)
      case "state":
        return this.judgeMove(event)
      case "effect": {
        this.judgeFence(event, `tool ${event.tool}`)
        if (event.creation === null) return
        const key = `${event.row} ${event.tool} ${event.creation}`
        if (this.creations.has(key)) this.world.violate("I2", `${event.tool} was done twice in ${event.row}`)
        this.creations.add(key)
      }
    }
  }

  private judgeFence(event: { readonly session: string; readonly epoch: number; readonly row: string }, what: string) {
    const claim = this.lastClaim.get(event.session)
    if (claim?.epoch !== event.epoch || claim.row !== event.row || this.isOver.get(event.session) === true) {
      this.world.violate("I3", `${what} of ${event.row} was accepted without its lease`)
    }
  }

  private judgeEnd(event: Extract<Event, { kind: "end" }>): void {
    const { account, turns } = this.world
    const claim = this.lastClaim.get(event.session)
    this.judgeFence(event, event.how)
    this.isOver.set(event.session, true)
    this.freedAt.set(event.session, event.at)
    const turn = turns.findLast((each) => each.session === event.session && each.epoch === event.epoch)
    if (event.how !== "rescue" && turn !== undefined && turn.open > 0 && turn.process.isRunning) {
      this.world.violate("I3", `${event.row} was ended by ${event.how} while its request still runs`)
    }
    // A process that was frozen beyond its lease may wake to a claim before it wakes to a renewal.
    const wasAwake = turn !== undefined && turn.process.awake.isOpen() && turn.process.lastWokeAt < (claim?.at ?? 0)
    if (event.takenBy === event.bootId && turn !== undefined && turn.open > 0 && turn.process.isRunning && wasAwake) {
      this.world.violate("I3", `${event.row} was taken by a claim of the process that still runs it`)
    }
    if (event.how === "fail" && event.isSilence) this.judgeSilence(event, turn)
    this.judgeFailure(event, turn)
    if (event.isBeat) {
      this.judgeTruncated(event, turn)
      return this.judgeBeatEnd(event)
    }
    const row = account.queue.row(event.row)
    if (event.how === "release" && claim?.spent === false) this.spent.set(row.id, (this.spent.get(row.id) ?? 1) - 1)
    if (claim?.spent === false) this.judgeBroken(event)
    if (event.how === "complete" && event.outcome === "replied") this.judgeTruncated(event, turn)
    if (event.how === "complete" && event.outcome === "skipped") {
      // Its last attempt has no second try.
      if (turn?.truth === "TurnAmbiguous" && row.silences === 0 && row.attempts < this.limits.maxAttempts) {
        this.world.violate("I5", `${row.id} was skipped at the first "internal error"`)
      }
      const attempt = `${event.row} ${event.epoch}`
      const context = account.broken.has(attempt) ? undefined : account.contexts.get(attempt)
      if (context !== undefined && isAnswerOwed(divideFold(context).accepted)) {
        this.world.violate("I5", `${row.id} ended skipped although an answer is owed`)
      }
    }
  }

  /** What waits to run alone, unless the agent is one of these, and since when nothing else may begin before it. */
  private waitsAlone(parked: ReadonlyArray<string>): Array<{ readonly row: Row; readonly overdueAt: number }> {
    return [...this.queue.rows.values()].flatMap((row) => {
      const lease = this.queue.sessions.get(row.session)?.lease ?? null
      if (parked.includes(row.agent) || row.attempts >= this.limits.maxAttempts) return []
      if (row.state === "ready" && row.aloneAt !== null && (lease === null || lease.expiresAt <= this.world.now)) {
        // It may have become due while its session was held, or while no claim looked.
        const freedAt = Math.max(this.freedAt.get(row.session) ?? 0, lease?.expiresAt ?? 0)
        return [{ row, overdueAt: Math.max(row.aloneAt + ALONE_MILLIS, freedAt, this.readyAt.get(row.id) ?? 0) }]
      }
      return lease?.row === row.id && row.crashes + 1 >= ALONE_AFTER
        ? [{ row, overdueAt: lease.expiresAt + ALONE_MILLIS }]
        : []
    })
  }

  private judgePrecedence(event: Extract<Event, { kind: "claim" }>): void {
    if (event.alone || event.spent) return
    const passed = this.waitsAlone(event.parked).find(({ overdueAt }) => overdueAt < event.at)
    if (passed !== undefined)
      this.world.violate("I9", `${event.row} went before ${passed.row.id}, which waits to be alone`)
  }

  /** When the process's live turns began. */
  private turnsOf({ runtimeId }: RuntimeProcess): Array<{ readonly isAlone: boolean; readonly beganAt: number }> {
    return [...this.queue.sessions.values()].flatMap(({ id, lease }) =>
      lease?.runtimeId === runtimeId && lease.expiresAt > this.world.now
        ? [{ isAlone: lease.isAlone, beganAt: this.lastClaim.get(id)?.at ?? 0 }]
        : []
    )
  }

  /** Whether the process claims nothing for good reason: beside what runs alone, or until turns end that are older than that it is overdue. */
  private isHeldBack(process: RuntimeProcess, parked: ReadonlyArray<string>): boolean {
    const turns = this.turnsOf(process)
    return (
      turns.some(({ isAlone }) => isAlone) ||
      this.waitsAlone(parked).some(({ overdueAt, row }) => {
        const since = Math.max(overdueAt, (this.parkedAt.get(`${process.name} ${row.agent}`) ?? 0) + LOOK_MILLIS)
        return overdueAt <= this.world.now && turns.some(({ beganAt }) => beganAt <= since)
      })
    )
  }

  /** Whether the end says what became of the turn, and not that the runtime or the way to the control plane is gone. */
  private isVerdict({ class: kind, how, isShared }: Extract<Event, { kind: "end" }>): boolean {
    const isGivenBack =
      how === "release" && (!isShared || kind === "ControlPlaneUnavailable" || kind === "TokenRefused")
    return how !== "rescue" && !isGivenBack
  }

  /** A failure ends by its own class: the row's own costs an attempt, what others share it gives back. */
  private judgeFailure(event: Extract<Event, { kind: "end" }>, turn: Turn | undefined): void {
    const expected = turn === undefined ? undefined : endsOf[turn.truth]
    if (turn === undefined || expected === undefined || !this.isVerdict(event)) return
    // Awake again, a process may meet its deadline before the answer.
    if (event.class === "TurnTimeout" && turn.process.lastFaultAt >= turn.startedAt) return
    this.world.cover(turn.truth, expected)
    if (event.how !== expected || event.class !== turn.truth) {
      this.world.violate("classes", `${event.row} met ${turn.truth} and ended by ${event.how} (${event.class})`)
    }
  }

  /** What cannot be shown to an agent is skipped when a part of it is gone, and otherwise its own failure. */
  private judgeBroken(event: Extract<Event, { kind: "end" }>): void {
    const { broken, contexts } = this.world.account
    const attempt = `${event.row} ${event.epoch}`
    const code = broken.get(attempt)
    // Asked twice, it may have been answered both ways.
    if (code === undefined || contexts.has(attempt) || !this.isVerdict(event)) return
    const isGone = code.endsWith("_missing")
    this.world.cover(code, isGone ? "complete" : "fail")
    const isRight = isGone
      ? event.how === "complete" && event.outcome === "skipped"
      : event.how === "fail" && event.class === "BrokenContext"
    if (!isRight) {
      const how = `${event.how} (${event.outcome ?? event.class})`
      this.world.violate("BrokenContext", `${event.row} was ${code} and ended by ${how}`)
    }
  }

  /** A text that the model's limit cut is posted, and says so. */
  private judgeTruncated(event: Extract<Event, { kind: "end" }>, turn: Turn | undefined): void {
    const { epoch, row } = event
    const reply = this.world.account.messages.findLast(
      (message) =>
        message.run === row &&
        message.epoch === epoch &&
        (event.isBeat ? message.content.startsWith("news of") : message.kind === "reply")
    )
    if (reply === undefined || turn === undefined) return
    if (turn.isTruncated) this.world.cover("posted, marked", event.isBeat ? "beat" : "complete")
    if (reply.isTruncated !== turn.isTruncated) {
      this.world.violate("I5", `the reply of ${row} is ${reply.isTruncated ? "" : "not "}marked as truncated`)
    }
  }

  private judgeBeatClaim(event: Extract<Event, { kind: "claim" }>): void {
    const { beats, rowsOf } = this.queue
    if (this.finished.has(event.row)) this.world.violate("I2", `${event.row} is tried although it was finished`)
    const beat = [...beats.values()].find(({ agent }) => event.row.startsWith(`${agent}:`))
    if (typeof beat?.schedule === "string") {
      this.world.cover("by cron", "beat")
      const isMoment = Option.contains(nextCronMoment(beat.schedule, beat.dueAt - 1), beat.dueAt)
      if (!isMoment) this.world.violate("cron", `${event.row} is no moment of ${beat.schedule}`)
    }
    const spent = (beat?.failures ?? 0) + (beat?.crashes ?? 0)
    if (spent >= BEAT_FAILURES) this.world.violate("I6", `${event.row} is tried after ${spent} failures`)
    if (rowsOf.call(this.queue, event.session, "ready").length > 0) {
      this.world.violate("I9", `${event.row} went before a delivery of its session`)
    }
  }

  private judgeBeatEnd(event: Extract<Event, { kind: "end" }>): void {
    if (event.how !== "beat") return
    if (this.finished.has(event.row)) this.world.violate("I2", `${event.row} was finished twice`)
    this.finished.add(event.row)
    const said = this.world.account.messages.filter(
      ({ content, run }) => run === event.row && content.startsWith("news of")
    )
    if (said.length > 1) this.world.violate("I2", `${event.row} spoke ${said.length} times`)
  }

  private get queue() {
    return this.world.account.queue
  }

  private judgeSilence(
    event: Extract<Event, { kind: "end" }>,
    turn: Pick<Turn, "truth" | "process" | "providerFailedBefore"> | undefined
  ): void {
    const truth = turn?.truth ?? "no turn"
    const isSilent = truth === "calls" || (truth.startsWith("text ") && !truth.includes("answer"))
    const isShared =
      turn !== undefined && turn.providerFailedBefore < 110_000 && this.world.now - turn.process.lastJumpAt > 200_000
    if (!isSilent && (truth !== "TurnAmbiguous" || isShared)) {
      this.world.violate("I5", `${event.row} was counted silent, but the gateway said ${truth}`)
    }
  }

  private judgeMove(event: Extract<Event, { kind: "state" }>): void {
    const { queue } = this.world.account
    const row = queue.row(event.row)
    if (!moves[event.from].includes(event.to)) {
      this.world.violate("I1", `${row.id} went from ${event.from} to ${event.to}`)
    }
    if (event.to === "ready") this.readyAt.set(row.id, event.at)
    if (event.to === "delivered") this.judgeDelivered(row.id)
    if (event.to === "dead" && row.foldedInto === null) {
      const deaths = (this.deaths.get(row.id) ?? 0) + 1
      this.deaths.set(row.id, deaths)
      if (deaths > 1 + (this.revivals.get(row.id) ?? 0)) this.world.violate("I6", `${row.id} died twice`)
    }
    if (event.from === "dead" && event.to === "ready") {
      this.revivals.set(row.id, (this.revivals.get(row.id) ?? 0) + 1)
      this.spent.set(row.id, 0)
    }
  }

  private judgeDelivered(id: string): void {
    const { account } = this.world
    const row = account.queue.row(id)
    const posted = (kind: string) =>
      account.messages.filter((message) => message.run === (row.foldedInto ?? row.id) && message.kind === kind).length
    if (row.outcome === null) this.world.violate("I5", `${id} is delivered without an outcome`)
    if (row.outcome === "replied" && posted("reply") !== 1) {
      this.world.violate("I5", `${id} is replied with ${posted("reply")} replies`)
    }
    if (row.outcome === "fallback" && posted("fallback") !== 1) {
      this.world.violate("I5", `${id} ended by fallback with ${posted("fallback")} fallback messages`)
    }
    if (row.outcome === "coalesced") {
      const kept = row.foldedInto === null ? null : account.queue.row(row.foldedInto)
      if (kept?.state !== "delivered")
        this.world.violate("I5", `${id} is coalesced before ${kept?.id ?? "nothing"} ended`)
      const epoch = account.queue.sessions.get(row.session)?.epoch ?? 0
      const context = kept === null ? undefined : account.contexts.get(`${kept.id} ${epoch}`)
      if (context !== undefined && divideFold(context).refused.some((refused) => refused.id === id)) {
        this.world.violate("I5", `${id} is coalesced although the policy refuses it`)
      }
    }
  }

  /** At a moment between transactions: nobody waits who could run. */
  look(able: ReadonlyArray<{ readonly process: RuntimeProcess; readonly parked: ReadonlyArray<string> }>): void {
    const { account, now } = this.world
    const { queue } = account
    const rows = [...queue.rows.values()]
    for (const row of rows) {
      if (row.attempts > this.limits.maxAttempts) this.world.violate("I6", `${row.id} has ${row.attempts} attempts`)
    }
    for (const { parked, process } of able)
      for (const agent of parked) this.parkedAt.set(`${process.name} ${agent}`, now)
    const helpers = able
      .filter(({ process }) => now - Math.max(process.lastFaultAt, process.startedAt) > RECOVERY_MILLIS)
      .filter(({ parked, process }) => !this.isHeldBack(process, parked))
    const overdue = new Set(
      this.waitsAlone([]).flatMap(({ overdueAt, row }) => (overdueAt <= now ? [row.session] : []))
    )
    for (const session of queue.sessions.values()) {
      const { lease } = session
      const isFree = lease === null || lease.expiresAt <= now
      const isDue = rows.some(
        (row) =>
          row.session === session.id &&
          (row.state === "ready" ||
            (row.state === "waiting" && (row.nextAttemptAt ?? 0) <= now) ||
            (row.state === "claimed" && isFree))
      )
      // Before its minute is over, what must run alone waits for a process that is idle by itself.
      const isForIdle =
        !overdue.has(session.id) &&
        rows.some(
          ({ crashes, session: own, state }) =>
            own === session.id && !ended.has(state) && crashes + (state === "claimed" ? 1 : 0) >= ALONE_AFTER
        )
      const canRun = helpers.some(
        ({ parked, process }) => !parked.includes(session.agent) && (!isForIdle || this.turnsOf(process).length === 0)
      )
      if (!isFree || !isDue || !canRun || queue.isPaused) {
        this.claimableSince.delete(session.id)
        continue
      }
      const since = this.claimableSince.get(session.id) ?? now
      this.claimableSince.set(session.id, since)
      if (now - since > STARVED_MILLIS) {
        this.world.violate("I9", `${session.id} waits since ${since} although a runtime could claim it`)
        this.claimableSince.delete(session.id)
      }
    }
  }

  /** A process has ended by itself. */
  judgeExit(process: RuntimeProcess, wasFrozen: boolean): void {
    const { account, now } = this.world
    const { ended: end, stopRequestedAt } = process
    if (end === null) return
    if (![0, 75, 77, 78].includes(end.exitCode)) {
      this.world.violate("I1", `${process.name} ended with exit code ${end.exitCode}`)
    }
    // The drain, then abort and release (2 s), then offline (3 s).
    const budget = this.limits.drainMillis + 5_500
    if (stopRequestedAt !== null && !wasFrozen && now - stopRequestedAt > budget) {
      this.world.violate("I7", `${process.name} took ${now - stopRequestedAt} ms to stop`)
    }
    const presence = account.runtimes.get(process.runtimeId)
    const isUndisturbed = now - process.lastFaultAt > 60_000 && !account.isTokenRevoked
    // One that is stopped before its first pulse was answered does not know that it is known: it lapses.
    const isLeft = presence?.bootId === process.bootId && !["offline", "booting"].includes(presence.status)
    if (end.exitCode === 0 && isUndisturbed && isLeft) {
      this.world.violate("I8", `${process.name} left itself ${presence.status}`)
    }
  }

  /** At the end, when nothing is left to do. */
  judgeRest(): void {
    const { account, now } = this.world
    for (const row of account.queue.rows.values()) {
      if (!ended.has(row.state)) this.world.violate("I1", `${row.id} is left ${row.state}`)
      const hops = account.depths.get(row.id) ?? 0
      if (hops > this.limits.maxHops) this.world.violate("I11", `${row.id} is ${hops} agents' turns deep`)
    }
    for (const [runtimeId] of account.runtimes) {
      if (account.statusOf(runtimeId, now + 600_000) !== "offline")
        this.world.violate("I8", `${runtimeId} stays online`)
    }
    const stored = JSON.stringify([
      account.messages,
      account.documents,
      [...account.tasks.values()].map(({ title }) => title),
      [...account.runtimes.values()],
      [...account.queue.rows.values()].map(({ error }) => error)
    ])
    for (const secret of [GATEWAY_SECRET, `mc_service_${ACCOUNT}`]) {
      if (stored.includes(secret)) this.world.violate("I10", "a secret stands in what was stored")
    }
  }
}
