/** The gateway in memory: the dice script the turns, which run one at a time in a session. */
import { Deferred, Effect, Exit, Fiber, Layer, Semaphore } from "effect"
import type { Duration } from "effect"
import { leaseKey } from "../../src/domain/delivery/Run.ts"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import {
  ConnectionLost,
  ContextOverflow,
  GatewayMisconfigured,
  GatewayRestarted,
  GatewayUnreachable,
  ProviderFailed,
  TurnAmbiguous,
  TurnRefused,
  TurnStopped,
  TurnTimeout,
  TurnUnreadable,
  UnknownAgent,
  failureOf
} from "../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../src/domain/delivery/TurnFailure.ts"
import type { ModelCall } from "../../src/domain/gateway/GatewayEvent.ts"
import { weightedTokensOf } from "../../src/domain/shared/TokenPrice.ts"
import { Gateway, unseenGateway } from "../../src/layers/Gateway.ts"
import type { FunctionCall, GatewayRequest, RoundAnswer } from "../../src/layers/Gateway.ts"
import type { Dice } from "./dice.ts"
import { GatewayChannel } from "./gatewayChannel.ts"
import type { OpenRequest } from "./gatewayChannel.ts"
import { GatewayHistory } from "./gatewayHistory.ts"
import { judgeNews } from "./joinInvariants.ts"
import { pushChanges } from "./memoryConvex.ts"
import { isSteady } from "./world.ts"
import type { RuntimeProcess, Turn, World } from "./world.ts"

/** Occurs in texts and errors of agents and providers; must not be stored anywhere. */
export const GATEWAY_SECRET = "gateway-token-0123456789abcdef0123456789"

const usage = { ...noUsage, outputTokens: 1 }
const text = (words: string) => ({ _tag: "Text", text: words, isTruncated: false, usage }) satisfies RoundAnswer

/** Failures for which no model worked. */
const free: ReadonlySet<string> = new Set(["GatewayUnreachable", "GatewayMisconfigured", "UnknownAgent", "TurnRefused"])

/** The model calls of an unanswered request that its process has seen. */
const noteShown = (turn: Turn): void => {
  turn.tokens += turn.shown
  turn.largest = Math.max(turn.largest, turn.shown)
  turn.hasSpent ||= turn.shown > 0
  turn.shown = 0
}

/** What the request cost, as far as its process can know it. */
const noteCost = (request: OpenRequest, exit: Exit.Exit<RoundAnswer, TurnFailure>, isSteady: boolean): void => {
  const { turn } = request
  request.isOver = true
  if (exit._tag === "Success") {
    const { usage } = exit.value
    const spent = weightedTokensOf(usage)
    const last = spent - weightedTokensOf({ ...noUsage, outputTokens: request.outputTokens })
    turn.tokens += spent
    // Of a request that the process sees, it can exceed the allowance by one call with tools and the one after it.
    turn.largest = Math.max(turn.largest, isSteady && request.isSeen ? request.largest + last : spent)
    turn.hasSpent = true
    turn.shown = 0
    return
  }
  const [reason] = exit.cause.reasons
  const failure = reason?._tag === "Fail" ? reason.error : null
  const isRefused = failure?._tag === "ProviderFailed" && failure.status < 500
  const isFree = failure !== null && (free.has(failure._tag) || isRefused)
  const isKnown = failure?._tag === "ContextOverflow" && turn.shown > 0
  noteShown(turn)
  if (isFree) return
  turn.hasSpent = true
  turn.hasUnknown ||= !isKnown
}

const generationOf = (sessionKey: string): number => Number(/:g(\d+)$/.exec(sessionKey)?.[1] ?? 1)

/** How the gateway can treat a round. */
export const behaviours = [
  "text",
  "truncated",
  "calls",
  "overruled",
  "interjected",
  "silence",
  "nothing to add",
  "slow",
  "hang",
  "unreachable",
  "connection lost",
  "proxy's patience",
  "misconfigured",
  "unknown agent",
  "refused",
  "provider failed",
  "internal error",
  "overflow",
  "stopped there",
  "restarted",
  "unreadable",
  "defect"
] as const
type Behaviour = (typeof behaviours)[number]

/** The gateway that all processes of a world share. */
export class MemoryGateway {
  private readonly world: World
  private readonly sessions = new Map<string, Semaphore.Semaphore>()
  private readonly history: GatewayHistory
  /** The turn of each tool call, for the rounds after the first. */
  private readonly callers = new Map<string, Turn>()
  private calls = 0

  private readonly channel: GatewayChannel

  constructor(world: World, channelDice: Dice) {
    this.world = world
    this.channel = new GatewayChannel(world, channelDice)
    this.history = new GatewayHistory(world)
  }

  /** Notes the messages that join the turn with this request, and judges that none waits which could have. */
  private noteJoined(turn: Turn, request: GatewayRequest): void {
    if (typeof request.input === "string") return
    const { account } = this.world
    const text = request.input.flatMap((item) => (item.type === "message" ? [item.content] : [])).join("\n")
    const task = account.queue.notifications.get(turn.run)?.task
    const joined = account.messages.filter(
      ({ author, content, task: of }) => author.type === "person" && of === task && text.includes(content)
    )
    turn.joined.push(...joined.map(({ id }) => id))
    if (joined.length > 0) this.world.cover("message joined", "turn")
    if (joined.length > 0) this.history.add(request.sessionKey, text)
    judgeNews(this.world, turn, text)
  }

  /** Whatever the gateway does with a turn's text; answers what that means for a request of it. */
  private remember(turn: Turn, { input, sessionKey }: GatewayRequest): number {
    const dice = this.world.gatewayDice
    if (typeof input === "string") {
      if (!this.world.isCalm && dice.chance(0.03)) this.history.shorten(sessionKey, dice.between(0, 2))
      this.history.add(sessionKey, input)
      // What a process does that was frozen for longer than its lease counts for nothing.
      if (this.isLive(turn)) this.history.judge(turn, input)
    }
    return this.history.tokens(sessionKey)
  }

  private turnOf(process: RuntimeProcess, request: GatewayRequest): Turn {
    const { account, now, turns } = this.world
    if (typeof request.input !== "string") {
      const [item] = request.input
      const known = item?.type === "function_call_output" ? this.callers.get(item.call_id) : undefined
      if (known === undefined) throw new Error("a round without a turn")
      return known
    }
    const [, run, attempt] = /^(?:delivery|heartbeat) (\S+), attempt (\d+):/.exec(request.input) ?? []
    if (run === undefined) throw new Error("a prompt that names no run")
    const claim = account.queue.history.findLast(
      (entry) =>
        entry.entry === "claim" &&
        entry.run === run &&
        entry.bootId === process.bootId &&
        entry.attempt === Number(attempt) &&
        process.received.has(leaseKey(entry))
    )
    if (claim?.entry !== "claim") throw new Error("a turn without a claim")
    const { epoch, session } = claim
    const { bootId } = process
    const { sessionKey } = request
    const turn: Turn = {
      process,
      bootId,
      run,
      session,
      sessionKey,
      epoch,
      startedAt: now,
      open: 0,
      truth: "none",
      isTruncated: false,
      providerFailedBefore: Infinity,
      tokens: 0,
      largest: 0,
      shown: 0,
      hasSeenCalls: false,
      hasSpent: false,
      hasUnknown: false,
      joined: []
    }
    turns.push(turn)
    // A lease that is offered again keeps its generation.
    if (claim.offeredAgain === null) {
      this.checkGeneration(turn, claim.at)
      this.checkOverflow(turn)
    }
    return turn
  }

  /** Whether the turn's lease is the session's and has not expired. */
  private isLive(turn: Turn): boolean {
    const lease = this.world.account.queue.sessions.get(turn.session)?.lease
    return lease?.epoch === turn.epoch && lease.bootId === turn.bootId && lease.expiresAt > this.world.now
  }

  private checkExclusion(turn: Turn): void {
    const others = this.world.turns.filter((other) => other !== turn && other.open > 0 && this.isLive(other))
    if (!this.isLive(turn)) return
    for (const other of others) {
      if (other.run === turn.run) this.world.violate("I3", `${turn.run} has two turns with a live lease`)
      else if (other.sessionKey === turn.sessionKey) {
        this.world.violate("I4", `${turn.sessionKey} has two turns with a live lease: ${other.run}, ${turn.run}`)
      }
    }
  }

  /** A run that was claimed after an operator's rotation runs in the new generation. */
  private checkGeneration({ run, session, sessionKey }: Turn, claimedAt: number): void {
    const rotation = this.world.account.rotations.get(session)
    if (rotation === undefined || claimedAt <= rotation.at) return
    const generation = generationOf(sessionKey)
    this.world.cover("in a new generation", "turn")
    if (generation < rotation.least) {
      this.world.violate("rotate", `${run} runs in ${sessionKey}, asked for is generation ${rotation.least}`)
    }
  }

  /**
   * The attempt after one whose session was too long runs in a later generation. An attempt of a notification that
   * already ran in the generation after the session's own is repeated there, because only an answered turn makes that
   * generation the own one.
   */
  private checkOverflow({ run, sessionKey }: Turn): void {
    const { account, turns } = this.world
    const last = account.queue.history.findLast(
      (entry) => entry.entry === "end" && entry.run === run && (entry.how === "fail" || entry.how === "complete")
    )
    if (last?.entry !== "end" || last.class !== "ContextOverflow") return
    // A dead letter that an operator retries begins in the session's own generation.
    if (last.retryIn === null) return
    const earlier = turns.find((turn) => turn.run === run && turn.epoch === last.epoch)
    const own = account.queue.sessions.get(last.session)?.generation ?? 0
    if (earlier === undefined) return
    if (last.kind !== "heartbeat" && generationOf(earlier.sessionKey) > own) return
    this.world.cover(last.kind === "heartbeat" ? "after a heartbeat's overflow" : "after an overflow", "turn")
    if (generationOf(sessionKey) <= generationOf(earlier.sessionKey)) {
      this.world.violate("rotate", `${run} runs in ${sessionKey}, after ${earlier.sessionKey} was too long`)
    }
  }

  private callOf(name: string, turn: Turn): FunctionCall {
    const dice = this.world.gatewayDice
    const { account } = this.world
    const tasks = [...account.tasks.keys()]
    const taskId = account.queue.notifications.get(turn.run)?.task ?? (tasks.length === 0 ? "none" : dice.pick(tasks))
    const callId = `call_${(this.calls += 1)}`
    this.callers.set(callId, turn)
    // Few different arguments, so that a second attempt repeats what the first did.
    const some = dice.between(1, 2)
    const args: Record<string, unknown> = {
      task_status: { taskId, status: dice.pick(["in_progress", "review", "done"]) },
      task_load: { taskId },
      task_create: { title: `made in ${turn.run}, ${some}` },
      document_upsert: { title: `written in ${turn.run}, ${some}`, content: "text", type: "note" },
      response_request: {
        recipientSlugs: [dice.chance(0.4) ? account.personName : dice.pick(account.agents).slug],
        message: `help ${some}`
      },
      task_message: { taskId, content: `said in ${turn.run}, ${some}` },
      // Tasks are rare, so agents delete them only with a person's approval.
      ...(account.policies?.get("task_delete") === "ask"
        ? { task_delete: { taskId, reason: "no longer needed" } }
        : {}),
      task_assign: { taskId, assigneeSlugs: [dice.pick(account.agents).slug] }
    }
    return { callId, name, arguments: dice.chance(0.05) ? "{ not json" : JSON.stringify(args[name] ?? { anything: 1 }) }
  }

  private behaviour(turn: Turn, request: GatewayRequest): Behaviour {
    const { gatewayDice: dice, isCalm, profile } = this.world
    const isHeartbeat = !this.world.account.queue.notifications.has(turn.run)
    // An account at rest has agents that find nothing to do.
    if (isCalm && isHeartbeat) return "nothing to add"
    if (isCalm)
      return dice.weighted({ text: 4, "nothing to add": 1, ...(request.tools.length > 0 ? { calls: 1 } : {}) })
    if (!dice.chance(profile.gateway)) {
      return dice.weighted({
        text: 5,
        truncated: 0.3,
        "nothing to add": 1,
        slow: 1,
        ...(request.tools.length > 0 ? { calls: this.world.account.policies === null ? 3 : 10 } : {}),
        ...(request.tools.length > 0 && !isHeartbeat ? { interjected: 1.5 } : {}),
        ...(request.tools.some(({ name }) => name === "task_status") ? { overruled: 0.5 } : {})
      })
    }
    return dice.weighted({
      silence: 4,
      "nothing to add": 2,
      slow: 3,
      hang: 2,
      unreachable: 2,
      "connection lost": 3,
      "proxy's patience": 1,
      misconfigured: 0.3,
      "unknown agent": 0.4,
      refused: 1,
      "provider failed": 3,
      "internal error": 4,
      overflow: 2,
      "stopped there": 1,
      restarted: 1,
      unreadable: 1,
      defect: 1,
      calls: 1
    })
  }

  /** The gateway's own work on a round, after earlier rounds of the session. */
  private round(process: RuntimeProcess, turn: Turn, request: GatewayRequest): Effect.Effect<RoundAnswer, TurnFailure> {
    const { world } = this
    const { gatewayDice: dice } = world
    const detail = (words: string) => `${words}${dice.chance(0.2) ? ` Authorization: Bearer ${GATEWAY_SECRET}` : ""}`
    const agent = request.agentSlug
    const isHeartbeat = !world.account.queue.notifications.has(turn.run)
    return Effect.gen({ self: this }, function* () {
      yield* Effect.sleep(dice.between(20, 3_000))
      if (world.isPoisoned.has(turn.run) && !world.isCalm) {
        world.cover("poison", "turn")
        yield* world.crash(process)
        return yield* Effect.never
      }
      if (world.isMisconfigured) {
        return yield* new GatewayMisconfigured({ detail: "HTTP 401: Unauthorized", fix: "set the token" })
      }
      if (world.unknownAgents.has(agent)) {
        return yield* new UnknownAgent({ detail: `HTTP 400: Unknown agent ${agent}`, agentSlug: agent })
      }
      const behaviour = this.behaviour(turn, request)
      world.cover(behaviour, "turn")
      world.trace(`gateway: ${turn.run} of ${process.name} (${request.sessionKey}): ${behaviour}`)
      switch (behaviour) {
        case "slow":
          yield* Effect.sleep(dice.between(1_000, 240_000))
          return text(`slow answer to ${turn.run}`)
        case "hang":
          return yield* Effect.never
        case "text": {
          const other = dice.pick(world.account.agents).slug
          const words = `${isHeartbeat ? "news of" : "answer to"} ${turn.run}`
          if (dice.chance(0.1)) return text(`${words}, @${other} please look`)
          return text(dice.chance(0.1) ? `${words}, with ${GATEWAY_SECRET}` : words)
        }
        case "truncated":
          return { ...text(`${isHeartbeat ? "news of" : "answer to"} ${turn.run}, cut in mid-`), isTruncated: true }
        case "calls": {
          const names = [...request.tools.map(({ name }) => name), "made_up"]
          const offered = names.filter((name) => name.startsWith("task_") || !name.startsWith("get_"))
          // Where tools have policies, most calls are of these.
          const restricted = offered.filter((name) => world.account.policies?.has(name))
          const tool = () => dice.pick(restricted.length > 0 && dice.chance(0.7) ? restricted : offered)
          const calls = Array.from({ length: dice.between(1, 3) }, () => this.callOf(tool(), turn))
          return { _tag: "Calls", calls, usage }
        }
        case "overruled": {
          // A person decides while the agent thinks, and the agent goes on as its prompt said.
          const { account } = world
          const task = account.queue.notifications.get(turn.run)?.task
          if (task !== undefined) account.setStatus(world.now, task, dice.pick(["blocked", "in_progress", "assigned"]))
          world.onCommit()
          yield* pushChanges(world)
          yield* Effect.sleep(dice.between(20, 3_000))
          return { _tag: "Calls", calls: [this.callOf("task_status", turn)], usage }
        }
        case "interjected": {
          // People write while the agent works.
          const { account } = world
          const task = account.queue.notifications.get(turn.run)?.task
          for (let left = task === undefined ? 0 : dice.between(1, 3); left > 0; left -= 1) {
            const words = dice.chance(0.5) ? `@${agent} one more thing` : "one more thing"
            account.write(world.now, task ?? "", `${words} (${account.messages.length + 1})`)
            world.onCommit()
            yield* pushChanges(world)
            yield* Effect.sleep(dice.between(20, 2_000))
          }
          const names = dice.pick(["task_load", "task_status", "document_upsert"])
          return { _tag: "Calls", calls: [this.callOf(names, turn)], usage }
        }
        case "silence":
          return text(dice.pick(["", "No reply from agent.", "@lead"]))
        case "nothing to add":
          return text(dice.pick(["**NO_ACTION**", "NO_REPLY", "`HEARTBEAT_OK`"]))
        case "unreachable":
          return yield* new GatewayUnreachable({
            detail: detail("the gateway cannot be reached (ECONNREFUSED)"),
            ...(dice.chance(0.5) ? { retryAfterMillis: 5_000 } : {})
          })
        case "connection lost":
          return yield* new ConnectionLost({ detail: "the connection broke" })
        case "proxy's patience": {
          yield* Effect.sleep(dice.between(1_000, 60_000))
          const failure = failureOf(agent, { _tag: "Refused", status: 504, message: "Gateway Timeout" })
          // The turn may have run, so that it must not be tried without end.
          if (failure._tag !== "ConnectionLost") world.violate("classes", `a bare 504 is ${failure._tag}`)
          return yield* failure
        }
        case "misconfigured": {
          world.isMisconfigured = true
          const repaired = Effect.sync(() => void (world.isMisconfigured = false))
          yield* world.fork(Effect.andThen(Effect.sleep(dice.between(10_000, 200_000)), repaired))
          return yield* new GatewayMisconfigured({ detail: "HTTP 401: Unauthorized", fix: "set the token" })
        }
        case "unknown agent": {
          world.unknownAgents.add(agent)
          const repaired = Effect.sync(() => world.unknownAgents.delete(agent))
          yield* world.fork(Effect.andThen(Effect.sleep(dice.between(10_000, 200_000)), repaired))
          return yield* new UnknownAgent({ detail: `HTTP 400: Unknown agent ${agent}`, agentSlug: agent })
        }
        case "refused":
          return yield* new TurnRefused({ detail: detail("HTTP 400: too long"), status: 400 })
        case "provider failed":
          return yield* new ProviderFailed({
            detail: detail("rate_limit: too many (HTTP 429)"),
            status: dice.pick([401, 429, 503]),
            ...(dice.chance(0.3) ? { retryAfterMillis: 20_000 } : {})
          })
        case "internal error":
          return yield* new TurnAmbiguous({ detail: "api_error: internal error (HTTP 500)" })
        case "overflow":
          return yield* new ContextOverflow({ detail: detail("the session is too long for its model") })
        case "stopped there":
          return yield* new TurnStopped({ detail: "a person stopped the turn in OpenClaw" })
        case "restarted":
          return yield* new GatewayRestarted({ detail: "api_error: internal error (HTTP 500)" })
        case "unreadable":
          return yield* new TurnUnreadable({ detail: "HTTP 200: not JSON" })
        case "defect":
          return yield* Effect.die(new TypeError("a bug in a service"))
      }
    })
  }

  private readonly send = (process: RuntimeProcess, requestTimeout: Duration.Duration, request: GatewayRequest) =>
    Effect.gen({ self: this }, function* () {
      if (process.isDead) return yield* Effect.never
      const { world } = this
      const turn = this.turnOf(process, request)
      const fault = world.draw("turn")
      if (fault !== null) world.cover(fault, "turn")
      if (fault === "crash before") {
        yield* world.crash(process)
        return yield* Effect.never
      }
      if (fault === "freeze") yield* world.freeze(process, world.faultDice.between(1_000, 200_000))
      if (fault === "clock jump") world.jump(process)
      if (fault === "crash after") {
        const later = Effect.andThen(Effect.sleep(world.faultDice.between(1, 20_000)), world.crash(process))
        yield* world.fork(later)
      }
      const queue = this.sessions.get(request.sessionKey) ?? Semaphore.makeUnsafe(1)
      this.sessions.set(request.sessionKey, queue)
      this.checkExclusion(turn)
      this.noteJoined(turn, request)
      const inputTokens = this.remember(turn, request)
      const open = this.channel.open(turn, request.sessionKey)
      const answer = yield* Deferred.make<RoundAnswer, TurnFailure>()
      const work = Effect.suspend(() => {
        turn.open += 1
        return queue.withPermit(
          this.channel.builtInTools(open).pipe(
            Effect.andThen(this.round(process, turn, request)),
            Effect.tap(({ usage }) => this.channel.lastCall(open, usage.outputTokens))
          )
        )
      }).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            turn.open -= 1
            turn.providerFailedBefore = world.now - process.lastProviderFailureAt
            if (exit._tag === "Success") {
              const { success } = { success: exit.value }
              turn.truth = success._tag === "Calls" ? "calls" : `text ${success.text}`
              turn.isTruncated = success._tag === "Text" && success.isTruncated
              if (success._tag === "Text") this.history.add(request.sessionKey, success.text)
            } else {
              const { input, sessionKey } = request
              if (typeof input === "string" && world.gatewayDice.chance(0.5)) this.history.forget(sessionKey, input)
              const [reason] = exit.cause.reasons
              const tag = reason?._tag === "Fail" ? reason.error._tag : reason?._tag === "Die" ? "Defect" : "aborted"
              turn.truth = tag
              if (tag === "ProviderFailed") process.lastProviderFailureAt = world.now
            }
          })
        ),
        Effect.exit,
        Effect.flatMap((exit) => Deferred.done(answer, exit))
      )
      const running = yield* world.fork(work)
      let isHeard = false
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (isHeard) return
          open.isOver = true
          noteShown(turn)
          turn.hasSpent = true
          turn.hasUnknown = true
        })
      )
      const exit = yield* Deferred.await(answer).pipe(
        Effect.timeoutOrElse({
          duration: requestTimeout,
          orElse: () => Effect.fail(new TurnTimeout({ detail: "no answer within OPENCLAW_REQUEST_TIMEOUT_MS" }))
        }),
        // Closing the connection aborts the run.
        Effect.ensuring(Fiber.interrupt(running)),
        Effect.exit
      )
      if (process.isDead) return yield* Effect.never
      yield* process.awake.await
      isHeard = true
      const counted = Exit.map(exit, (answer) => {
        const outputTokens = answer.usage.outputTokens + open.outputTokens
        return { ...answer, responseId: open.runId, usage: { ...answer.usage, inputTokens, outputTokens } }
      })
      noteCost(open, counted, isSteady(world.profile))
      return yield* counted
    }).pipe(Effect.scoped)

  /** The gateway's events for this process. */
  events(process: RuntimeProcess, change?: (call: ModelCall) => ModelCall): Layer.Layer<never> {
    return this.channel.layer(process, change)
  }

  /** The gateway for this process. */
  layer(process: RuntimeProcess, requestTimeout: Duration.Duration): Layer.Layer<Gateway> {
    const { world } = this
    return Layer.succeed(Gateway, {
      sendToOpenClaw: (request) => this.send(process, requestTimeout, request),
      historyTokens: (sessionKey) =>
        Effect.sync(() => {
          world.cover("long history", "turn")
          return this.history.tokens(sessionKey)
        }),
      ready: Effect.andThen(Effect.sleep(50), process.awake.await).pipe(Effect.as(true)),
      agents: Effect.andThen(Effect.sleep(50), process.awake.await).pipe(
        Effect.andThen(
          Effect.suspend(() =>
            world.isMisconfigured
              ? Effect.fail(new GatewayMisconfigured({ detail: "HTTP 401", fix: "set the token" }))
              : Effect.succeed(
                  world.account.everyone.map(({ slug }) => slug).filter((slug) => !world.unknownAgents.has(slug))
                )
          )
        )
      ),
      state: Effect.succeed({ ...unseenGateway, state: "ready" as const, version: "2026.9.6" })
    })
  }
}
