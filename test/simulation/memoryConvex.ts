/**
 * The control plane as a process reaches it over a network that loses, repeats, delays and reorders. A call's packet
 * travels in the world's time, not in the caller's: it arrives even if its caller was interrupted or has died.
 */
import { Deferred, Duration, Effect, Exit, Layer, Option, Queue, Result, Stream, SubscriptionRef } from "effect"
import {
  BootConflict,
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  LeaseLost,
  TokenRefused
} from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { leaseKey } from "../../src/domain/delivery/Run.ts"
import type { Lease } from "../../src/domain/delivery/Run.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import { Refusal } from "./queueState.ts"
import type { RuntimeProcess, Step, Turn, World } from "./world.ts"

/** The real client's timeout. */
const CALL_TIMEOUT = Duration.seconds(15)
/** A parked socket is noticed after this, as the real client's watchdog does. */
export const WATCHDOG_MILLIS = 42_000

const named: Readonly<Record<string, Step>> = {
  [functions.claim]: "claim",
  [functions.renew]: "renew",
  [functions.join]: "join",
  [functions.complete]: "complete",
  [functions.fail]: "fail",
  [functions.release]: "release",
  [functions.updateAgentHeartbeat]: "heartbeat",
  [functions.recordUsage]: "usage",
  [functions.allowUsage]: "usage",
  [functions.pulse]: "pulse"
}
const bootChecked = new Set<Step>(["claim", "renew", "pulse"])
const ends = new Set<Step>(["complete", "fail", "release", "heartbeat"])
/** Calls whose refusal for a lost lease ends the run. */
const fencedSteps = new Set<Step>([...ends, "join", "tool"])

/** What a process sends and is answered, as far as leases are concerned. */
interface Claim {
  readonly limit: number
  readonly held: ReadonlyArray<Lease>
  readonly abandoned: ReadonlyArray<Lease>
}
interface Answer {
  readonly runs?: ReadonlyArray<Lease>
  readonly lost?: ReadonlyArray<Lease>
}

/**
 * A process names each lease in every claim, from the answer that brought it until the answer to its end, or until it has
 * aborted the turn of a lease that was recalled.
 */
const noteClaim = (world: World, process: RuntimeProcess, { abandoned, held, limit }: Claim): void => {
  if (limit === 0) process.isEnding = true
  for (const lease of abandoned) process.abandoned.add(leaseKey(lease))
  const named = new Set([...held, ...abandoned].map(leaseKey))
  for (const key of process.holds) {
    const [session = "", epoch = ""] = key.split(" ")
    const isRecalled = world.account.queue.history.some(
      (entry) => entry.entry === "recall" && entry.session === session && entry.epoch === Number(epoch)
    )
    const runs = ({ open, ...turn }: Turn) => open > 0 && turn.session === session && turn.epoch === Number(epoch)
    if (isRecalled && !world.turns.some((turn) => turn.process === process && runs(turn))) process.holds.delete(key)
    else if (limit > 0 && !named.has(key))
      world.violate("I3", `${process.name} claims without naming ${key}, which it holds`)
  }
}
const noteAnswer = (process: RuntimeProcess, step: Step, args: object, answer: Answer): void => {
  if (step === "claim") {
    for (const lease of (args as Claim).abandoned) process.holds.delete(leaseKey(lease))
    for (const run of answer.runs ?? []) {
      process.holds.add(leaseKey(run))
      process.received.add(leaseKey(run))
    }
  }
  for (const lease of answer.lost ?? []) process.holds.delete(leaseKey(lease))
  if (ends.has(step)) process.holds.delete(leaseKey(args as Lease))
}

const failureOf = (path: string, step: Step, refusal: Refusal): ControlPlaneFailure => {
  const detail = refusal.code
  switch (refusal.code) {
    case "unauthenticated":
      return new TokenRefused({ function: path, detail })
    case "lease_lost":
      return new LeaseLost({ function: path, ...(refusal.recalled === null ? {} : { recalled: refusal.recalled }) })
    case "conflict":
      return bootChecked.has(step)
        ? new BootConflict({ detail })
        : new ControlPlaneRefused({ function: path, code: refusal.code, detail })
    default:
      return new ControlPlaneRefused({ function: path, code: refusal.code, detail })
  }
}

/** Pushes changed results to every subscription; called after each transaction. */
export const pushChanges = (world: World): Effect.Effect<void> =>
  Effect.forEach(
    [...world.listeners],
    (listener) => {
      const { process } = listener
      if (!process.isRunning || process.isParked || world.account.isTokenRevoked) return Effect.void
      const value = world.account.call(world.now, listener.path, listener.args)
      const text = JSON.stringify(value)
      if (text === listener.last) return Effect.void
      listener.last = text
      const delivery = Effect.sleep(5).pipe(
        Effect.andThen(process.awake.await),
        Effect.andThen(
          Effect.sync(() => {
            if (process.isRunning && !process.isParked) listener.offer(value)
          })
        )
      )
      return Effect.asVoid(world.fork(delivery))
    },
    { discard: true }
  )

/** Parks the process's connection for pushes: nothing arrives, and only the watchdog notices. */
export const park = Effect.fnUntraced(function* (world: World, process: RuntimeProcess, millis: number) {
  if (process.isParked) return
  process.isParked = true
  process.noteFault(world.now)
  world.trace(`${process.name}'s push is parked`)
  const set = (isConnected: boolean) =>
    process.isRunning ? SubscriptionRef.set(process.push, { isConnected, lastMessageAt: null }) : Effect.void
  yield* world.fork(
    Effect.gen(function* () {
      yield* Effect.sleep(Math.min(millis, WATCHDOG_MILLIS))
      if (millis > WATCHDOG_MILLIS) {
        yield* set(false)
        yield* Effect.sleep(millis - WATCHDOG_MILLIS)
      }
      process.isParked = false
      world.trace(`${process.name}'s push is back`)
      for (const listener of world.listeners) if (listener.process === process) listener.last = ""
      yield* pushChanges(world)
      yield* set(true)
    })
  )
})

/** A client of the control plane for this process. */
export const memoryConvex = (world: World, process: RuntimeProcess): Layer.Layer<ConvexClient> => {
  const call = Effect.fnUntraced(function* (kind: "query" | "mutation", path: string, args: object) {
    if (process.isDead) return yield* Effect.never
    const step = named[path] ?? (kind === "query" ? "read" : "tool")
    const latency = () => world.faultDice.between(1, 30)
    const fault = world.draw(step)
    if (fault !== null) {
      process.noteFault(world.now)
      world.trace(`${process.name} ${step}: ${fault}`)
    }
    if ("bootId" in args && typeof args.bootId === "string") process.bootId = args.bootId
    if (step === "claim") noteClaim(world, process, args as Claim)
    const unavailable = (detail: string) => new ControlPlaneUnavailable({ function: path, detail })
    const answer = yield* Deferred.make<unknown, ControlPlaneFailure>()

    /** One transaction, at the moment the packet arrives. */
    const commit = Effect.suspend(() => {
      let result: Result.Result<unknown, ControlPlaneFailure>
      try {
        result = Result.succeed(world.account.call(world.now, path, args))
      } catch (cause) {
        if (!(cause instanceof Refusal)) throw cause
        result = Result.fail(failureOf(path, step, cause))
      }
      if (kind === "mutation") {
        if (world.lines !== null) {
          const said = Result.isSuccess(result) ? JSON.stringify(result.success) : result.failure._tag
          world.trace(`${process.name} ${path.slice(8)} ${JSON.stringify(args).slice(0, 200)} -> ${said.slice(0, 300)}`)
        }
        world.onCommit()
        return Effect.as(pushChanges(world), result)
      }
      return Effect.succeed(result)
    })
    const struck = (): void => {
      if (fault !== null) world.cover(fault, fault === "parked push" ? "push" : fault === "outage" ? "claim" : step)
    }
    const packet = Effect.gen(function* () {
      yield* Effect.sleep(latency())
      if (world.now < world.outageUntil && !world.isCalm) {
        process.noteFault(world.now)
        return yield* Deferred.fail(answer, unavailable("HTTP 503"))
      }
      switch (fault) {
        case "outage":
          struck()
          world.outageUntil = world.now + world.faultDice.between(10_000, 300_000)
          return yield* Deferred.fail(answer, unavailable("HTTP 503"))
        case "unavailable":
          struck()
          return yield* Deferred.fail(answer, unavailable("ECONNREFUSED"))
        case "drop":
          struck()
          return false
        case "crash before":
          struck()
          yield* world.crash(process)
          // What was written to the wire may arrive all the same.
          if (world.faultDice.chance(0.5)) yield* commit
          return false
        case "token refused":
          struck()
          world.account.isTokenRevoked = true
          yield* world.fork(
            Effect.andThen(
              Effect.sleep(world.faultDice.between(1_000, 60_000)),
              Effect.suspend(() => {
                world.account.isTokenRevoked = false
                return pushChanges(world)
              })
            )
          )
          break
        case "delay":
          struck()
          yield* Effect.sleep(world.faultDice.between(500, 14_000))
          break
        case "duplicate":
          struck()
          yield* commit
          break
        case "reorder":
          struck()
          yield* world.fork(Effect.andThen(Effect.sleep(world.faultDice.between(100, 60_000)), commit))
          break
        case "clock jump":
          struck()
          world.jump(process)
          break
        case "parked push":
          struck()
          yield* park(world, process, world.faultDice.between(5_000, 180_000))
          break
        case "freeze":
          struck()
          yield* world.freeze(process, world.faultDice.between(1_000, 200_000))
          break
        case "lost answer":
        case "crash after":
        case null:
      }
      const result = yield* commit
      if (fault === "crash after") {
        struck()
        return yield* Effect.as(world.crash(process), false)
      }
      yield* Effect.sleep(latency())
      if (fault === "lost answer") {
        struck()
        return world.faultDice.chance(0.5) ? yield* Deferred.fail(answer, unavailable("ECONNRESET")) : false
      }
      return yield* Deferred.done(
        answer,
        Result.isSuccess(result) ? Exit.succeed(result.success) : Exit.fail(result.failure)
      )
    })
    yield* world.fork(packet)
    const exit = yield* Effect.exit(
      Deferred.await(answer).pipe(
        Effect.timeoutOrElse({
          duration: CALL_TIMEOUT,
          orElse: () => Effect.fail(unavailable(`no answer within ${Duration.format(CALL_TIMEOUT)}`))
        })
      )
    )
    if (process.isDead) return yield* Effect.never
    yield* process.awake.await
    if (Exit.isSuccess(exit)) noteAnswer(process, step, args, exit.value as Answer)
    const failure = Option.getOrNull(Exit.findErrorOption(exit))
    if (fencedSteps.has(step) && failure?._tag === "LeaseLost") process.holds.delete(leaseKey(args as Lease))
    return yield* exit
  })

  return Layer.succeed(ConvexClient, {
    deployment: Effect.succeed({ date: undefined }),
    query: (path, args) => call("query", path, args),
    mutation: (path, args) => call("mutation", path, args),
    subscribe: (path, args) =>
      Stream.callback<Result.Result<unknown, ControlPlaneFailure>>((queue) =>
        Effect.acquireRelease(
          Effect.gen(function* () {
            const listener = {
              process,
              path,
              args,
              offer: (value: unknown) => void Queue.offerUnsafe(queue, Result.succeed(value)),
              last: ""
            }
            world.listeners.add(listener)
            yield* pushChanges(world)
            return listener
          }),
          (listener) => Effect.sync(() => world.listeners.delete(listener))
        )
      ),
    push: process.push
  })
}
