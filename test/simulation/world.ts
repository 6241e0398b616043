/** The state that one simulated run shares: the account, the processes and their faults, and what was seen. */
import { Clock, Effect, Latch } from "effect"
import type { Deferred, Fiber, Scope, SubscriptionRef } from "effect"
import type { PushState } from "../../src/layers/ConvexClient.ts"
import type { AccountModel } from "./accountModel.ts"
import type { Dice } from "./dice.ts"

/** Where something can happen: a kind of call of the control plane, the push, a round of a turn, or what people do. */
export const steps = [
  "claim",
  "renew",
  "join",
  "complete",
  "fail",
  "release",
  "heartbeat",
  "usage",
  "pulse",
  "tool",
  "read",
  "push",
  "turn",
  "people"
] as const
export type Step = (typeof steps)[number]

/** What can go wrong in addition to the gateway's failures. */
export const faults = [
  "drop",
  "lost answer",
  "duplicate",
  "reorder",
  "delay",
  "unavailable",
  "outage",
  "token refused",
  "crash before",
  "crash after",
  "freeze",
  "clock jump",
  "parked push"
] as const
export type Fault = (typeof faults)[number]

/** Rare calls have more faults, so that each kind of fault strikes within some hundred seeds. */
const rareness: Readonly<Partial<Record<Step, number>>> = {
  join: 5,
  fail: 2,
  release: 3,
  heartbeat: 3,
  usage: 3,
  tool: 3,
  read: 3
}

/** The share of calls that meet a fault. */
export interface Profile {
  readonly controlPlane: number
  readonly process: number
  readonly gateway: number
  /** The weights of outages among the control plane's faults, and of process stops and halted runs among the people's deeds. */
  readonly outages?: number
  readonly stops?: number
  readonly halts?: number
  readonly pauses?: number
  /** Whether people must approve calls of some tools. */
  readonly approvals?: boolean
}

/** Whether no one stops processes or turns and no call to the control plane fails, so that no check of a budget is late. */
export const isSteady = ({ controlPlane, halts, pauses, process, stops }: Profile): boolean =>
  controlPlane === 0 && process === 0 && halts === 0 && pauses === 0 && stops === 0

/** A turn as the gateway saw it. */
export interface Turn {
  readonly process: RuntimeProcess
  readonly bootId: string
  readonly run: string
  readonly session: string
  readonly sessionKey: string
  readonly epoch: number
  readonly startedAt: number
  /** Requests that the gateway works on. */
  open: number
  /** What the gateway answered last, and how long before that the provider had failed. */
  truth: string
  isTruncated: boolean
  providerFailedBefore: number
  /** Price-weighted tokens of its answered requests. */
  tokens: number
  /** Of its most expensive answered request. */
  largest: number
  /** Of the model calls of its present request, which the process has seen in the gateway's events. */
  shown: number
  /** The process has seen such a call. */
  hasSeenCalls: boolean
  /** A request was answered, or has or had an end that is no refusal. */
  hasSpent: boolean
  /** A request can have cost something that no one knows. */
  hasUnknown: boolean
  /** The messages that its requests showed in addition to its prompt. */
  readonly joined: Array<string>
}

/** A runtime's process, with the faults of its machine. */
export class RuntimeProcess {
  readonly name: string
  readonly runtimeId: string
  readonly startedAt: number
  readonly awake = Latch.makeUnsafe(true)
  readonly push: SubscriptionRef.SubscriptionRef<PushState>
  bootId = ""
  isDead = false
  isParked = false
  clockOffset = 0
  lastFaultAt = Number.NEGATIVE_INFINITY
  lastJumpAt = Number.NEGATIVE_INFINITY
  lastWokeAt = Number.NEGATIVE_INFINITY
  lastProviderFailureAt = Number.NEGATIVE_INFINITY
  stopRequestedAt: number | null = null
  ended: { readonly at: number; readonly exitCode: number } | null = null
  fiber: Fiber.Fiber<unknown, unknown> | null = null
  readonly stop: Deferred.Deferred<void>
  /** Whether the process could claim now, by its own state. */
  canClaim: Effect.Effect<boolean> = Effect.succeed(false)
  /** Leases that its claims were answered with and whose ends were not answered yet, by their key. */
  readonly holds = new Set<string>()
  /** All leases that its claims were answered with. */
  readonly received = new Set<string>()
  /** Leases that it named as abandoned. */
  readonly abandoned = new Set<string>()
  /** Its last claim was sent. */
  isEnding = false

  constructor(options: {
    readonly name: string
    readonly runtimeId: string
    readonly startedAt: number
    readonly push: SubscriptionRef.SubscriptionRef<PushState>
    readonly stop: Deferred.Deferred<void>
  }) {
    this.name = options.name
    this.runtimeId = options.runtimeId
    this.startedAt = options.startedAt
    this.push = options.push
    this.stop = options.stop
  }

  /** Notes a fault of the process; a freeze is noted with its end, which may lie ahead. */
  noteFault(at: number): void {
    this.lastFaultAt = Math.max(this.lastFaultAt, at)
  }

  get isRunning(): boolean {
    return !this.isDead && this.ended === null
  }
}

/** An invariant that did not hold. */
export interface Violation {
  readonly invariant: string
  readonly detail: string
  readonly at: number
}

/** A subscription to a query. */
export interface Listener {
  readonly process: RuntimeProcess
  readonly path: string
  readonly args: object
  readonly offer: (value: unknown) => void
  last: string
}

/** One run's shared state, in the virtual time of its clock. */
export class World {
  readonly account: AccountModel
  readonly profile: Profile
  readonly faultDice: Dice
  readonly gatewayDice: Dice
  readonly processes: Array<RuntimeProcess> = []
  readonly turns: Array<Turn> = []
  readonly listeners = new Set<Listener>()
  readonly coverage = new Map<string, number>()
  readonly violations: Array<Violation> = []
  readonly lines: Array<string> | null
  readonly isPoisoned = new Set<string>()
  readonly unknownAgents = new Set<string>()
  /** No more faults. */
  isCalm = false
  isMisconfigured = false
  /** The control plane answers no call until then. */
  outageUntil = Number.NEGATIVE_INFINITY
  onCommit: () => void = () => {}
  private readonly clock: Clock.Clock
  private readonly scope: Scope.Scope

  constructor(options: {
    readonly account: AccountModel
    readonly profile: Profile
    readonly faultDice: Dice
    readonly gatewayDice: Dice
    readonly clock: Clock.Clock
    readonly scope: Scope.Scope
    readonly isTraced: boolean
  }) {
    this.account = options.account
    this.profile = options.profile
    this.faultDice = options.faultDice
    this.gatewayDice = options.gatewayDice
    this.clock = options.clock
    this.scope = options.scope
    this.lines = options.isTraced ? [] : null
  }

  get now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Runs outside every process, in the world's own time: packets, the gateway's work, people. */
  fork<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Fiber.Fiber<A, E>> {
    return Effect.forkIn(Effect.provideService(effect, Clock.Clock, this.clock), this.scope)
  }

  trace(text: string): void {
    this.lines?.push(`${String(this.now).padStart(9)}  ${text}`)
  }

  violate(invariant: string, detail: string): void {
    this.violations.push({ invariant, detail, at: this.now })
    this.trace(`VIOLATED ${invariant}: ${detail}`)
  }

  cover(what: string, step: Step): void {
    const key = `${what}|${step}`
    this.coverage.set(key, (this.coverage.get(key) ?? 0) + 1)
  }

  /** The fault that strikes this call, if any. */
  draw(step: Step): Fault | null {
    const { controlPlane, outages = 0.3, process } = this.profile
    if (this.isCalm || !this.faultDice.chance((controlPlane + process) * (rareness[step] ?? 1))) return null
    const isProcess = this.faultDice.chance(process / (controlPlane + process))
    const fault = isProcess
      ? this.faultDice.weighted({ "crash before": 3, "crash after": 3, freeze: 2, "clock jump": 2 })
      : step === "turn"
        ? null
        : this.faultDice.weighted({
            drop: 4,
            "lost answer": 4,
            duplicate: 3,
            reorder: 3,
            delay: 4,
            unavailable: 4,
            outage: outages,
            "token refused": 0.3,
            "parked push": 1
          })
    return fault
  }

  /** Ends the process at this instant: nothing that it still does has an effect. */
  crash(process: RuntimeProcess): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!process.isRunning) return Effect.void
      this.trace(`${process.name} crashes`)
      process.isDead = true
      process.awake.openUnsafe()
      for (const listener of this.listeners) if (listener.process === process) this.listeners.delete(listener)
      process.fiber?.interruptUnsafe()
      return Effect.void
    })
  }

  /** Stops the process's fibers for a while, as SIGSTOP or a paused machine does. */
  freeze(process: RuntimeProcess, millis: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!process.isRunning) return Effect.void
      this.trace(`${process.name} freezes for ${millis} ms`)
      process.awake.closeUnsafe()
      process.noteFault(this.now + millis)
      return Effect.asVoid(
        this.fork(
          Effect.andThen(
            Effect.sleep(millis),
            Effect.sync(() => {
              this.trace(`${process.name} wakes`)
              process.lastWokeAt = this.now
              process.awake.openUnsafe()
            })
          )
        )
      )
    })
  }

  jump(process: RuntimeProcess): void {
    const by = this.faultDice.between(-600, 600) * 1_000
    this.trace(`${process.name}'s clock jumps by ${by} ms`)
    process.clockOffset += by
    process.lastJumpAt = this.now
    process.noteFault(this.now)
  }
}
