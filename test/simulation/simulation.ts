/** One seed: an account, its people, one or two runtimes, a gateway, and everything that can go wrong with them. */
import { createHash } from "node:crypto"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { AccountModel } from "./accountModel.ts"
import { damages } from "./accountState.ts"
import type { Agent } from "./accountState.ts"
import { approvers } from "./approvalDeeds.ts"
import { Dice } from "./dice.ts"
import { Invariants } from "./invariants.ts"
import { pushChanges } from "./memoryConvex.ts"
import { MemoryGateway } from "./memoryGateway.ts"
import type { Mistake } from "./queueState.ts"
import { startProcess } from "./runtimeProcess.ts"
import type { Wrappers } from "./runtimeProcess.ts"
import { World } from "./world.ts"
import type { Profile, RuntimeProcess, Violation } from "./world.ts"

/** The options of a run in addition to its seed. */
export interface Options {
  readonly isTraced?: boolean
  readonly mistakes?: ReadonlySet<Mistake>
  readonly wrappers?: Wrappers
  readonly profile?: Profile
}

/** The report of a run. */
export interface Report {
  readonly seed: number
  readonly violations: ReadonlyArray<Violation>
  readonly coverage: ReadonlyMap<string, number>
  readonly lines: ReadonlyArray<string>
  readonly rows: number
  readonly turns: number
}

const agents: ReadonlyArray<Omit<Agent, "heartbeat">> = [
  { id: "a_lead", slug: "lead", name: "Squad Lead", isOrchestrator: true, canReview: false },
  { id: "a_engineer", slug: "engineer", name: "Engineer", isOrchestrator: false, canReview: false },
  { id: "a_qa", slug: "qa", name: "QA", isOrchestrator: false, canReview: true },
  { id: "a_writer", slug: "writer", name: "Writer", isOrchestrator: false, canReview: false },
  { id: "a_designer", slug: "designer", name: "Designer", isOrchestrator: false, canReview: false }
]

/** Minutes between heartbeats, or cron expressions: often enough that faults meet them. */
const INTERVALS = [1, 3, 15, "*/2 * * * *"]
const CHUNK_MILLIS = 10_000
/** A delayed call arrives at most this long after it was sent. */
const LATEST_CALL_MILLIS = 60_000
/** After the faults everything must have ended within this. */
const REST_MILLIS = 3 * 60 * 60 * 1_000

const profiles: Readonly<Record<string, Profile>> = {
  fair: { controlPlane: 0, process: 0, gateway: 0.05 },
  "bad gateway": { controlPlane: 0, process: 0, gateway: 0.6 },
  "bad network": { controlPlane: 0.15, process: 0, gateway: 0.1 },
  "bad machines": { controlPlane: 0.02, process: 0.05, gateway: 0.15 },
  everything: { controlPlane: 0.1, process: 0.03, gateway: 0.35 }
}

/** Subscriptions, which cost no calls, and renewals, whose number depends on the length of turns. */
const UNCOUNTED = new Set<string>([functions.wake, functions.commands, functions.agents, functions.renew])

/** A hash of the trace of a run with `isTraced`: equal runs have equal ones. */
export const traceHash = ({ lines }: Report): string =>
  createHash("sha256").update(lines.join("\n")).digest("hex").slice(0, 16)

/** Runs one seed to its end, in virtual time. */
export const simulate = Effect.fnUntraced(function* (seed: number, options: Options = {}) {
  const dice = new Dice(`plan ${seed}`)
  const base = yield* Clock.Clock
  const scope = yield* Scope.make()
  const profile = options.profile ?? profiles[dice.pick(Object.keys(profiles))]
  if (profile === undefined) throw new Error("no such profile")
  const account = new AccountModel({
    agents: agents
      .slice(0, dice.between(2, agents.length))
      .map((agent) => ({ ...agent, heartbeat: dice.pick(INTERVALS) })),
    scope: dice.chance(0.4) ? "task" : "agent",
    ...(options.mistakes === undefined ? {} : { mistakes: options.mistakes })
  })
  // Every third account has a budget that its work exceeds.
  if (seed % 3 === 0) {
    // Of a tiny budget a few runs reserve everything before any of it is spent.
    const limit = dice.chance(0.2) ? dice.between(2, 6) : dice.between(300, 4_000)
    const budget = { limit, windowMillis: dice.between(2, 10) * 60_000 }
    account.queue.setBudget(0, budget)
  }
  // In every third account people must approve calls of some tools, for which they have minutes instead of a day.
  const hasApprovals = profile.approvals ?? seed % 3 === 1
  const approvalDice = new Dice(`approvals ${seed}`)
  if (hasApprovals) account.decisionMillis = approvalDice.between(1, 6) * 60_000
  const world = new World({
    account,
    profile,
    faultDice: new Dice(`faults ${seed}`),
    gatewayDice: new Dice(`gateway ${seed}`),
    clock: base,
    scope,
    isTraced: options.isTraced ?? false
  })
  const limits = {
    maxAttempts: dice.between(2, 5),
    silenceLimit: dice.between(1, 3),
    maxHops: dice.between(2, 6),
    maxTurns: dice.pick([3, 6, 40]),
    drainMillis: 25_000,
    // Not below the pulse, by which runtimes learn of these moments.
    quietMillis: dice.pick([0, 60_000, 60_000, 90_000]),
    quietLimitMillis: dice.pick([100_000, 300_000])
  }
  const settings: Partial<Settings> = {
    deliveryLease: Duration.seconds(dice.pick([15, 30, 90])),
    deliveryMaxAttempts: limits.maxAttempts,
    noResponseLimit: limits.silenceLimit,
    maxAgentHops: limits.maxHops,
    // In characters here: some ten turns.
    sessionTokenLimit: 15_000,
    maxAgentTurnsPerTask: limits.maxTurns,
    quietTime: Duration.millis(limits.quietMillis),
    quietTimeLimit: Duration.millis(limits.quietLimitMillis),
    deliveryMaxConcurrentSessions: dice.pick([1, 2, 4, 8]),
    deliveryBackoffBase: Duration.seconds(dice.pick([1, 5])),
    deliveryBackoffMax: Duration.seconds(60),
    gatewayRequestTimeout: Duration.seconds(dice.pick([30, 120])),
    turnTimeout: Duration.seconds(dice.pick([60, 300])),
    maxToolRounds: dice.between(1, 4),
    healthCheckInterval: Duration.seconds(60)
  }
  const invariants = new Invariants(world, limits)
  world.onCommit = () => invariants.observe()
  const gateway = new MemoryGateway(world, new Dice(`events ${seed}`))

  let boots = 0
  const hosting = { isOver: false }
  const start = (runtimeId: string): Effect.Effect<RuntimeProcess> =>
    Effect.suspend(() =>
      startProcess({
        world,
        gateway,
        runtimeId,
        name: `${runtimeId}#${(boots += 1)}`,
        seed: `process ${seed} ${boots}`,
        settings,
        ...(options.wrappers === undefined ? {} : { wrappers: options.wrappers }),
        onEnd: (process) =>
          Effect.suspend(() => {
            invariants.judgeExit(process, world.now - process.lastFaultAt < 60_000)
            return Effect.void
          })
      })
    )
  /** Keeps a runtime running as a host would: starts it again if it ended, or now and then if it only seems dead. */
  const host = (runtimeId: string) =>
    Effect.gen(function* () {
      let process = yield* start(runtimeId)
      while (!hosting.isOver) {
        yield* Effect.sleep(8_000)
        const isStuck = process.isRunning && !process.awake.isOpen() && dice.chance(0.15)
        if (process.isRunning && !isStuck) continue
        if (isStuck) world.trace(`${process.name} is treated as dead`)
        // One that leaves for good must be noticed by the others.
        if (runtimeId !== "r1" && dice.chance(0.3)) return
        yield* Effect.sleep(dice.pick([100, 2_000, 20_000]))
        if (!hosting.isOver) process = yield* start(runtimeId)
      }
    })

  const transact = (act: () => void) =>
    Effect.suspend(() => {
      act()
      invariants.observe()
      return pushChanges(world)
    })
  const someone = () => dice.pick(account.agents)
  /** No two messages are alike, so that it can be told which of them a prompt showed. */
  const write = (task: string, words: string) =>
    account.write(world.now, task, `${words} (${account.messages.length + 1})`)
  const deed = () =>
    Effect.suspend(() => {
      const { now } = world
      const tasks = [...account.tasks.keys()]
      const dead = [...account.queue.notifications.values()].filter(({ state }) => state === "dead")
      const stopped = [...account.queue.notifications.values()].filter(
        ({ agent, outcome, task }) =>
          outcome === "stopped" && !account.agent(agent).isRemoved && account.task(task).status !== "archived"
      )
      const what =
        tasks.length === 0
          ? "create"
          : dice.weighted({
              create: 3,
              write: 7,
              mention: 4,
              burst: 2,
              status: 3,
              archive: 0.3,
              poison: profile.process > 0 ? 0.7 : 0,
              letters: dead.length > 0 ? 3 : 0,
              chat: 0.3,
              assign: 1,
              damage: 1.5,
              remove: account.agents.length > 2 ? 0.8 : 0,
              rotate: account.queue.sessions.size > 0 ? 1 : 0,
              reschedule: 0.5,
              pause: profile.pauses ?? 0.6,
              halt: profile.halts ?? 1,
              again: stopped.length > 0 ? 1.5 : 0,
              stop: profile.stops ?? (profile.process > 0 ? 1 : 0.3)
            })
      world.trace(`people: ${what}`)
      switch (what) {
        case "create": {
          const assignees = new Set(Array.from({ length: dice.between(0, 2) }, () => someone().id))
          return transact(() => account.createTask(now, [...assignees]))
        }
        case "write":
          return transact(() => write(dice.pick(tasks), "please go on"))
        case "mention":
          return transact(() => write(dice.pick(tasks), `@${someone().slug} your turn`))
        case "burst": {
          const task = dice.pick(tasks)
          return Effect.forEach(
            Array.from({ length: dice.between(2, 6) }),
            () =>
              Effect.andThen(
                Effect.sleep(20),
                transact(() => write(task, "and another thing"))
              ),
            { discard: true }
          )
        }
        case "status":
          return transact(() =>
            account.setStatus(now, dice.pick(tasks), dice.pick(["in_progress", "review", "done", "blocked"]))
          )
        case "archive":
          return transact(() => account.archive(now, dice.pick(tasks)))
        case "poison":
          return transact(() => {
            const ready = [...account.queue.notifications.values()].filter(({ state }) => state === "ready")
            if (ready.length > 0) world.isPoisoned.add(dice.pick(ready).id)
          })
        case "letters":
          return transact(() => {
            if (dice.chance(0.6)) account.queue.retryDeadLetter(now, dice.pick(dead).id)
            else account.queue.discardDeadLetter(now, dice.pick(dead).id)
          })
        case "chat":
          return transact(() => account.createTask(now, [], true))
        case "assign": {
          const assignees = new Set(Array.from({ length: dice.between(1, 2) }, () => someone().id))
          const open = [...account.tasks.values()].filter(({ status }) => status !== "archived")
          return transact(() => {
            if (open.length > 0) account.assign(now, dice.pick(open).id, [...assignees])
          })
        }
        case "damage":
          return Effect.suspend(() => {
            account.damageNext = dice.pick(damages)
            // Now and then the damage is repaired.
            const repaired = dice.chance(0.5) ? Effect.sleep(dice.between(10_000, 300_000)) : Effect.never
            return Effect.asVoid(
              world.fork(
                Effect.andThen(
                  repaired,
                  Effect.sync(() => account.damaged.clear())
                )
              )
            )
          })
        case "remove":
          return transact(() => {
            // Preferably one at work.
            const busy = account.agents.filter(({ id }) =>
              [...account.queue.sessions.values()].some(
                ({ agent, lease }) => agent === id && lease?.kind === "notification"
              )
            )
            account.remove(now, dice.pick(busy.length > 0 ? busy : account.agents).id)
            world.cover("agent removed", "people")
          })
        case "rotate":
          return transact(() => account.rotate(now, dice.pick([...account.queue.sessions.values()]).agent))
        case "reschedule":
          return transact(() => account.reschedule(now, someone().id, dice.pick(INTERVALS)))
        case "halt":
          return transact(() => {
            const live = [...account.queue.sessions.values()].flatMap(({ lease, recalled }) =>
              lease === null || recalled !== null ? [] : [lease.run]
            )
            const runs = [...account.queue.notifications.keys()]
            const run = live.length > 0 && dice.chance(0.8) ? dice.pick(live) : dice.pick(runs)
            const of = dice.weighted({ run: 6, task: 2, agent: 1 })
            if (runs.length === 0) return
            account.stop(
              now,
              { type: "person", id: "person" },
              { run: { run }, task: { task: dice.pick(tasks) }, agent: { agent: someone().id } }[of]
            )
          })
        case "again":
          return transact(() => {
            account.queue.runAgain(now, dice.pick(stopped).id)
            world.cover("runs again", "people")
          })
        case "pause":
          return Effect.gen(function* () {
            const agent = dice.chance(0.5) ? null : someone().id
            const release = dice.chance(0.5)
            const millis = dice.between(1_000, 60_000)
            yield* transact(() => account.queue.pause(now, agent, release))
            const resumed = Effect.andThen(
              Effect.sleep(millis),
              Effect.suspend(() => transact(() => account.queue.resume(world.now, agent)))
            )
            if (agent === null) return yield* resumed
            world.cover(release ? "agent paused, released" : "agent paused", "people")
            yield* world.fork(resumed)
          })
        case "stop":
          return Effect.gen(function* () {
            const running = world.processes.filter((process) => process.isRunning && process.stopRequestedAt === null)
            if (running.length > 0) yield* requestStop(dice.pick(running))
          })
      }
    })
  const requestStop = (process: RuntimeProcess) =>
    Effect.suspend(() => {
      world.trace(`${process.name} is asked to stop`)
      process.stopRequestedAt = world.now
      return Deferred.succeed(process.stop, undefined)
    })
  const people = Effect.gen(function* () {
    const deeds = dice.between(6, 24)
    for (let count = 0; count < deeds; count += 1) {
      yield* Effect.sleep(dice.pick([10, 300, 3_000, 20_000, 60_000]))
      yield* deed()
    }
  })

  const runtimes = dice.chance(0.4) ? ["r1", "r2"] : ["r1"]
  const hosts: Array<unknown> = []
  for (const runtimeId of runtimes) hosts.push(yield* world.fork(host(runtimeId)))
  const crowd = yield* world.fork(people)
  if (hasApprovals) yield* world.fork(approvers(account, approvalDice, world, transact))

  /** Lets a little time pass, then judges. */
  const pass = Effect.gen(function* () {
    yield* TestClock.adjust(CHUNK_MILLIS)
    const able: Array<RuntimeProcess> = []
    for (const process of world.processes) {
      if (!process.isRunning || process.stopRequestedAt !== null || !process.awake.isOpen()) continue
      if (yield* process.canClaim) able.push(process)
    }
    if (!account.isTokenRevoked) invariants.look(able)
  })
  const isAtRest = () =>
    account.approvals.every(({ state }) => state !== "pending") &&
    [...account.queue.notifications.values()].every(({ state }) => ["delivered", "dead", "discarded"].includes(state))

  /** Counts the calls of ten minutes in which only the pulse and heartbeats have a reason for any. */
  const quietMinutes = Effect.gen(function* () {
    const before = new Map(account.counts)
    const { emptyClaims } = account
    const since = world.now
    yield* TestClock.adjust("10 minutes")
    const running = world.processes.filter((process) => process.isRunning && process.startedAt < since).length
    const calls = [...account.counts]
      .filter(([path]) => !UNCOUNTED.has(path))
      .reduce((sum, [path, count]) => sum + count - (before.get(path) ?? 0), 0)
    const heartbeats = account.queue.history.filter((entry) => entry.entry === "claim" && entry.at > since).length
    // Another process makes two claims in vain: it is late for the heartbeat, and looks when its lease would expire. A
    // pulse that coincides with a heartbeat reports it as due although it was just claimed.
    const allowed = 10 * running + 2 * Math.max(0, running - 1) * heartbeats
    const stated = Math.ceil((1_500 / 144) * running) + 2 * heartbeats + allowed
    if (calls > stated) world.violate("I12", `${calls} calls in ten quiet minutes, stated are ${stated}`)
    const inVain = account.emptyClaims - emptyClaims
    if (inVain > allowed) world.violate("I12", `${inVain} claims without a reason in ten quiet minutes`)
  })

  const trouble = world.now + dice.between(5, 15) * 60_000
  while (world.violations.length === 0 && (world.now < trouble || crowd.pollUnsafe() === undefined)) yield* pass
  world.trace("the faults are over")
  world.isCalm = true
  // Raising the budget resumes what waited for it.
  yield* Effect.suspend(() => {
    account.queue.setBudget(world.now, null)
    world.onCommit()
    return pushChanges(world)
  })
  const limit = world.now + REST_MILLIS
  const untilRest = Effect.gen(function* () {
    while (world.violations.length === 0 && !isAtRest() && world.now < limit) yield* pass
  })
  yield* untilRest
  // A call of a crashed process may still be in progress and create new work.
  const late = world.now + LATEST_CALL_MILLIS
  while (world.violations.length === 0 && world.now < late) yield* pass
  yield* untilRest

  if (world.violations.length === 0 && seed % 4 === 0) {
    while (world.now < trouble + 5 * 60_000) yield* pass
    yield* quietMinutes
  }
  hosting.isOver = true
  if (world.violations.length === 0) {
    // The longest freeze ends, and work that it delayed.
    yield* TestClock.adjust("5 minutes")
    for (const process of world.processes) {
      if (process.isRunning && process.stopRequestedAt === null) yield* requestStop(process)
    }
    yield* TestClock.adjust("2 minutes")
    for (const process of world.processes) {
      if (process.isRunning) world.violate("I7", `${process.name} does not stop`)
    }
    invariants.judgeRest()
  }
  for (const process of world.processes) if (process.isRunning) yield* world.crash(process)
  // Fibers that are left give up in their own time.
  const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
  yield* TestClock.adjust("10 minutes")
  yield* Fiber.join(closing)
  const report: Report = {
    seed,
    violations: world.violations,
    coverage: world.coverage,
    lines: world.lines ?? [],
    rows: account.queue.notifications.size,
    turns: world.turns.length
  }
  return report
})
