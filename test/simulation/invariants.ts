/** I1 to I15 as far as a queue and its turns can break them, judged by what happened and not by what was meant. */
import { isAnswerOwed } from "../../src/domain/delivery/AnswerDuty.ts"
import { divideEvents } from "../../src/domain/delivery/DeliveryPolicy.ts"
import { ACCOUNT } from "./accountState.ts"
import { ApprovalInvariants } from "./approvalInvariants.ts"
import { ClaimInvariants } from "./claimInvariants.ts"
import type { Limits } from "./claimInvariants.ts"
import { judgeEvents, judgeJoined } from "./joinInvariants.ts"
import { GATEWAY_SECRET } from "./memoryGateway.ts"
import { QuestionInvariant } from "./questionInvariant.ts"
import type { ClaimEntry, EndEntry, Entry, NotificationState } from "./queueState.ts"
import { judgeGrant, judgeHold, judgeReservations, judgeUsage } from "./usageInvariants.ts"
import type { RuntimeProcess, Turn, World } from "./world.ts"

const moves: Readonly<Record<NotificationState, ReadonlyArray<NotificationState>>> = {
  ready: ["claimed", "delivered", "dead"],
  claimed: ["delivered", "dead", "ready"],
  dead: ["ready", "discarded"],
  // Only a stopped one, by a person.
  delivered: ["ready"],
  discarded: []
}
const ended: ReadonlySet<NotificationState> = new Set(["delivered", "dead", "discarded"])

/** The turn of a lease that was taken back is aborted within this by a process without faults; and how long faults last. */
const ABORT = 1_000
const RECOVERY = 150_000

/** How a run ends whose last round failed so. */
const endsOf: Readonly<Record<string, "fail" | "release">> = {
  ConnectionLost: "fail",
  TurnRefused: "fail",
  TurnUnreadable: "fail",
  ContextOverflow: "fail",
  Defect: "fail",
  GatewayUnreachable: "release",
  GatewayMisconfigured: "release",
  UnknownAgent: "release",
  ProviderFailed: "release",
  GatewayRestarted: "release"
}

/** Watches one world. */
export class Invariants {
  private readonly world: World
  private readonly limits: Limits
  private readonly claims: ClaimInvariants
  private readonly questions: QuestionInvariant
  private readonly approvals: ApprovalInvariants
  private seen = 0
  private readonly lastClaim = new Map<string, ClaimEntry>()
  private readonly isOver = new Map<string, boolean>()
  private readonly deaths = new Map<string, number>()
  private readonly revivals = new Map<string, number>()
  private readonly creations = new Set<string>()
  /** By session: its last lease that was taken back. */
  private readonly recalls = new Map<string, Extract<Entry, { entry: "recall" }>>()
  private readonly stopped = new Set<string>()
  private readonly stoppedTurns = new Set<string>()

  constructor(world: World, limits: Limits) {
    this.world = world
    this.limits = limits
    this.claims = new ClaimInvariants(world, limits)
    this.questions = new QuestionInvariant(world)
    this.approvals = new ApprovalInvariants(world)
  }

  private get queue() {
    return this.world.account.queue
  }

  /** Judges what happened since the last look; called after each transaction. */
  observe(): void {
    for (const what of this.world.account.undone.splice(0)) {
      this.world.violate("decision", `a turn undid what a person decided during it: ${what}`)
    }
    judgeReservations(this.world)
    this.questions.observe()
    this.approvals.observe()
    const { history } = this.queue
    for (; this.seen < history.length; this.seen += 1) {
      const entry = history[this.seen]
      if (entry !== undefined) this.judge(entry)
    }
  }

  private judge(entry: Entry): void {
    switch (entry.entry) {
      case "claim":
        this.judgeRecalled(entry)
        this.lastClaim.set(entry.session, entry)
        this.isOver.set(entry.session, false)
        if (entry.offeredAgain === null) judgeGrant(this.world)
        return this.claims.judgeClaim(entry)
      case "end":
        this.claims.judgeEnd(entry)
        return this.judgeEnd(entry)
      case "join":
        this.judgeFence(entry, "join")
        if (entry.count > 0) this.claims.joined(entry.run)
        return judgeEvents(this.world)
      case "recall":
        this.recalls.set(entry.session, entry)
        if (entry.reason === "stopped") this.stoppedTurns.add(entry.run)
        else this.claims.uncount(entry.run)
        return
      case "state":
        return this.judgeMove(entry)
      case "spent":
        return this.claims.judgeSpent(entry.run)
      case "held":
        return judgeHold(this.world, entry)
      case "resumed":
        if (entry.at < entry.heldUntil) {
          this.world.violate("I17", `${entry.run} was held until ${entry.heldUntil} and claimed before`)
        }
        return this.world.cover("resumed", "claim")
      case "wake":
        return
      case "effect": {
        this.judgeFence(entry, `tool ${entry.tool}`)
        if (entry.creation === null) return
        const key = `${entry.run} ${entry.tool} ${entry.creation}`
        if (this.creations.has(key)) this.world.violate("I2", `${entry.tool} was done twice in ${entry.run}`)
        this.creations.add(key)
      }
    }
  }

  private judgeFence(entry: { readonly session: string; readonly epoch: number; readonly run: string }, what: string) {
    const isWritten = !["rescue", "last claim", "recalled"].includes(what)
    if (isWritten && this.recalls.get(entry.session)?.epoch === entry.epoch) {
      this.world.violate("I14", `${what} of ${entry.run} was accepted after its lease was taken back`)
    }
    const claim = this.lastClaim.get(entry.session)
    if (claim?.epoch !== entry.epoch || claim.run !== entry.run || this.isOver.get(entry.session) === true) {
      this.world.violate("I3", `${what} of ${entry.run} was accepted without its lease`)
    }
  }

  /** A stopped run gets no second turn, and no other turn of its session begins before its own was aborted. */
  private judgeRecalled({ at, epoch, run, session }: ClaimEntry): void {
    const agent = this.queue.sessions.get(session)?.agent ?? ""
    if (this.queue.isPaused || this.queue.paused.has(agent)) {
      this.world.violate("I15", `${run} was claimed although ${agent} or the account is paused`)
    }
    if (this.stoppedTurns.has(run)) this.world.violate("I14", `${run} was claimed again although it was stopped`)
    const recall = this.recalls.get(session)
    if (recall === undefined) return
    const isOpen = this.world.turns.some(
      (turn) => turn.session === session && turn.epoch === recall.epoch && turn.open > 0 && turn.process.isRunning
    )
    // A new boot of its runtime says that the process is gone, though it may only be frozen.
    const isCurrent = [...this.queue.boots.values()].some(({ bootId }) => bootId === recall.bootId)
    if (isOpen && isCurrent && recall.epoch < epoch && at < recall.expiresAt) {
      this.world.violate("I4", `${run} was claimed while the turn of ${recall.run}, which was taken back, still ran`)
    }
  }

  private judgeEnd(entry: EndEntry): void {
    const { how, run } = entry
    this.judgeFence(entry, how)
    this.isOver.set(entry.session, true)
    const turn = this.world.turns.findLast((each) => each.session === entry.session && each.epoch === entry.epoch)
    // A recalled lease that has expired is ended by another process, which cannot know whether its turn was aborted.
    const isUnseen = how === "rescue" || (how === "recalled" && entry.endedBy !== entry.bootId)
    if (!isUnseen && turn !== undefined && turn.open > 0 && turn.process.isRunning) {
      this.world.violate("I3", `${run} was ended by ${how} while its request still runs`)
    }
    if (how === "fail" && entry.isSilence) this.judgeSilence(entry, turn)
    this.judgeFailure(entry, turn)
    judgeEvents(this.world)
    if (how === "heartbeat" || entry.outcome === "replied") this.judgeTruncated(entry, turn)
    if (entry.kind === "heartbeat") return this.judgeHeartbeat(entry)
    this.judgeBroken(entry)
    const isDelivered = how === "complete" || (how === "fail" && this.queue.row(run).state === "delivered")
    if (isDelivered) this.judgeVerdicts(entry, turn)
    if (how !== "complete" || entry.outcome !== "skipped") return
    const row = this.queue.row(run)
    // Neither its last attempt nor the last silence is followed by another try.
    const hasNext = row.attempts < this.limits.maxAttempts && this.limits.silenceLimit > 1
    if (turn?.truth === "TurnAmbiguous" && row.silences === 0 && hasNext) {
      this.world.violate("I5", `${run} was skipped at the first "internal error"`)
    }
  }

  /** The context of the attempt, unless it was broken. */
  private contextOf({ epoch, run }: EndEntry) {
    const { broken, contexts } = this.world.account
    const attempt = `${run} ${epoch}`
    return broken.has(attempt) ? undefined : contexts.get(attempt)
  }

  /** Each event of a delivered notification was shown to the agent, or refused by the policy. */
  private judgeVerdicts(entry: EndEntry, turn: Turn | undefined): void {
    const context = this.contextOf(entry)
    if (context === undefined) return
    const { events, id, outcome } = this.queue.row(entry.run)
    const joined = events.slice(context.events.length)
    if (events.length < context.events.length) {
      this.world.violate("I5", `${id} ends with ${events.length} events, ${context.events.length} were shown`)
    }
    judgeJoined(this.world, id, joined, turn)
    if (events.length > 1) this.world.cover("joined", "complete")
    const { accepted, refused } = divideEvents(context)
    const expected = new Set(refused.map(({ event }) => event))
    const wrong = events.findIndex(({ refusal }, index) => (refusal !== null) !== expected.has(index))
    if (wrong !== -1) this.world.violate("I5", `event ${wrong} of ${id} ends with another verdict than the policy's`)
    // Whatever the policy says: nobody begins with what the task no longer wants.
    const isOver = ["done", "blocked", "archived"].includes(context.task?.status ?? "archived")
    const isOutdated = ({ refusal, type }: (typeof events)[number]) =>
      refusal === null && (type === "assignment" || type === "status_change") && isOver
    if (context.task?.isOrchestratorChat === false && isOver) {
      this.world.cover("over", "complete")
      if (events.some(isOutdated))
        this.world.violate("I5", `${id} tells of work on a task that is ${context.task.status}`)
    }
    if (outcome !== "skipped" || !(isAnswerOwed(accepted) || joined.length > 0)) return
    const isToken = /^text \W*(?:NO_ACTION|NO_REPLY|HEARTBEAT_OK)\W*$/.test(turn?.truth ?? "")
    const isStrict = accepted.some(({ type }) => type === "assignment" || type === "response_request")
    if (isToken && !isStrict) return this.world.cover("declined", "complete")
    this.world.violate("I5", `${id} ended skipped although an answer is owed`)
  }

  /** Whether the end says what became of the turn, and not that the runtime or the control plane is down. */
  private isVerdict({ class: kind, how, isShared }: EndEntry): boolean {
    const isReleased = how === "release" && (!isShared || kind === "ControlPlaneUnavailable" || kind === "TokenRefused")
    return how !== "rescue" && how !== "last claim" && how !== "recalled" && !isReleased
  }

  /** A failure ends by its own class: the run's own costs an attempt, a shared one does not. */
  private judgeFailure(entry: EndEntry, turn: Turn | undefined): void {
    if (turn === undefined || !this.isVerdict(entry)) return
    if (turn.truth === "aborted") return this.judgeTimeout(entry, turn)
    if (turn.truth === "TurnStopped") return this.judgeStopThere(entry, turn)
    const expected = endsOf[turn.truth]
    if (expected === undefined) return
    // After a freeze a process may meet its deadline before the answer.
    if (entry.class === "TurnTimeout" && turn.process.lastFaultAt >= turn.startedAt) return
    this.world.cover(turn.truth, expected)
    if (entry.how !== expected || entry.class !== turn.truth) {
      this.world.violate("classes", `${entry.run} met ${turn.truth} and ended by ${entry.how} (${entry.class})`)
    }
  }

  /** A turn that a person stopped in OpenClaw ends its run as stopped, so that nothing runs it again. */
  private judgeStopThere(entry: EndEntry, turn: Turn): void {
    if (entry.class === "TurnTimeout" && turn.process.lastFaultAt >= turn.startedAt) return
    this.world.cover("TurnStopped", entry.kind === "heartbeat" ? "heartbeat" : "complete")
    const isStopped = entry.how === "heartbeat" || (entry.how === "complete" && entry.outcome === "stopped")
    if (!isStopped) {
      const how = `${entry.how} (${entry.outcome ?? entry.class})`
      this.world.violate("classes", `${entry.run} was stopped in OpenClaw and ended by ${how}`)
    }
  }

  /** A request that got no answer ends by its budget or its deadline; that is shared only if the process saw the provider fail. */
  private judgeTimeout(entry: EndEntry, turn: Turn): void {
    const isStopped = entry.how === "heartbeat" || (entry.how === "complete" && entry.outcome === "stopped")
    // The budget ended it after a model call that the process saw.
    if (isStopped && turn.hasSeenCalls && this.world.account.queue.budgetWas !== null) {
      this.world.cover("closed by the budget", "turn")
      return
    }
    const isShared = entry.how === "release"
    this.world.cover("TurnTimeout", isShared ? "release" : "fail")
    if (entry.class !== "TurnTimeout" || (isShared && turn.process.lastProviderFailureAt < 0)) {
      this.world.violate("classes", `${entry.run} got no answer and ended by ${entry.how} (${entry.class})`)
    }
  }

  /** A broken context ends skipped if a part of it is gone, and otherwise as a failure of its own. */
  private judgeBroken(entry: EndEntry): void {
    const code = this.world.account.broken.get(`${entry.run} ${entry.epoch}`)
    if (code === undefined || !this.isVerdict(entry)) return
    const isGone = code.endsWith("_missing")
    this.world.cover(code, isGone ? "complete" : "fail")
    const isRight = isGone
      ? entry.how === "complete" && entry.outcome === "skipped"
      : entry.how === "fail" && entry.class === "BrokenContext"
    if (!isRight) {
      const how = `${entry.how} (${entry.outcome ?? entry.class})`
      this.world.violate("BrokenContext", `${entry.run} was ${code} and ended by ${how}`)
    }
  }

  /** A text that the model's limit cut is posted, and marked. */
  private judgeTruncated({ epoch, kind, run }: EndEntry, turn: Turn | undefined): void {
    const isHeartbeat = kind === "heartbeat"
    const reply = this.world.account.messages.findLast(
      (message) =>
        message.run === run &&
        message.epoch === epoch &&
        (isHeartbeat ? message.content.startsWith("news of") : message.kind === "reply")
    )
    if (reply === undefined || turn === undefined) return
    if (turn.isTruncated) this.world.cover("posted, marked", isHeartbeat ? "heartbeat" : "complete")
    if (reply.isTruncated !== turn.isTruncated) {
      this.world.violate("I5", `the reply of ${run} is ${reply.isTruncated ? "" : "not "}marked as truncated`)
    }
  }

  private judgeHeartbeat({ run }: EndEntry): void {
    const { messages } = this.world.account
    const said = messages.filter((message) => message.run === run && message.content.startsWith("news of"))
    if (said.length > 1) this.world.violate("I2", `${run} wrote ${said.length} times`)
  }

  private judgeSilence(
    { run }: EndEntry,
    turn: Pick<Turn, "truth" | "process" | "providerFailedBefore"> | undefined
  ): void {
    const truth = turn?.truth ?? "no turn"
    const isSilent = truth === "calls" || (truth.startsWith("text ") && !truth.includes("answer"))
    // A process whose clock jumped, or that was frozen before it judged the turn, sees the provider's failure as older.
    const isSteady = ({ lastJumpAt, lastWokeAt }: RuntimeProcess) =>
      this.world.now - Math.max(lastJumpAt, lastWokeAt) > 200_000
    const isShared = turn !== undefined && turn.providerFailedBefore < 110_000 && isSteady(turn.process)
    if (!isSilent && (truth !== "TurnAmbiguous" || isShared)) {
      this.world.violate("I5", `${run} was counted silent, but the gateway answered ${truth}`)
    }
  }

  private judgeMove({ from, run, to }: Extract<Entry, { entry: "state" }>): void {
    if (!moves[from].includes(to)) this.world.violate("I1", `${run} went from ${from} to ${to}`)
    if (from === "delivered") this.stoppedTurns.delete(run)
    if (from === "delivered" && !this.stopped.delete(run)) this.world.violate("I1", `${run} runs again unasked`)
    if (to === "delivered") this.judgeDelivered(run)
    if (to === "dead") {
      const deaths = (this.deaths.get(run) ?? 0) + 1
      this.deaths.set(run, deaths)
      if (deaths > 1 + (this.revivals.get(run) ?? 0)) this.world.violate("I6", `${run} died twice`)
    }
    if ((from === "dead" || from === "delivered") && to === "ready") {
      this.revivals.set(run, (this.revivals.get(run) ?? 0) + 1)
      this.claims.renewBudget(run)
    }
  }

  /** A delivered notification has exactly one outcome, with the message that it promises. */
  private judgeDelivered(id: string): void {
    const { messages } = this.world.account
    const { outcome } = this.queue.row(id)
    if (outcome === null) this.world.violate("I5", `${id} is delivered without an outcome`)
    if (outcome === "stopped") this.stopped.add(id)
    const kind = outcome === "replied" ? "reply" : outcome === "fallback" ? "fallback" : null
    if (kind === null) return
    const { length } = messages.filter((message) => message.run === id && message.kind === kind)
    if (length !== 1) this.world.violate("I5", `${id} ended as ${outcome} with ${length} such messages`)
  }

  /** At a moment between transactions, with the processes that could claim. */
  look(able: ReadonlyArray<RuntimeProcess>): void {
    this.claims.look(able)
    for (const { at, bootId, epoch, run, session } of this.recalls.values()) {
      const turn = this.world.turns.findLast((each) => each.session === session && each.epoch === epoch)
      const isUndisturbed = able.some((process) => process.bootId === bootId && at - process.lastFaultAt > RECOVERY)
      if (isUndisturbed && this.world.now - at > ABORT && turn !== undefined && turn.open > 0) {
        this.world.violate("I14", `${run} still runs ${this.world.now - at} ms after its lease was taken back`)
      }
    }
  }

  /** A process has ended on its own. */
  judgeExit(process: RuntimeProcess, wasFrozen: boolean): void {
    const { account, now } = this.world
    const { ended: end, stopRequestedAt } = process
    if (end === null) return
    if (![0, 75, 77, 78].includes(end.exitCode)) {
      this.world.violate("I1", `${process.name} ended with exit code ${end.exitCode}`)
    }
    // The drain, then abort and the last claim (2 s), then offline (3 s).
    const budget = this.limits.drainMillis + 5_500
    if (stopRequestedAt !== null && !wasFrozen && now - stopRequestedAt > budget) {
      this.world.violate("I7", `${process.name} took ${now - stopRequestedAt} ms to stop`)
    }
    const presence = account.runtimes.get(process.runtimeId)
    const isUndisturbed = now - process.lastFaultAt > 60_000 && !account.isTokenRevoked
    if (end.exitCode !== 0 || !isUndisturbed || presence?.bootId !== process.bootId) return
    // A process that is stopped before its first pulse was answered stays booting, and lapses.
    if (!["offline", "booting"].includes(presence.status)) {
      this.world.violate("I8", `${process.name} left itself ${presence.status}`)
    }
    const left = [...this.queue.sessions.values()].filter(({ lease }) => lease?.bootId === process.bootId)
    if (left.length > 0) this.world.violate("I7", `${process.name} left ${left.length} leases behind`)
  }

  /** At the end, when nothing is left to do. */
  judgeRest(): void {
    this.claims.judgeRest()
    const { account, now } = this.world
    for (const row of this.queue.notifications.values()) {
      if (!ended.has(row.state)) this.world.violate("I1", `${row.id} is left ${row.state}`)
      const depth = Math.max(...(account.depths.get(row.id) ?? [0]))
      if (depth > this.limits.maxHops) this.world.violate("I11", `${row.id} is ${depth} agents' turns deep`)
    }
    for (const [runtimeId] of account.runtimes) {
      if (account.statusOf(runtimeId, now + 600_000) !== "offline") {
        this.world.violate("I8", `${runtimeId} stays online`)
      }
    }
    judgeUsage(this.world)
    judgeEvents(this.world)
    const stored = JSON.stringify([
      account.messages,
      account.documents,
      [...account.tasks.values()].map(({ title }) => title),
      [...account.runtimes.values()],
      [...this.queue.notifications.values()].map(({ error }) => error)
    ])
    for (const secret of [GATEWAY_SECRET, `mc_service_${ACCOUNT}`]) {
      if (stored.includes(secret)) this.world.violate("I10", "a secret was stored")
    }
  }
}
