/**
 * The queue once more, independent of convex/: small, synchronous, in memory. What follows from the design's words
 * (sessions, leases, lanes, folding, attempts, fences) is written as plain filters over all rows, so that it can be
 * read against the text; nothing here is indexed or fast.
 */
export type NotificationType = "mention" | "thread_update" | "assignment" | "status_change" | "response_request"
export type RowState = "ready" | "waiting" | "claimed" | "folded" | "delivered" | "dead" | "discarded"
export type Outcome = "replied" | "acted" | "skipped" | "coalesced" | "fallback"

/** Who caused a row. */
export interface Cause {
  readonly type: "person" | "agent" | "system"
  readonly id: string
}

/** A notification. */
export interface Row {
  readonly id: string
  readonly seq: number
  readonly session: string
  readonly agent: string
  readonly task: string
  readonly type: NotificationType
  readonly actor: Cause
  readonly message: string | null
  readonly statuses: readonly [string, string] | null
  readonly request: string | null
  readonly createdAt: number
  state: RowState
  lane: number
  readyAt: number
  nextAttemptAt: number | null
  attempts: number
  claims: number
  failures: number
  silences: number
  crashes: number
  sharedSince: number | null
  aloneAt: number | null
  /** An untried thread_update, which may still be folded. */
  isFoldable: boolean
  foldedInto: string | null
  hops: number
  isRequired: boolean
  hasFallback: boolean
  runsInNextGeneration: boolean
  outcome: Outcome | null
  error: { class: string; message: string; at: number } | null
}

/** An agent's heartbeat: the one that is due next, or that is being tried. */
export interface Beat {
  readonly agent: string
  /** Minutes, or a cron expression, whose moments the runtime reckons. */
  schedule: number | string
  dueAt: number
  /** The moment after this beat's, as the claim of a cron schedule named it. */
  followingAt: number | null
  attempts: number
  /** Claims, given back or not. */
  tries: number
  failures: number
  crashes: number
  notBefore: number | null
  requestId: string | null
}

/** A beat of which nothing has been tried. */
const unbegun = {
  followingAt: null,
  attempts: 0,
  tries: 0,
  failures: 0,
  crashes: 0,
  notBefore: null,
  requestId: null
}

/** The identity of a beat, the same in all its attempts. */
export const beatId = ({ agent, dueAt }: Pick<Beat, "agent" | "dueAt">): string => `${agent}:${dueAt}`

/** Whose turn a lease is for, as its effects see it. */
export interface Run {
  readonly id: string
  readonly isBeat: boolean
  readonly agent: string
  /** A beat has none. */
  readonly row: Row | null
}

/** The right to run a session's turn. */
export interface Lease {
  readonly runtimeId: string
  readonly bootId: string
  readonly epoch: number
  /** The notification's id or the beat's. */
  readonly row: string
  readonly isBeat: boolean
  readonly generation: number
  readonly isAlone: boolean
  readonly isSpent: boolean
  expiresAt: number
}

/** What runs one turn at a time. */
export interface Session {
  readonly id: string
  readonly seq: number
  readonly agent: string
  generation: number
  /** The generation that an operator asked for, from the next claim. */
  nextGeneration: number | null
  epoch: number
  lease: Lease | null
  ends: Array<{ readonly epoch: number; readonly kind: string; readonly answer: object }>
}

/** A refusal with its code, as the control plane's functions answer it. */
export class Refusal extends Error {
  readonly code: string
  constructor(code: string) {
    super(code)
    this.code = code
  }
}

/** Everything that happened, for those who judge it afterwards. */
export type Event =
  | {
      readonly kind: "claim"
      readonly at: number
      readonly runtimeId: string
      readonly bootId: string
      readonly session: string
      readonly epoch: number
      readonly row: string
      readonly isBeat: boolean
      readonly attempt: number
      readonly fold: ReadonlyArray<string>
      readonly spent: boolean
      readonly alone: boolean
      readonly parked: ReadonlyArray<string>
    }
  | {
      readonly kind: "end"
      readonly at: number
      readonly how: "complete" | "fail" | "release" | "rescue" | "beat"
      readonly session: string
      readonly epoch: number
      readonly row: string
      readonly isBeat: boolean
      readonly bootId: string
      /** Whose claim took the lease, of those that are rescued. */
      readonly takenBy: string | null
      readonly isShared: boolean
      readonly isSilence: boolean
      readonly outcome: string | null
      readonly class: string | null
      readonly retryIn: number | null
    }
  | {
      readonly kind: "state"
      readonly at: number
      readonly row: string
      readonly from: RowState
      readonly to: RowState
    }
  | {
      readonly kind: "effect"
      readonly at: number
      readonly session: string
      readonly epoch: number
      readonly row: string
      readonly tool: string
      /** The arguments of a creation; null for what sets a state. */
      readonly creation: string | null
    }

/** Mistakes that can be planted, to see that the invariants notice them. */
export type Mistake =
  | "folding that ends rows too early"
  | "unfenced complete"
  | "unfenced tool"
  | "attempts counted only on failure"
  | "retry counter in memory"
  | "a ledger that forgets"
  | "hops without a limit"
  | "heartbeats with a lease of their own"
  | "beats go on while a row waits to be alone"

/** What the queue needs of the account around it. */
export interface Surroundings {
  readonly hasTask: (task: string) => boolean
  readonly post: (
    row: Row,
    epoch: number,
    message: { readonly kind: "reply" | "fallback" | "note"; readonly content: string | null },
    maxHops: number
  ) => string | null
  /** Moves an assigned task on when its assignee replied or acted. */
  readonly begun: (row: Row, maxHops: number) => void
  /** When an agent's first beat by this interval is due. */
  readonly firstBeatAt: (agent: string, minutes: number, now: number, before: Beat | null) => number
}

export interface BeatRequest {
  readonly requestId: string
  readonly runtimeId: string
  readonly bootId: string
  readonly agentId: string
  readonly leaseMs: number
  readonly parkedAgents: ReadonlyArray<string>
  readonly nextDueAt?: number
  readonly schedule?: string
}

/** The lease of a beat, or when to ask again and why. */
export type BeatClaim =
  | {
      readonly heartbeatId: string
      readonly session: string
      readonly epoch: number
      readonly expiresAt: number
      readonly attempt: number
    }
  | { readonly notBefore: number; readonly dueAt: number; readonly reason: string }

export interface ClaimRequest {
  readonly requestId: string
  readonly runtimeId: string
  readonly bootId: string
  readonly limit: number
  readonly leaseMs: number
  readonly maxAttempts: number
  readonly parkedAgents: ReadonlyArray<string>
}

export interface ClaimAnswer {
  readonly deliveries: ReadonlyArray<{
    readonly notificationIds: ReadonlyArray<string>
    readonly session: string
    readonly epoch: number
    readonly expiresAt: number
    readonly attempt: number
    readonly spent: boolean
    readonly alone: boolean
    readonly failures: number
    readonly silences: number
    readonly readyAt: number
    readonly lane: number
  }>
  readonly nextDueAt: number | null
  readonly isBlocked: boolean
}

export interface Fence {
  readonly session: string
  readonly epoch: number
}

const DAY = 24 * 60 * 60 * 1_000
/** Two attempts that ended with their runtime make a row run alone; it may hold others back after a minute. */
const ALONE_AFTER = 2
const ALONE_OVERDUE = 60_000
/** After so many own failures and crashes a beat is given up. */
const BEAT_FAILURES = 3
const ASK_AGAIN = 15_000
const STALE_AGAIN = 1_000

const order =
  <A>(...keys: ReadonlyArray<(item: A) => number>) =>
  (left: A, right: A): number => {
    for (const key of keys) {
      const difference = key(left) - key(right)
      if (difference !== 0) return difference
    }
    return 0
  }
const byLane = order<Row>(
  (row) => row.lane,
  (row) => row.readyAt,
  (row) => row.seq
)
const byAge = order<Row>(
  (row) => row.readyAt,
  (row) => row.seq
)
const byStrength = order<Row>(
  (row) => (row.actor.type === "person" ? 0 : 1),
  (row) => -row.readyAt,
  (row) => -row.seq
)
const least = (values: ReadonlyArray<number | null>): number | null => {
  const present = values.filter((value) => value !== null)
  return present.length === 0 ? null : Math.min(...present)
}

/** The queue of one account. Times are epoch milliseconds of the control plane, handed in with each call. */
export class QueueModel {
  readonly rows = new Map<string, Row>()
  readonly sessions = new Map<string, Session>()
  readonly beats = new Map<string, Beat>()
  readonly history: Array<Event> = []
  readonly boots = new Map<string, { bootId: string; former: Array<string> }>()
  readonly mistakes: ReadonlySet<Mistake>
  isPaused = false
  private readonly lastClaims = new Map<string, { requestId: string; count: number; answer: ClaimAnswer }>()
  private readonly surroundings: Surroundings
  /** For the mistake "retry counter in memory": attempts as each boot counted them. */
  private readonly counted = new Map<string, number>()

  constructor(surroundings: Surroundings, mistakes: ReadonlySet<Mistake> = new Set()) {
    this.surroundings = surroundings
    this.mistakes = mistakes
  }

  /** Adds a session for the agent (and task). */
  sessionFor(id: string, agent: string): Session {
    const found = this.sessions.get(id)
    if (found !== undefined) return found
    const made: Session = {
      id,
      seq: this.sessions.size,
      agent,
      generation: 1,
      nextGeneration: null,
      epoch: 0,
      lease: null,
      ends: []
    }
    this.sessions.set(id, made)
    return made
  }

  /** Inserts a ready row. */
  enqueue(
    now: number,
    row: Pick<Row, "id" | "session" | "agent" | "task" | "type" | "actor" | "hops"> &
      Partial<Pick<Row, "message" | "statuses" | "request">>
  ): Row {
    const byPerson = row.actor.type === "person"
    const lane =
      byPerson && (row.type === "mention" || row.type === "thread_update")
        ? 0
        : row.type === "response_request"
          ? 1
          : row.type === "assignment"
            ? 2
            : 3
    const made: Row = {
      message: null,
      statuses: null,
      request: null,
      ...row,
      seq: this.rows.size,
      createdAt: now,
      state: "ready",
      lane,
      readyAt: now,
      nextAttemptAt: null,
      attempts: 0,
      claims: 0,
      failures: 0,
      silences: 0,
      crashes: 0,
      sharedSince: null,
      aloneAt: null,
      isFoldable: row.type === "thread_update",
      foldedInto: null,
      isRequired: row.type === "thread_update" ? byPerson : row.type !== "status_change",
      hasFallback: false,
      runsInNextGeneration: false,
      outcome: null,
      error: null
    }
    this.rows.set(made.id, made)
    return made
  }

  row(id: string): Row {
    const row = this.rows.get(id)
    if (row === undefined) throw new Refusal("not_found")
    return row
  }

  /** The rows of a session in this state, in the order of their making. */
  rowsOf(session: string, state: RowState): Array<Row> {
    return [...this.rows.values()].filter((row) => row.session === session && row.state === state)
  }

  foldOf(row: Row): Array<Row> {
    return [...this.rows.values()].filter((each) => each.foldedInto === row.id)
  }

  private set(now: number, row: Row, state: RowState): void {
    this.history.push({ kind: "state", at: now, row: row.id, from: row.state, to: state })
    row.state = state
  }

  private mustBeCurrent(runtimeId: string, bootId: string): void {
    if (this.boots.get(runtimeId)?.bootId !== bootId) throw new Refusal("conflict")
  }

  /** The first pulse of a new boot frees what earlier boots of the same RUNTIME_ID hold; answers how many. */
  boot(now: number, runtimeId: string, bootId: string): number {
    const known = this.boots.get(runtimeId)
    if (known?.bootId === bootId) return 0
    if (known?.former.includes(bootId) === true) throw new Refusal("conflict")
    this.boots.set(runtimeId, { bootId, former: known === undefined ? [] : [known.bootId, ...known.former] })
    const left = [...this.sessions.values()].filter(({ lease }) => lease?.runtimeId === runtimeId)
    for (const session of left) this.rescue(now, session, null)
    return left.length
  }

  /** Ends a lease whose runtime is gone: the row is ready again, its attempt stays spent. */
  private rescue(now: number, session: Session, takenBy: string | null): void {
    const { lease } = session
    if (lease === null) return
    const row = lease.isBeat ? null : this.row(lease.row)
    if (row?.state === "claimed") {
      row.crashes += 1
      if (row.crashes >= ALONE_AFTER) row.aloneAt = now
      if (this.mistakes.has("attempts counted only on failure")) row.attempts -= 1
      this.set(now, row, "ready")
    }
    const beat = lease.isBeat ? this.beats.get(session.agent) : undefined
    if (beat !== undefined) {
      beat.crashes += 1
      beat.requestId = null
    }
    this.noteEnd(now, session, "rescue", { takenBy })
    session.lease = null
  }

  private noteEnd(
    now: number,
    session: Session,
    how: "complete" | "fail" | "release" | "rescue" | "beat",
    more: {
      readonly takenBy?: string | null
      readonly isShared?: boolean
      readonly isSilence?: boolean
      readonly outcome?: string | null
      readonly class?: string | null
      readonly retryIn?: number | null
    },
    epoch?: number
  ): void {
    const { lease } = session
    if (lease === null) return
    this.history.push({
      kind: "end",
      at: now,
      how,
      session: session.id,
      epoch: epoch ?? lease.epoch,
      row: lease.row,
      isBeat: lease.isBeat,
      bootId: lease.bootId,
      takenBy: null,
      isShared: false,
      isSilence: false,
      outcome: null,
      class: null,
      retryIn: null,
      ...more
    })
  }

  /** The oldest and newest ready row, as the subscription pushes them. */
  backlog(): { oldest: number | null; newest: number | null; newestId: string | null } {
    const ready = [...this.rows.values()].filter(({ state }) => state === "ready").toSorted(byAge)
    const newest = ready.at(-1)
    return { oldest: ready[0]?.readyAt ?? null, newest: newest?.readyAt ?? null, newestId: newest?.id ?? null }
  }

  /** The earliest later moment at which a claim could find something: a retry of a free session, the end of a lease. */
  nextDueAt(now: number): number | null {
    return least(
      [...this.sessions.values()].map(({ id, lease }) => {
        const at = lease === null ? this.retryAt(id) : lease.expiresAt
        return at !== null && at > now ? at : null
      })
    )
  }

  /** As nextDueAt, but what is overdue counts as due now: for a runtime that did not see it come. */
  pulseDueAt(now: number, runtimeId: string): number | null {
    const due = [...this.sessions.values()].map(({ id, lease }) => {
      if (lease === null) return this.retryAt(id)
      // Its own live leases it keeps itself.
      return lease.runtimeId === runtimeId && lease.expiresAt > now ? null : lease.expiresAt
    })
    const at = least(due)
    return at === null ? null : Math.max(now, at)
  }

  private retryAt(session: string): number | null {
    return least(this.rowsOf(session, "waiting").map(({ nextAttemptAt }) => nextAttemptAt))
  }

  claim(now: number, request: ClaimRequest): ClaimAnswer {
    this.mustBeCurrent(request.runtimeId, request.bootId)
    const last = this.lastClaims.get(request.runtimeId)
    if (last !== undefined && last.requestId === request.requestId) return last.answer
    if (this.isPaused) return { deliveries: [], nextDueAt: null, isBlocked: false }
    const count = (last?.count ?? 0) + 1
    for (const session of this.sessions.values()) {
      if (session.lease !== null) continue
      for (const row of this.rowsOf(session.id, "waiting")) {
        const due = row.nextAttemptAt ?? now
        if (due > now) continue
        row.nextAttemptAt = null
        if (row.crashes >= ALONE_AFTER) row.aloneAt = due
        this.set(now, row, "ready")
      }
    }
    const taken = this.takeSessions(now, request, count % 4 === 0)
    const answer = { ...taken, nextDueAt: this.nextDueAt(now) }
    this.lastClaims.set(request.runtimeId, { requestId: request.requestId, count, answer })
    return answer
  }

  private takeSessions(
    now: number,
    request: ClaimRequest,
    isOldestFirst: boolean
  ): Pick<ClaimAnswer, "deliveries" | "isBlocked"> {
    const all = [...this.sessions.values()]
    const held = all.filter(({ lease }) => lease?.runtimeId === request.runtimeId && lease.expiresAt > now)
    const isIdle = held.length === 0
    if (held.some(({ lease }) => lease?.isAlone)) return { deliveries: [], isBlocked: true }
    const isParked = (session: Session): boolean => request.parkedAgents.includes(session.agent)
    const isSpent = (row: Row): boolean => this.attemptsOf(row, request.bootId) >= request.maxAttempts
    const isExpired = ({ lease }: Session): boolean => lease !== null && lease.expiresAt <= now
    const expiredRow = (session: Session): Row | null =>
      session.lease === null || !isExpired(session) || session.lease.isBeat ? null : this.row(session.lease.row)
    const mustRunAlone = (row: Row | null): boolean => row !== null && !isSpent(row) && row.crashes + 1 >= ALONE_AFTER
    const ready = (session: Session): Array<Row> =>
      this.rowsOf(session.id, "ready").toSorted(isOldestFirst ? byAge : byLane)

    // A row that must run alone and is overdue goes first, or holds this runtime back until it is idle.
    const overdue = this.overdueAlone(now, request.parkedAgents, isSpent)
    if (overdue !== undefined) {
      if (!isIdle) return { deliveries: [], isBlocked: true }
      this.rescue(now, overdue.session, request.bootId)
      return { deliveries: [this.take(now, overdue.session, overdue.row, request, false, true)], isBlocked: false }
    }
    const expired = all
      // A beat that is left over alone is taken up by a beat's claim, not by this one.
      .filter(
        (session) =>
          isExpired(session) &&
          !isParked(session) &&
          (expiredRow(session) !== null || this.rowsOf(session.id, "ready").length > 0)
      )
      .toSorted(order(({ lease }) => lease?.expiresAt ?? 0))
      .slice(0, request.limit)
    const rank = (session: Session, rows: ReadonlyArray<Row>) => {
      const best = rows.toSorted(byLane)[0]
      const at = isOldestFirst ? (rows.toSorted(byAge)[0]?.readyAt ?? 0) : (best?.readyAt ?? 0)
      return { session, lane: best?.lane ?? 0, at }
    }
    const free = all.filter((session) => {
      if (session.lease !== null) return false
      const [next] = ready(session)
      if (next === undefined) return false
      // A parked agent's row is taken only to be given up, after a day of nothing but shared failures.
      return !isParked(session) || (next.sharedSince !== null && next.sharedSince <= now - DAY)
    })
    const expiredRank = (session: Session) => {
      const own = expiredRow(session)
      const best = this.rowsOf(session.id, "ready").toSorted(byLane)[0]
      const [first] = [own, best]
        .filter((row) => row !== undefined && row !== null)
        .toSorted(
          order(
            (row) => row.lane,
            (row) => row.readyAt
          )
        )
      return { session, lane: first?.lane ?? 0, at: first?.readyAt ?? 0 }
    }
    const queue = [
      ...expired.map(expiredRank),
      ...free.map((session) => rank(session, this.rowsOf(session.id, "ready")))
    ].toSorted(
      order(
        ({ lane }) => (isOldestFirst ? 0 : lane),
        ({ at }) => at
      )
    )

    const deliveries: Array<ClaimAnswer["deliveries"][number]> = []
    for (const { session } of queue) {
      if (deliveries.length === request.limit) break
      const canBeAlone = isIdle && deliveries.length === 0
      if (isExpired(session)) {
        if (mustRunAlone(expiredRow(session)) && !canBeAlone) continue
        this.rescue(now, session, request.bootId)
      }
      const [row] = ready(session)
      if (row === undefined) continue
      const spent = isSpent(row) || isParked(session)
      const alone = !spent && row.crashes >= ALONE_AFTER
      if (alone && !canBeAlone) continue
      deliveries.push(this.take(now, session, row, request, spent, alone))
      if (alone) break
    }
    return { deliveries, isBlocked: false }
  }

  /** What must run alone and has waited for a minute: in free sessions first, then beside and under dead leases. */
  overdueAlone(
    now: number,
    parkedAgents: ReadonlyArray<string>,
    isSpent: (row: Row) => boolean = () => false
  ): { readonly session: Session; readonly row: Row } | undefined {
    const sessions = [...this.sessions.values()].filter(({ agent }) => !parkedAgents.includes(agent))
    const ready = (session: Session) => {
      const [row] = this.rowsOf(session.id, "ready")
        .filter(({ aloneAt }) => aloneAt !== null)
        .toSorted(order((each) => each.aloneAt ?? 0))
      return row === undefined || isSpent(row) ? [] : [{ session, row, since: row.aloneAt ?? now }]
    }
    const free = sessions
      .filter(({ lease }) => lease === null)
      .flatMap(ready)
      .toSorted(order(({ since }) => since))
    const left = sessions
      .filter(({ lease }) => lease !== null && lease.expiresAt <= now)
      .toSorted(order(({ lease }) => lease?.expiresAt ?? 0))
      .flatMap((session) => {
        const { lease } = session
        const row = lease === null || lease.isBeat ? undefined : this.row(lease.row)
        return lease === null || row === undefined || isSpent(row) || row.crashes + 1 < ALONE_AFTER
          ? ready(session)
          : [...ready(session), { session, row, since: lease.expiresAt }]
      })
    return [...free, ...left].find(({ since }) => since <= now - ALONE_OVERDUE)
  }

  private attemptsOf(row: Row, bootId: string): number {
    return this.mistakes.has("retry counter in memory") ? (this.counted.get(`${bootId} ${row.id}`) ?? 0) : row.attempts
  }

  private take(
    now: number,
    session: Session,
    first: Row,
    request: ClaimRequest,
    spent: boolean,
    alone: boolean
  ): ClaimAnswer["deliveries"][number] {
    const row = this.fold(now, first)
    const others = this.foldOf(row).filter(
      ({ state }) => state === "folded" || this.mistakes.has("folding that ends rows too early")
    )
    if (!spent) row.attempts += 1
    const memory = `${request.bootId} ${row.id}`
    if (!spent) this.counted.set(memory, (this.counted.get(memory) ?? 0) + 1)
    const attempt = this.mistakes.has("retry counter in memory") ? (this.counted.get(memory) ?? 0) : row.attempts
    row.claims += 1
    row.aloneAt = null
    this.set(now, row, "claimed")
    this.startGeneration(session)
    session.epoch += 1
    session.lease = {
      runtimeId: request.runtimeId,
      bootId: request.bootId,
      epoch: session.epoch,
      row: row.id,
      isBeat: false,
      generation: session.generation + (row.runsInNextGeneration ? 1 : 0),
      isAlone: alone,
      isSpent: spent,
      expiresAt: now + request.leaseMs
    }
    this.history.push({
      kind: "claim",
      at: now,
      runtimeId: request.runtimeId,
      bootId: request.bootId,
      session: session.id,
      epoch: session.epoch,
      row: row.id,
      isBeat: false,
      attempt,
      fold: others.map(({ id }) => id),
      spent,
      alone,
      parked: request.parkedAgents
    })
    return {
      notificationIds: [row.id, ...others.map(({ id }) => id)],
      session: session.id,
      epoch: session.epoch,
      expiresAt: session.lease.expiresAt,
      attempt,
      spent,
      alone,
      failures: row.failures,
      silences: row.silences,
      readyAt: row.readyAt,
      lane: row.lane
    }
  }

  private startGeneration(session: Session): void {
    session.generation = Math.max(session.generation, session.nextGeneration ?? 0)
    session.nextGeneration = null
  }

  /** Gives the agent's sessions a new generation, newer than what runs now, from their next claim. */
  rotate(agent: string): ReadonlyArray<Session> {
    const rotated = [...this.sessions.values()].filter((session) => session.agent === agent)
    if (rotated.length === 0) throw new Refusal("not_found")
    for (const session of rotated) {
      session.nextGeneration = Math.max(session.generation, session.lease?.generation ?? 0) + 1
    }
    return rotated
  }

  /** At the first claim: the untried updates of one session and task, at most 50, become the turn of the strongest. */
  private fold(now: number, first: Row): Row {
    if (!first.isFoldable) return first
    const untried = this.rowsOf(first.session, "ready")
      .filter((row) => row.isFoldable && row.task === first.task)
      .toSorted(byAge)
      .slice(0, 50)
    const rows = untried.includes(first) ? untried : [...untried.slice(0, 49), first]
    const kept = rows.toSorted(byStrength)[0] ?? first
    kept.lane = Math.min(...rows.map(({ lane }) => lane))
    kept.readyAt = Math.min(...rows.map(({ readyAt }) => readyAt))
    kept.hops = Math.min(...rows.map(({ hops }) => hops))
    kept.isRequired = rows.some(({ isRequired }) => isRequired)
    for (const row of rows) {
      row.isFoldable = false
      if (row === kept) continue
      row.foldedInto = kept.id
      if (this.mistakes.has("folding that ends rows too early")) {
        row.outcome = "coalesced"
        this.set(now, row, "delivered")
      } else this.set(now, row, "folded")
    }
    return kept
  }

  /** The session whose lease has this epoch, expired or not; `lease_lost` otherwise. */
  held(fence: Fence, isUnfenced = false): { readonly session: Session; readonly lease: Lease } {
    const session = this.sessions.get(fence.session)
    const lease = session?.lease ?? null
    if (session === undefined || lease === null || (lease.epoch !== fence.epoch && !isUnfenced)) {
      throw new Refusal("lease_lost")
    }
    return { session, lease }
  }

  /** As held, for what only a delivery may do. */
  private heldRow(fence: Fence, isUnfenced = false) {
    const held = this.held(fence, isUnfenced)
    if (held.lease.isBeat) throw new Refusal("invalid")
    return { ...held, row: this.row(held.lease.row) }
  }

  /** The beat that a lease is for, while it is still the agent's. */
  private beatOf({ agent, lease }: Session): Beat | undefined {
    const beat = this.beats.get(agent)
    return beat !== undefined && beatId(beat) === lease?.row ? beat : undefined
  }

  private repeated(fence: Fence, kind: string): object | null {
    const session = this.sessions.get(fence.session)
    if (session === undefined || session.lease?.epoch === fence.epoch) return null
    return session.ends.find((end) => end.epoch === fence.epoch && end.kind === kind)?.answer ?? null
  }

  private end(session: Session, kind: string, answer: object): void {
    session.ends = [{ epoch: session.lease?.epoch ?? 0, kind, answer }, ...session.ends.slice(0, 4)]
    session.lease = null
  }

  renew(now: number, args: Fence & { leaseMs: number; runtimeId: string; bootId: string }): { expiresAt: number } {
    this.mustBeCurrent(args.runtimeId, args.bootId)
    const { lease } = this.held(args)
    lease.expiresAt = now + args.leaseMs
    return { expiresAt: lease.expiresAt }
  }

  release(
    now: number,
    args: Fence & { nextAttemptAt?: number; class?: string; error?: string; sharedLimitMs?: number }
  ): object {
    const again = this.repeated(args, "release")
    if (again !== null) return again
    if (this.held(args).lease.isBeat) return this.releaseBeat(now, args)
    const { lease, row, session } = this.heldRow(args)
    const isShared = args.nextAttemptAt !== undefined
    this.noteEnd(now, session, "release", {
      isShared,
      class: args.class ?? null,
      retryIn: args.nextAttemptAt === undefined ? null : args.nextAttemptAt - now
    })
    const isLimited = isShared && args.sharedLimitMs !== undefined
    const since = row.sharedSince ?? now
    let state: "ready" | "waiting" | "dead"
    if (isLimited && now - since > (args.sharedLimitMs ?? 0)) {
      state = "dead"
      this.noteError(now, row, args)
      this.die(now, row, lease.epoch, 0)
      row.failures += 1
    } else {
      // A spent row took no attempt that could be given back.
      if (!lease.isSpent) row.attempts = Math.max(0, row.attempts - 1)
      const memory = `${lease.bootId} ${row.id}`
      this.counted.set(memory, Math.max(0, (this.counted.get(memory) ?? 0) - 1))
      if (args.nextAttemptAt === undefined) {
        state = "ready"
        if (row.crashes >= ALONE_AFTER) row.aloneAt = now
      } else {
        state = "waiting"
        row.nextAttemptAt = args.nextAttemptAt
        row.failures += 1
        row.sharedSince = isLimited ? since : null
        this.noteError(now, row, args)
      }
      this.set(now, row, state)
    }
    this.end(session, "release", { state })
    return { state }
  }

  private noteError(now: number, row: Row, args: { class?: string; error?: string }): void {
    if (args.class === undefined && args.error === undefined) return
    row.error = { class: args.class ?? "Unknown", message: args.error ?? "", at: now }
  }

  /** Ends the row and its fold as a dead letter; posts the fallback when an answer was owed. */
  private die(now: number, row: Row, epoch: number, maxHops: number): void {
    if (row.isRequired && this.fallback(row, epoch, maxHops) !== null) row.hasFallback = true
    row.crashes = 0
    row.nextAttemptAt = null
    this.set(now, row, "dead")
    for (const each of this.foldOf(row)) if (each.state === "folded") this.set(now, each, "dead")
  }

  private fallback(row: Row, epoch: number, maxHops: number): string | null {
    if (row.hasFallback || !this.surroundings.hasTask(row.task)) return null
    return this.surroundings.post(row, epoch, { kind: "fallback", content: null }, maxHops)
  }

  /** Ends the row and its fold: the strongest that was not refused bears the outcome. */
  private deliver(
    now: number,
    row: Row,
    outcome: Exclude<Outcome, "coalesced">,
    refusedRows: ReadonlyArray<{ readonly id: string }> = []
  ): void {
    const refused = new Set(refusedRows.map(({ id }) => id))
    const fold = this.foldOf(row).filter(({ state }) => state === "folded")
    const bearer = [row, ...fold.toSorted(order((each) => -each.readyAt))].find(({ id }) => !refused.has(id)) ?? row
    for (const each of [row, ...fold]) {
      each.outcome = each === bearer ? outcome : refused.has(each.id) ? "skipped" : "coalesced"
      each.crashes = 0
      this.set(now, each, "delivered")
    }
  }

  fail(
    now: number,
    args: Fence & {
      class: string
      error: string
      nextAttemptAt?: number
      silence: boolean
      silenceLimit: number
      refused?: ReadonlyArray<{ readonly id: string; readonly reason: string }>
      rotate?: boolean
      maxHops: number
    }
  ): object {
    const again = this.repeated(args, "fail")
    if (again !== null) return again
    if (this.held(args).lease.isBeat) return this.failBeat(now, args)
    const { lease, row, session } = this.heldRow(args)
    this.noteEnd(now, session, "fail", {
      isSilence: args.silence,
      class: args.class,
      retryIn: args.nextAttemptAt === undefined ? null : args.nextAttemptAt - now
    })
    row.failures += 1
    row.silences += args.silence ? 1 : 0
    row.crashes = 0
    row.sharedSince = null
    this.noteError(now, row, args)
    let state: "waiting" | "dead" | "delivered"
    if (args.silence && row.silences >= args.silenceLimit) {
      state = "delivered"
      const outcome = row.isRequired ? "fallback" : "skipped"
      if (row.isRequired) {
        this.fallback(row, lease.epoch, args.maxHops)
        row.hasFallback = true
      }
      this.deliver(now, row, outcome, args.refused)
    } else if (args.nextAttemptAt === undefined) {
      state = "dead"
      this.die(now, row, lease.epoch, args.maxHops)
    } else {
      state = "waiting"
      row.nextAttemptAt = args.nextAttemptAt
      row.runsInNextGeneration = args.rotate ?? false
      this.set(now, row, "waiting")
    }
    this.end(session, "fail", { state })
    return { state }
  }

  complete(
    now: number,
    args: Fence & {
      outcome: Exclude<Outcome, "coalesced">
      reply?: string
      note?: string
      refused?: ReadonlyArray<{ readonly id: string; readonly reason: string }>
      maxHops: number
    }
  ): object {
    const again = this.repeated(args, "complete")
    if (again !== null) return again
    const { lease, row, session } = this.heldRow(args, this.mistakes.has("unfenced complete"))
    this.noteEnd(now, session, "complete", { outcome: args.outcome }, args.epoch)
    this.deliver(now, row, args.outcome, args.refused)
    let messageId: string | null = null
    if (this.surroundings.hasTask(row.task)) {
      if (args.outcome === "fallback") {
        messageId = this.fallback(row, args.epoch, args.maxHops)
        row.hasFallback = true
      } else if (args.reply !== undefined && args.reply.trim() !== "") {
        messageId = this.surroundings.post(row, args.epoch, { kind: "reply", content: args.reply }, args.maxHops)
      } else if (args.note !== undefined && args.note.trim() !== "") {
        messageId = this.surroundings.post(row, args.epoch, { kind: "note", content: args.note }, args.maxHops)
      }
      if (args.outcome === "replied" || args.outcome === "acted") this.surroundings.begun(row, args.maxHops)
    }
    session.generation = lease.generation
    this.end(session, "complete", { messageId })
    return { messageId }
  }

  private deadLetter(id: string): Row {
    const row = this.row(id)
    if (row.state !== "dead" || row.foldedInto !== null) throw new Refusal("conflict")
    return row
  }

  /** A dead letter gets a new budget, with its fold; a fallback it had is not posted twice. */
  retryDeadLetter(now: number, id: string): void {
    const row = this.deadLetter(id)
    Object.assign(row, {
      readyAt: now,
      attempts: 0,
      failures: 0,
      silences: 0,
      crashes: 0,
      sharedSince: null,
      runsInNextGeneration: false
    })
    this.set(now, row, "ready")
    for (const each of this.foldOf(row)) if (each.state === "dead") this.set(now, each, "folded")
  }

  discardDeadLetter(now: number, id: string): void {
    const row = this.deadLetter(id)
    this.set(now, row, "discarded")
    for (const each of this.foldOf(row)) if (each.state === "dead") this.set(now, each, "discarded")
  }

  /** Ends what no run holds of a task that is over. */
  skipTask(now: number, task: string): void {
    this.skip(now, (row) => row.task === task)
  }

  /** Ends what no run holds of an agent that is gone. */
  skipSession(now: number, session: string): void {
    this.skip(now, (row) => row.session === session)
  }

  private skip(now: number, isMeant: (row: Row) => boolean): void {
    for (const row of this.rows.values()) {
      if (!isMeant(row) || !["ready", "waiting", "folded"].includes(row.state)) continue
      row.outcome = "skipped"
      row.nextAttemptAt = null
      row.aloneAt = null
      row.isFoldable = false
      this.set(now, row, "delivered")
    }
  }

  /** Leases the agent's session for its beat when that is due and nothing comes first; otherwise when to ask again. */
  claimBeat(now: number, request: BeatRequest, session: Session, schedule: number | string): BeatClaim {
    this.mustBeCurrent(request.runtimeId, request.bootId)
    const agent = request.agentId
    const before = this.beats.get(agent)
    const { lease } = session
    const isSame = before?.requestId === request.requestId && lease?.bootId === request.bootId
    if (before !== undefined && isSame && lease?.row === beatId(before)) {
      const { epoch, expiresAt, row } = lease
      return { heartbeatId: row, session: session.id, epoch, expiresAt, attempt: before.attempts }
    }
    if (lease !== null && lease.expiresAt > now) {
      const notBefore = Math.min(lease.expiresAt, now + ASK_AGAIN)
      return { notBefore, dueAt: before?.dueAt ?? now, reason: "session_busy" }
    }
    if (typeof schedule === "string" && request.schedule !== undefined && request.schedule !== schedule) {
      return { notBefore: now + ASK_AGAIN, dueAt: before?.dueAt ?? now, reason: "not_due" }
    }
    if (before !== undefined && before.schedule === schedule && before.dueAt > now) {
      return { notBefore: before.dueAt, dueAt: before.dueAt, reason: "not_due" }
    }
    if (typeof schedule === "string" && request.nextDueAt !== undefined && request.nextDueAt <= now) {
      return { notBefore: now + STALE_AGAIN, dueAt: before?.dueAt ?? now, reason: "not_due" }
    }
    this.rescue(now, session, request.bootId)
    const beat = this.currentBeat(now, agent, schedule, request.nextDueAt)
    const wait = (reason: string, notBefore: number): BeatClaim => ({ notBefore, dueAt: beat.dueAt, reason })
    if (beat.dueAt > now) return wait("not_due", beat.dueAt)
    if (beat.notBefore !== null && beat.notBefore > now) return wait("backing_off", beat.notBefore)
    if (this.isPaused) return wait("paused", now + ASK_AGAIN)
    if (request.parkedAgents.includes(agent)) return wait("parked", now + ASK_AGAIN)
    const retryAt = this.retryAt(session.id)
    if (this.rowsOf(session.id, "ready").length > 0 || (retryAt !== null && retryAt <= now)) {
      return wait("delivery_first", now + ASK_AGAIN)
    }
    const isAlone = [...this.sessions.values()].some(
      (each) => each.lease?.runtimeId === request.runtimeId && each.lease.expiresAt > now && each.lease.isAlone
    )
    const isHeldBack =
      this.overdueAlone(now, request.parkedAgents) !== undefined &&
      !this.mistakes.has("beats go on while a row waits to be alone")
    if (isAlone || isHeldBack) return wait("runtime_alone", now + ASK_AGAIN)
    beat.attempts += 1
    beat.tries += 1
    beat.notBefore = null
    beat.requestId = request.requestId
    if (typeof schedule === "string") beat.followingAt = this.named(request.nextDueAt)
    this.startGeneration(session)
    session.epoch += 1
    const { epoch } = session
    const { bootId, runtimeId } = request
    const expiresAt = now + request.leaseMs
    const row = beatId(beat)
    const { generation } = session
    session.lease = {
      runtimeId,
      bootId,
      epoch,
      row,
      isBeat: true,
      generation,
      isAlone: false,
      isSpent: false,
      expiresAt
    }
    const { attempts: attempt } = beat
    const claim = { session: session.id, epoch, row, isBeat: true, attempt, fold: [], spent: false, alone: false }
    this.history.push({ kind: "claim", at: now, runtimeId, bootId, ...claim, parked: request.parkedAgents })
    return { heartbeatId: row, session: session.id, epoch, expiresAt, attempt: beat.attempts }
  }

  private named(nextDueAt: number | undefined): number {
    if (nextDueAt === undefined) throw new Refusal("invalid")
    return nextDueAt
  }

  /** The beat that follows this one after the time given. */
  private following({ dueAt, followingAt, schedule }: Beat, after: number): number {
    if (typeof schedule === "string") return followingAt ?? after + 60_000
    const interval = schedule * 60_000
    return dueAt + interval * Math.max(1, Math.floor((after - dueAt) / interval) + 1)
  }

  /** The agent's beat as of now: made at need, anew after another schedule, and past those that were given up. */
  private currentBeat(now: number, agent: string, schedule: number | string, given: number | undefined): Beat {
    const found = this.beats.get(agent)
    if (found === undefined || found.schedule !== schedule) {
      const dueAt =
        typeof schedule === "string"
          ? this.named(given)
          : this.surroundings.firstBeatAt(agent, schedule, now, found ?? null)
      const made = found ?? { agent, schedule, dueAt, ...unbegun }
      this.beats.set(agent, Object.assign(made, unbegun, { schedule, dueAt }))
      return made
    }
    if (found.failures + found.crashes >= BEAT_FAILURES) this.advance(now, found)
    else if (found.tries > 0 && this.following(found, found.dueAt) <= now) {
      // The next one is due: the one that fails is given up for the latest that is.
      const dueAt =
        typeof schedule === "string"
          ? this.following(found, found.dueAt)
          : found.dueAt + Math.floor((now - found.dueAt) / (schedule * 60_000)) * schedule * 60_000
      Object.assign(found, unbegun, { dueAt })
    }
    return found
  }

  private advance(now: number, beat: Beat): void {
    Object.assign(beat, unbegun, { dueAt: this.following(beat, now) })
  }

  private releaseBeat(now: number, args: Fence & { nextAttemptAt?: number; class?: string }): object {
    const { session } = this.held(args)
    const beat = this.beatOf(session)
    this.noteEnd(now, session, "release", { isShared: args.nextAttemptAt !== undefined, class: args.class ?? null })
    if (beat !== undefined) {
      beat.notBefore = args.nextAttemptAt ?? null
      beat.requestId = null
      beat.attempts = Math.max(0, beat.attempts - 1)
    }
    const state = args.nextAttemptAt === undefined ? "ready" : "waiting"
    this.end(session, "release", { state })
    return { state }
  }

  private failBeat(now: number, args: Fence & { nextAttemptAt?: number; class: string; silence: boolean }): object {
    const { session } = this.held(args)
    const beat = this.beatOf(session)
    this.noteEnd(now, session, "fail", { isSilence: args.silence, class: args.class })
    let state = "dead"
    if (beat !== undefined) {
      beat.failures += 1
      beat.crashes = 0
      beat.notBefore = args.nextAttemptAt ?? null
      beat.requestId = null
      if (args.nextAttemptAt !== undefined && beat.failures < BEAT_FAILURES) state = "waiting"
      else this.advance(now, beat)
    }
    this.end(session, "fail", { state })
    return { state }
  }

  /** Ends a beat well, with what it says; answers when the next one is due. */
  finishBeat(now: number, fence: Fence & { nextDueAt?: number }, say: (run: Run) => string | null): object {
    const again = this.repeated(fence, "beat")
    if (again !== null) return again
    const { lease, session } = this.held(fence)
    if (!lease.isBeat) throw new Refusal("invalid")
    const messageId = say({ id: lease.row, isBeat: true, agent: session.agent, row: null })
    this.noteEnd(now, session, "beat", {})
    const beat = this.beatOf(session)
    if (beat !== undefined) {
      if (fence.nextDueAt !== undefined && fence.nextDueAt > beat.dueAt) beat.followingAt = fence.nextDueAt
      this.advance(now, beat)
    }
    session.generation = lease.generation
    const hasWork = this.rowsOf(session.id, "ready").length > 0 || this.retryAt(session.id) !== null
    const answer = { dueAt: beat?.dueAt ?? now, messageId, hasWork }
    this.end(session, "beat", answer)
    return answer
  }

  /** The effect of a tool under its fence; a creation with the same arguments happens once in a run. */
  effect<A extends object>(
    now: number,
    fence: Fence,
    tool: string,
    creation: string | null,
    act: (run: Run) => A
  ): A & { repeated?: boolean } {
    const { lease, session } = this.held(fence, this.mistakes.has("unfenced tool"))
    const { isBeat, row: id } = lease
    const key = `${id} ${tool} ${creation ?? ""}`
    const found = creation === null ? undefined : this.ledger.get(key)
    if (found !== undefined && !this.mistakes.has("a ledger that forgets")) return { ...(found as A), repeated: true }
    const result = act({ id, isBeat, agent: session.agent, row: isBeat ? null : this.row(id) })
    this.history.push({ kind: "effect", at: now, ...fence, session: fence.session, row: id, tool, creation })
    if (creation === null) return result
    this.ledger.set(key, result)
    return { ...result, repeated: false }
  }

  private readonly ledger = new Map<string, object>()
}
