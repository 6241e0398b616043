/**
 * The queue's rows and what follows from them, independent of convex/: small, synchronous, in memory. Every rule is a
 * plain filter over all rows, so that it can be read against the design; nothing here is indexed or fast.
 */
import type { RunSettings } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { TurnState } from "../../src/domain/delivery/Run.ts"
import { type Budget, UsageModel } from "./usageModel.ts"

export type NotificationType = "mention" | "thread_update" | "assignment" | "status_change" | "response_request"
export type NotificationState = "ready" | "claimed" | "delivered" | "dead" | "discarded"
export type Outcome = "replied" | "acted" | "skipped" | "fallback" | "stopped"
export type RunKind = "notification" | "heartbeat"
/** Why a lease was taken back from its process. */
export type Recall = "stopped" | "paused"

/** Who caused an event. */
export interface Cause {
  readonly type: "person" | "agent" | "system"
  readonly id: string
}

/** Why an agent has pending work on a task. */
export interface Event {
  /** Numbers all events, whichever notification they are in. */
  readonly seq: number
  readonly type: NotificationType
  readonly actor: Cause
  readonly at: number
  readonly hops: number
  readonly chain: string | null
  readonly message: string | null
  readonly statuses: readonly [string, string] | null
  readonly request: string | null
  /** The agent's question that a person's message answers. */
  readonly answers: string | null
  refusal: string | null
  /** The epoch of the attempt that it joined. */
  joined: number | null
}

/** The end of a run's last attempt, so that a repeated call answers as the first time. */
export interface End {
  readonly run: string
  readonly epoch: number
  readonly kind: EndKind
  readonly answer: object
}
export type EndKind = "complete" | "fail" | "release" | "heartbeat"

/** The pending work of one agent on one task. */
export interface Notification {
  readonly id: string
  readonly seq: number
  readonly session: string
  readonly agent: string
  readonly task: string
  events: Array<Event>
  state: NotificationState
  /** The only order of claims. */
  at: number
  readyAt: number
  attempts: number
  claims: number
  failures: number
  silences: number
  crashes: number
  sharedSince: number | null
  /** Until when the budget keeps it waiting. */
  heldUntil: number | null
  /** Since when it was ready before. */
  heldSince: number
  hasFallback: boolean
  runsInNextGeneration: boolean
  outcome: Outcome | null
  error: { readonly class: string; readonly message: string; readonly at: number } | null
  end: End | null
}

/** The heartbeat of an agent that is due next, or that is running. */
export interface Heartbeat {
  readonly agent: string
  readonly session: string
  /** Minutes, or a cron expression in UTC. */
  schedule: number | string
  dueAt: number
  /** When it can be claimed; null while it is claimed. */
  at: number | null
  attempts: number
  claims: number
  failures: number
  crashes: number
  /** When it last ended well; on another day a fresh generation of its session begins. */
  lastHeartbeatAt: number | null
  end: End | null
}

/** The right to run a session's turn. */
export interface Lease {
  readonly runtimeId: string
  readonly bootId: string
  readonly epoch: number
  readonly run: string
  readonly kind: RunKind
  readonly attempt: number
  readonly isSuspect: boolean
  readonly generation: number
  /** What its context shows of the task; null if it is broken, or for a heartbeat. */
  shows: Shown | null
  /** Price-weighted tokens that it may spend; null without a budget. */
  allowance: number | null
  /** The tokens that the run had used when it last asked for more. */
  askedTokens: number
  expiresAt: number
}

/** What the history of a session holds of a task. */
export interface Shown {
  /** The number of the text that showed everything. */
  readonly fullText: number
  readonly generation: number
  /** How many messages the account had. */
  readonly messages: number
  /** Later messages that joined its turn. */
  readonly joined: ReadonlyArray<string>
  readonly at: number
}

/** The unit of exclusion: it runs one turn at a time. */
export interface Session {
  readonly id: string
  readonly seq: number
  readonly agent: string
  generation: number
  /** The generation that an operator asked for, from the next claim. */
  nextGeneration: number | null
  epoch: number
  lease: Lease | null
  /** By task, after an answered turn. */
  readonly shown: Map<string, Shown>
  /** How long the gateway's history was at the last answered turn of this generation. */
  historyTokens: number | null
  /** Full texts with a lower number may be gone. */
  historyFrom: number
  /** The lease fences nothing any more, and keeps the session until its process no longer names it. */
  recalled: Recall | null
  /** A person's latest message for the running turn that has not joined it. */
  news: string | null
  /** Runs of this generation that were stopped since a turn completed. */
  stoppedRuns: Array<string>
}

/** The process that last pulsed for its RUNTIME_ID. */
export interface Boot {
  readonly bootId: string
  readonly former: ReadonlyArray<string>
  /** The number of its last claim that leased anything. */
  lastClaim: number
  hasEnded: boolean
}

/** A refusal with its code, as the control plane's functions answer it. */
export class Refusal extends Error {
  readonly code: string
  readonly recalled: Recall | null
  constructor(code: string, recalled: Recall | null = null) {
    super(code)
    this.code = code
    this.recalled = recalled
  }
}

/** A run as the log names it. */
interface Logged {
  readonly at: number
  readonly session: string
  readonly epoch: number
  readonly run: string
  readonly kind: RunKind
  readonly bootId: string
}

/** How a lease ended: by a call, by a rescue, by the last claim of its process, or recalled and named no longer. */
export type EndHow = EndKind | "rescue" | "last claim" | "recalled"
export type EndEntry = { readonly entry: "end"; readonly how: EndHow } & Logged & {
    /** Whose claim ended the lease. */
    readonly endedBy: string | null
    readonly isShared: boolean
    readonly isSilence: boolean
    readonly outcome: Outcome | null
    readonly class: string | null
    readonly retryIn: number | null
  }
export type ClaimEntry = { readonly entry: "claim" } & Logged & {
    readonly attempt: number
    readonly isSuspect: boolean
    /** The epoch of the lease that is offered again; null if the run is newly taken. */
    readonly offeredAgain: number | null
  }
export type EffectEntry = { readonly entry: "effect" } & Omit<Logged, "kind" | "bootId"> & {
    readonly tool: string
    /** The arguments of a creation; null for a setter. */
    readonly creation: string | null
  }

export type JoinEntry = { readonly entry: "join"; readonly count: number } & Omit<Logged, "kind" | "bootId">

/** Everything that happened, for the invariants. */
export type Entry =
  | JoinEntry
  | ClaimEntry
  | EndEntry
  | EffectEntry
  | {
      readonly entry: "state"
      readonly at: number
      readonly run: string
      readonly from: NotificationState
      readonly to: NotificationState
    }
  | ({ readonly entry: "recall"; readonly reason: Recall; readonly expiresAt: number } & Omit<Logged, "kind">)
  | { readonly entry: "spent"; readonly at: number; readonly run: string }
  | {
      readonly entry: "held"
      readonly at: number
      readonly run: string
      readonly until: number
      /** Its share of the budget. */
      readonly share: number
    }
  | { readonly entry: "resumed"; readonly at: number; readonly run: string; readonly heldUntil: number }
  | { readonly entry: "wake"; readonly at: number; readonly agent: string }

/** Mistakes that can be planted, to see that the invariants notice them. */
export type Mistake =
  | "coalescing into a row that is running"
  | "unfenced complete"
  | "unfenced tool"
  | "attempts counted only on failure"
  | "retry counter in memory"
  | "a ledger that forgets"
  | "hops without a limit"
  | "a heartbeat next to a delivery"
  | "several suspects at once"
  | "a claim that forgets unnamed leases"
  | "an unnamed lease offered again without a new epoch"
  | "a late claim that leases"
  | "a named lease taken by its own process"
  | "an abandoned run not rescued"
  | "a last claim that counts attempts"
  | "a last claim that leaves leases behind"
  | "a claim after the last one"
  | "a push that misses an insert"
  | "a push that misses an end"
  | "an old turn's change over a person's"
  | "a failed turn that counts as seen"
  | "what came during a turn counts as seen"
  | "a delta in a new generation"
  | "a delta on a history that was seen to be shorter"
  | "updates that do not wait"
  | "turns without a limit"
  | "turns that every message forgives"
  | "agents' events beyond the limit of turns"
  | "heartbeats beyond the limit of turns"
  | "a limit that no one is told of"
  | "creations without a limit"
  | "quiet without a limit"
  | "a mention that waits with updates"
  | "a claim that takes a paused agent's work"
  | "a stop that does not fence"
  | "a stop that leaves work to be retried"
  | "a stop that frees the session at once"
  | "a stop that is not pushed"
  | "an end that records no usage"
  | "a rescue that records no usage"
  | "a report counted next to its estimate"
  | "a budget without reservations"
  | "a held notification taken before its time"
  | "a reservation that holds work until the window ends"
  | "a run that gets more without asking the budget"
  | "an estimate without the request that may go beyond the allowance"
  | "a join that leaves the message where it waited"
  | "a join that drops the other events"
  | "a join that renews no attempts"
  | "a join without a fence"
  | "a join that moves what was seen"
  | "an end that drops what it did not show"
  | "an end that keeps what it did not show"
  | "joined events lost at a failure"
  | "new messages that are not pushed"
  | "an answer that only subscribers hear"
  | "a question answered twice"
  | "an approved call executed again"
  | "a call executed after its denial"
  | "a stop that leaves requests for approval open"
  | "an approval although the task has changed"
  | "a repeated call that asks again"
  | "a removed policy that forgets open requests"
  | "a decision that the agent is not notified of"
  | "a request under a lost lease"

export interface LeaseName {
  readonly session: string
  readonly epoch: number
}
export interface Fence extends LeaseName {
  readonly run: string
}

/** What the queue needs of the account around it. */
export interface Surroundings {
  readonly hasTask: (task: string) => boolean
  /** Whether the task exists and is not archived. */
  readonly isOpen: (task: string) => boolean
  readonly post: (
    row: Notification,
    epoch: number,
    message: { readonly kind: "reply" | "fallback" | "note"; readonly content: string | null },
    settings: RunSettings
  ) => string | null
  /** A turn on the task begins that was not tried before. */
  readonly turnBegins: (row: Notification, maxTurns: number) => void
  /** Says in the thread that a turn which had begun was stopped. */
  readonly noteStop: (row: Notification, by: Cause) => void
  /** Moves an assigned task on when its assignee replied or acted. */
  readonly beginWork: (row: Notification, settings: RunSettings) => void
  /** When the first heartbeat by this interval in minutes is due. */
  readonly firstHeartbeatAt: (agent: string, minutes: number, now: number) => number
}

export const MAX_EVENTS = 50
/** What a person or a fallback sets off is under no limit, and waits for nothing. */
export const unlimited: RunSettings = { maxHops: Infinity, quietTimeMs: 0, quietLimitMs: 0 }
/** After two attempts that ended with their process a run is suspect. */
const SUSPECT_AFTER = 2

/** By how much an event goes before older ones. */
const headStart = ({ actor, type }: Event): number => {
  if (actor.type === "person" && (type === "mention" || type === "thread_update")) return 300_000
  if (type === "response_request") return 60_000
  return type === "assignment" ? 30_000 : 0
}
const strength = ["mention", "response_request", "assignment", "status_change", "thread_update"] as const

/** How many messages the account had with this one. */
export const orderOfMessage = (message: string): number => Number(message.slice(1))
/** The order key of events that were never tried. */
export const orderOf = (events: ReadonlyArray<Event>): number =>
  Math.min(...events.map((event) => event.at - headStart(event)))
/** The strongest type. */
export const typeOf = (events: ReadonlyArray<Event>): NotificationType =>
  strength.find((type) => events.some((event) => event.type === type)) ?? "thread_update"
/** Whether the event waits for quiet: an agent's message that mentions no one. */
export const isPassive = ({ actor, type }: Event): boolean => type === "thread_update" && actor.type === "agent"
/** Whether the event may join a running turn. */
export const isPersonsMessage = ({ actor, message, type }: Event): boolean =>
  actor.type === "person" && message !== null && (type === "mention" || type === "thread_update")
/** Whether one of the events is owed an answer. */
export const isOwed = (events: ReadonlyArray<Event>): boolean =>
  events.some(({ actor, type }) => (type === "thread_update" ? actor.type === "person" : type !== "status_change"))
/** 0 if a person is among the authors, else the most of an event. */
export const hopsOf = (events: ReadonlyArray<Event>): number =>
  events.some(({ actor }) => actor.type === "person") ? 0 : Math.max(...events.map(({ hops }) => hops))
/** The chain of agents' turns that a run on this continues: that of the event with the most hops, or its own. */
export const chainOf = ({ events, id }: Notification): string => {
  const hops = hopsOf(events)
  return events.find((event) => hops > 0 && event.hops === hops)?.chain ?? id
}
/** The events that the policy let through; all of them if it refused every one. */
export const acceptedOf = (events: ReadonlyArray<Event>): ReadonlyArray<Event> => {
  const accepted = events.filter(({ refusal }) => refusal === null)
  return accepted.length === 0 ? events : accepted
}

/** The id of a heartbeat's run, the same in all its attempts. */
export const heartbeatRun = ({ agent, dueAt }: Pick<Heartbeat, "agent" | "dueAt">): string => `${agent}:${dueAt}`
export const isSuspect = ({ crashes }: { readonly crashes: number }): boolean => crashes >= SUSPECT_AFTER

/** A session without a past. */
const newSession = { generation: 1, nextGeneration: null, epoch: 0, lease: null, historyTokens: null, historyFrom: 0 }

export const least = (values: ReadonlyArray<number | null>): number | null => {
  const present = values.filter((value) => value !== null)
  return present.length === 0 ? null : Math.min(...present)
}
export const byOrder = (left: { readonly at: number | null; readonly seq: number }, right: typeof left): number =>
  (left.at ?? 0) - (right.at ?? 0) || left.seq - right.seq

const unrecalled = () => ({ recalled: null, news: null, stoppedRuns: [] as Array<string> })

/** A notification that was never tried. */
const untriedRow = {
  state: "ready",
  at: Infinity,
  readyAt: Infinity,
  attempts: 0,
  claims: 0,
  failures: 0,
  silences: 0,
  crashes: 0,
  sharedSince: null,
  heldUntil: null,
  heldSince: 0,
  hasFallback: false,
  runsInNextGeneration: false,
  outcome: null,
  error: null,
  end: null
} as const

/** The rows of one account's queue. Times are epoch milliseconds of the control plane, passed with each call. */
export class QueueState {
  readonly notifications = new Map<string, Notification>()
  readonly sessions = new Map<string, Session>()
  readonly heartbeats = new Map<string, Heartbeat>()
  readonly boots = new Map<string, Boot>()
  readonly history: Array<Entry> = []
  readonly mistakes: ReadonlySet<Mistake>
  readonly usage: UsageModel
  /** The first budget, for the invariants. */
  budgetWas: Budget | null = null
  /** How often runtimes were woken. */
  wakes = 0
  /** How many events and notifications were made. */
  events = 0
  private made = 0
  isPaused = false
  /** Agents that a person paused. */
  readonly paused = new Set<string>()
  protected readonly surroundings: Surroundings
  private isInTransaction = false
  /** Agents that this transaction must wake for: one of their leases ended, or their schedule changed. */
  private readonly ended = new Set<string>()
  private readonly rescheduled = new Set<string>()
  private hasInserted = false

  constructor(surroundings: Surroundings, mistakes: ReadonlySet<Mistake> = new Set()) {
    this.surroundings = surroundings
    this.mistakes = mistakes
    this.usage = new UsageModel(mistakes)
  }

  row(id: string): Notification {
    const row = this.notifications.get(id)
    if (row === undefined) throw new Refusal("not_found")
    return row
  }

  /** The session, made if there is none. */
  sessionFor(id: string, agent: string): Session {
    const found = this.sessions.get(id)
    if (found !== undefined) return found
    const seq = this.sessions.size
    const made: Session = { id, seq, agent, ...newSession, shown: new Map(), ...unrecalled() }
    this.sessions.set(id, made)
    return made
  }

  sessionsOf(agent: string): Array<Session> {
    return [...this.sessions.values()].filter((session) => session.agent === agent)
  }

  /** The session's ready notifications in their order. */
  readyOf(session: string): Array<Notification> {
    return [...this.notifications.values()]
      .filter((row) => row.session === session && row.state === "ready")
      .toSorted(byOrder)
  }

  /** The session's order key: null while it is leased or has nothing ready. */
  atOf({ agent, id, lease }: Session): number | null {
    return lease === null && !this.isHeld(agent) ? (this.readyOf(id)[0]?.at ?? null) : null
  }

  /** Whether nothing of the agent may be claimed. */
  protected isHeld(agent: string): boolean {
    return this.paused.has(agent) && !this.mistakes.has("a claim that takes a paused agent's work")
  }

  /** When the heartbeat can be claimed; null while it is claimed or its agent is paused. */
  heartbeatAt({ agent, at }: Heartbeat): number | null {
    return this.isHeld(agent) ? null : at
  }

  isDue(session: Session, now: number): boolean {
    const at = this.atOf(session)
    return at !== null && at <= now
  }

  /** Whether the agent's heartbeat holds one of its sessions. */
  isInHeartbeat(agent: string): boolean {
    if (this.mistakes.has("a heartbeat next to a delivery")) return false
    return this.sessionsOf(agent).some(({ lease }) => lease?.kind === "heartbeat")
  }

  /** Since when the oldest due notification waits. */
  oldest(now: number): number | null {
    return least(
      [...this.notifications.values()].map((row) => (row.state === "ready" && row.readyAt <= now ? row.readyAt : null))
    )
  }

  /**
   * One transaction at this moment. It wakes the runtimes for an agent whose session or heartbeat became due in it, and
   * for one with due work of which it ended a lease; time alone wakes for nothing.
   */
  transact<A>(now: number, act: () => A): A {
    if (this.isInTransaction) return act()
    const before = this.due(now)
    this.isInTransaction = true
    this.ended.clear()
    this.rescheduled.clear()
    this.hasInserted = false
    try {
      return act()
    } finally {
      this.isInTransaction = false
      const after = this.due(now)
      const woken = new Set(this.rescheduled)
      for (const [what, agent] of after) if (!before.has(what) && !this.waitsForHeartbeat(what, agent)) woken.add(agent)
      for (const agent of after.values()) if (this.ended.has(agent)) woken.add(agent)
      const isMissed =
        (this.mistakes.has("a push that misses an insert") && this.hasInserted) ||
        (this.mistakes.has("a push that misses an end") && this.ended.size > 0)
      if (!isMissed) {
        for (const agent of woken) this.history.push({ entry: "wake", at: now, agent })
        this.wakes += woken.size
      }
    }
  }

  /** Whether what became due is a session of an agent in its heartbeat, whose end wakes the runtimes. */
  private waitsForHeartbeat(what: string, agent: string): boolean {
    return this.sessions.has(what) && this.isInHeartbeat(agent)
  }

  /** The sessions and heartbeats that are due now, each with its agent. */
  private due(now: number): Map<string, string> {
    const ready = new Set<string>()
    for (const row of this.notifications.values()) if (row.state === "ready" && row.at <= now) ready.add(row.session)
    const due = new Map<string, string>()
    for (const { agent, id, lease } of this.sessions.values())
      if (lease === null && ready.has(id) && !this.isHeld(agent)) due.set(id, agent)
    for (const heartbeat of this.heartbeats.values()) {
      const at = this.heartbeatAt(heartbeat)
      // A recalled heartbeat keeps its session, whose end wakes the runtimes.
      const isFree = this.sessions.get(heartbeat.session)?.lease === null
      if (at !== null && at <= now && isFree) due.set(`heartbeat ${heartbeat.agent}`, heartbeat.agent)
    }
    return due
  }

  /** What live runs may still spend, without the one of this session. */
  protected reserved(except?: string): number {
    return [...this.sessions.values()].reduce(
      (sum, { id, lease }) => sum + (id === except ? 0 : (lease?.allowance ?? 0)),
      0
    )
  }

  /** Sets or removes the budget; what waits for it is ready again. */
  setBudget(now: number, budget: Budget | null): void {
    this.transact(now, () => {
      this.usage.budget = budget
      this.budgetWas ??= budget
      for (const row of this.notifications.values()) {
        if (row.heldUntil === null) continue
        Object.assign(row, { heldUntil: null, at: now, readyAt: now })
      }
    })
  }

  protected noteRescheduled(agent: string): void {
    this.rescheduled.add(agent)
  }

  /**
   * Adds the event to the agent's newest notification of the task that is ready, was never claimed and has fewer than 50
   * events; otherwise makes one with this id.
   */
  insert(
    now: number,
    target: Pick<Notification, "session" | "agent" | "task">,
    cause: Omit<Event, "seq" | "at" | "refusal" | "joined">,
    settings: RunSettings
  ): Notification {
    return this.transact(now, () => {
      this.hasInserted = true
      const event: Event = { ...cause, seq: (this.events += 1), at: now, refusal: null, joined: null }
      this.announce(target, event)
      const canJoin = (row: Notification) =>
        (row.state === "ready" && row.claims === 0) ||
        (row.state === "claimed" && this.mistakes.has("coalescing into a row that is running"))
      const found = [...this.notifications.values()].findLast(
        (row) =>
          row.agent === target.agent && row.task === target.task && canJoin(row) && row.events.length < MAX_EVENTS
      )
      if (found !== undefined) {
        found.events.push(event)
        // A budget that held it is asked again.
        if (found.heldUntil !== null) Object.assign(found, { heldUntil: null, readyAt: found.heldSince })
        if (found.state === "ready") this.putOff(now, found, settings)
        return found
      }
      const made = this.make(target, [event])
      this.putOff(now, made, settings)
      return made
    })
  }

  /** The id of the notification that is made next. */
  get nextId(): string {
    return `n${this.made + 1}`
  }

  /** Makes a notification of these events that is never due. */
  private make(target: Pick<Notification, "session" | "agent" | "task">, events: Array<Event>): Notification {
    const made: Notification = { ...untriedRow, ...target, id: this.nextId, seq: this.made, events }
    this.made += 1
    this.notifications.set(made.id, made)
    return made
  }

  /** Notes a person's message for the session's running turn on the task. */
  private announce({ session, task }: Pick<Notification, "session" | "task">, event: Event): void {
    const running = this.sessions.get(session)
    if (running?.lease?.kind !== "notification" || running.recalled !== null || !isPersonsMessage(event)) return
    if (this.row(running.lease.run).task === task) running.news = event.message
  }

  /** The leases whose turns a message may join. */
  get news(): ReadonlyArray<{ readonly session: string; readonly epoch: number; readonly message: string }> {
    if (this.mistakes.has("new messages that are not pushed")) return []
    return [...this.sessions.values()].flatMap(({ epoch, id, news, recalled }) =>
      news === null || recalled !== null ? [] : [{ session: id, epoch, message: news }]
    )
  }

  /** Takes the events that joined in this attempt after the first `joined` out of the notification. */
  protected takeUnshown(row: Notification, epoch: number, joined = 0): ReadonlyArray<Event> {
    if (this.mistakes.has("an end that keeps what it did not show")) return []
    const later = row.events.filter((event) => event.joined === epoch).slice(joined)
    row.events = row.events.filter((event) => !later.includes(event))
    return later
  }

  /** Puts these events into a separate notification. */
  protected requeueUnshown(now: number, row: Notification, unshown: ReadonlyArray<Event>): void {
    if (unshown.length === 0 || this.mistakes.has("an end that drops what it did not show")) return
    const { agent, session, task } = row
    const events = unshown.map((event) => ({ ...event, joined: null }))
    Object.assign(this.make({ agent, session, task }, events), { at: orderOf(events), readyAt: now })
  }

  private noteShown(now: number, session: Session, { epoch, kind, run, shows }: Lease, turn: TurnState): void {
    if (kind === "heartbeat" || turn === "none") return
    const { events, task } = this.row(run)
    const isSeen = turn === "answered" || this.mistakes.has("a failed turn that counts as seen")
    const joined = events.flatMap(({ joined, message }) => (joined === epoch && message !== null ? [message] : []))
    const latest = this.mistakes.has("a join that moves what was seen") ? joined.map(orderOfMessage) : []
    if (!isSeen || shows === null) session.shown.delete(task)
    else session.shown.set(task, { ...shows, messages: Math.max(shows.messages, ...latest), joined, at: now })
  }

  /** Sets when work that was never tried is due: at once, unless agents' updates alone wait for the first quiet. */
  protected putOff(now: number, row: Notification, { quietLimitMs, quietTimeMs }: RunSettings): void {
    const limit = this.mistakes.has("quiet without a limit") ? Infinity : (row.events[0]?.at ?? now) + quietLimitMs
    const quietAt = this.mistakes.has("updates that do not wait") ? now : Math.min(now + quietTimeMs, limit)
    const isUpdate = this.mistakes.has("a mention that waits with updates") ? row.events.some(isPassive) : false
    const waits = (isUpdate || row.events.every(isPassive)) && row.readyAt > now && quietAt > now
    row.at = waits ? quietAt : orderOf(row.events)
    row.readyAt = waits ? quietAt : Math.min(row.readyAt, now)
  }

  protected set(now: number, row: Notification, state: NotificationState): void {
    this.history.push({ entry: "state", at: now, run: row.id, from: row.state, to: state })
    row.state = state
  }

  /** Frees the session; its lease ended this way. What its turn showed is seen only if that was answered. */
  protected free(
    now: number,
    session: Session,
    how: EndHow,
    more: Partial<Omit<EndEntry, "entry" | "how" | keyof Logged>> & { readonly epoch?: number } = {},
    turn: TurnState = "failed"
  ): void {
    const { lease } = session
    if (lease === null) return
    this.noteShown(now, session, lease, turn)
    const { bootId, epoch, kind, run } = lease
    this.history.push({
      entry: "end",
      how,
      at: now,
      session: session.id,
      epoch,
      run,
      kind,
      bootId,
      endedBy: null,
      isShared: false,
      isSilence: false,
      outcome: null,
      class: null,
      retryIn: null,
      ...more
    })
    this.ended.add(session.agent)
    session.lease = null
    session.recalled = null
    session.news = null
  }

  /** Takes the lease back: it fences nothing any more, and keeps the session until its process has aborted the turn. */
  protected recall(now: number, session: Session, reason: Recall): void {
    const { lease } = session
    if (lease === null || session.recalled !== null) return
    const { bootId, epoch, expiresAt, run } = lease
    this.history.push({ entry: "recall", at: now, reason, expiresAt, session: session.id, epoch, run, bootId })
    session.recalled = reason
    if (reason === "stopped") session.stoppedRuns.push(run)
    if (this.mistakes.has("a stop that frees the session at once")) this.free(now, session, "recalled")
  }

  /** The recalled leases of all runtimes. */
  get recalled(): ReadonlyArray<{ readonly session: string; readonly epoch: number; readonly recalled: Recall }> {
    if (this.mistakes.has("a stop that is not pushed")) return []
    return [...this.sessions.values()].flatMap(({ epoch, id, recalled }) =>
      recalled === null ? [] : [{ session: id, epoch, recalled }]
    )
  }
}
