/**
 * The gateway as a process of ours: started, watched, started again when it ends, stopped with us. An external gateway
 * is watched the same way and otherwise left alone.
 */
import { createConnection } from "node:net"
import { dirname } from "node:path"
import {
  Clock,
  Context,
  Duration,
  Effect,
  Fiber,
  FileSystem,
  Layer,
  Option,
  Redacted,
  Ref,
  Schedule,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import type { Scope } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { TOOL_SEARCH_FIX } from "../../domain/gateway/Canary.ts"
import { judgeGatewayExit } from "../../domain/gateway/GatewayExit.ts"
import { judgeGatewayVersion, parseGatewayVersion } from "../../domain/gateway/GatewayVersion.ts"
import { RuntimeConfig } from "../Config.ts"
import { Gateway } from "../Gateway.ts"
import { processIdentity, stopProcessGroup } from "../host/ProcessGroup.ts"
import { withheldFromChildren } from "../host/WithheldFromChildren.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { runCanary } from "./Canary.ts"
import { gatewayAddress } from "./GatewayConnection.ts"
import { notedGateway, pidFileOf } from "./GatewayPidFile.ts"
import { GatewayToken } from "./GatewayToken.ts"

/** How long SIGTERM may take before SIGKILL. The gateway itself would wait for its runs for five minutes. */
const STOP_GRACE = Duration.seconds(10)
/** Live or not: a gateway that is neither ready nor draining for this long is started anew. */
const UNREADY_LIMIT = Duration.minutes(2)
/** A start usually takes 10 to 20 s. */
const START_USUAL = Duration.seconds(60)
const PROGRESS_INTERVAL_MILLIS = 10_000
const PROBE_WHILE_WAITING = Duration.millis(500)
/** A gateway that fails in between is noticed by the next turn, and one of ours by its exit; each probe wakes an idle process. */
const PROBE_WHILE_READY = Duration.seconds(10)
const VERSION_TIMEOUT = Duration.seconds(20)
const CANARY_INTERVAL = "10 minutes"
/** More ends than this within the window are no accident any more. */
const RESTARTS = 10
const RESTART_WINDOW_MILLIS = Duration.toMillis("10 minutes")
const FIRST_WAIT_MILLIS = 1_000
const LONGEST_WAIT_MILLIS = 60_000
/** One second after the first time, twice as long after each further one, at most a minute. */
const growingWait = (times: number): Duration.Duration =>
  Duration.millis(Math.min(LONGEST_WAIT_MILLIS, FIRST_WAIT_MILLIS * 2 ** (times - 1)))
const KEPT_LINES = 40
const LINE_CHARACTERS = 4_000

/**
 * How the gateway is: only `ready` takes turns, and has a detail if something is wrong all the same; `faulty` needs a
 * person, and after `spent` it is not started again.
 */
export interface GatewayHealth {
  readonly status: "starting" | "ready" | "not-ready" | "faulty" | "spent"
  readonly detail: string
}

/** How a gateway ended: its exit code, null after a signal, and the last lines it wrote. */
export interface GatewayEnd {
  readonly exitCode: number | null
  readonly lastLines: ReadonlyArray<string>
}

/** A gateway that runs here; its id is null when another process started it and left no trace. */
export interface RunningGateway {
  readonly pid: number | null
  readonly ended: Effect.Effect<GatewayEnd>
  /** SIGTERM to its process group, SIGKILL after ten seconds; returns when it has gone. */
  readonly stop: Effect.Effect<void>
}

/** What a gateway is started with. */
export interface GatewayLaunch {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly stateDir: string
  readonly configPath: string
  readonly port: number
  readonly token: Redacted.Redacted
}

/** The command could not be started at all. */
export class GatewayNotStarted extends Schema.TaggedError<GatewayNotStarted>()("GatewayNotStarted", {
  detail: Schema.String
}) {}

/** The gateway's agents can read its environment, which must not hold what is ours alone. */
const withheld: Record<string, undefined> = { ...withheldFromChildren, OPENCLAW_GATEWAY_URL: undefined }

const notStarted = (command: string) => (error: { readonly reason: { readonly _tag: string } }) =>
  new GatewayNotStarted({
    detail: `OPENCLAW_GATEWAY_PATH is ${JSON.stringify(command)}, which cannot be started (${error.reason._tag}): install openclaw or set the variable to its path`
  })

/** Starts a gateway in a process group of its own and carries its output into our log; the scope stops it. Whether it is ready is another question. */
export const initGateway = Effect.fn("GatewayProcess.initGateway")(function* (launch: GatewayLaunch) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const fileSystem = yield* FileSystem.FileSystem
  const { redact } = yield* Redactor
  const pidFile = pidFileOf(launch.stateDir)
  yield* Effect.ignore(fileSystem.makeDirectory(launch.stateDir, { recursive: true, mode: 0o700 }))
  const handle = yield* spawner
    .spawn(
      ChildProcess.make(launch.command, [...launch.args], {
        env: {
          ...withheld,
          OPENCLAW_STATE_DIR: launch.stateDir,
          OPENCLAW_CONFIG_PATH: launch.configPath,
          OPENCLAW_GATEWAY_PORT: String(launch.port),
          OPENCLAW_GATEWAY_TOKEN: launch.token,
          NO_COLOR: "1"
        },
        extendEnv: true,
        stdin: "ignore",
        detached: true,
        killSignal: "SIGTERM",
        forceKillAfter: STOP_GRACE
      })
    )
    .pipe(Effect.mapError(notStarted(launch.command)))

  const lastLines: Array<string> = []
  const carry = (stream: typeof handle.stdout) =>
    stream.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((text) => {
        if (text.trim() === "") return Effect.void
        // Before any cut, which could leave a part of a secret that nobody knows again.
        const line = redact(text).slice(0, LINE_CHARACTERS)
        lastLines.push(line)
        if (lastLines.length > KEPT_LINES) lastLines.shift()
        return Effect.logInfo(line)
      }),
      Effect.ignore
    )
  const output = yield* Effect.all([carry(handle.stdout), carry(handle.stderr)], { concurrency: 2 }).pipe(
    Effect.annotateLogs({ source: "openclaw" }),
    Effect.forkScoped
  )

  const record = JSON.stringify({
    pid: handle.pid,
    identity: yield* processIdentity(handle.pid),
    command: launch.command,
    args: launch.args,
    port: launch.port
  })
  yield* fileSystem.writeFileString(`${pidFile}.tmp`, `${record}\n`, { mode: 0o600 }).pipe(
    Effect.andThen(fileSystem.rename(`${pidFile}.tmp`, pidFile)),
    Effect.catch((error) =>
      Effect.logWarning(
        `the gateway's pid cannot be noted in ${pidFile} (${error.reason._tag}): after a crash of this process it would be left running`
      )
    )
  )

  const stop = Effect.gen(function* () {
    yield* Effect.ignore(handle.kill({ killSignal: "SIGTERM", forceKillAfter: STOP_GRACE }))
    yield* Effect.ignore(fileSystem.remove(pidFile, { force: true }))
  })
  const gateway: RunningGateway = {
    pid: handle.pid,
    ended: Effect.gen(function* () {
      const exitCode = yield* Effect.match(handle.exitCode, {
        onSuccess: (code): number | null => code,
        onFailure: () => null
      })
      // Its last words may still be on their way; a helper of it may hold the pipe open for long.
      yield* Fiber.await(output).pipe(Effect.timeoutOption("1 second"))
      return { exitCode, lastLines }
    }),
    stop
  }
  // After the fiber that reads, hence before it: what the gateway says while it ends is still read.
  yield* Effect.addFinalizer(() => shutdownGateway(gateway))
  return gateway
})

/** Stops a gateway with its whole process group: SIGTERM, ten seconds, SIGKILL. One that is not ours is left alone. */
export const shutdownGateway = Effect.fn("GatewayProcess.shutdownGateway")(function* (gateway: RunningGateway) {
  yield* gateway.stop
})

/** What a run of the gateway came to. */
type RunEnd =
  | ({ readonly _tag: "Ended" } & GatewayEnd)
  | { readonly _tag: "Unready" }
  | { readonly _tag: "PortTaken" }
  | { readonly _tag: "Faulty"; readonly detail: string }

const isListening = (port: number): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const socket = createConnection({ host: "127.0.0.1", port })
    socket.once("connect", () => resume(Effect.succeed(true)))
    socket.once("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: "2 seconds", orElse: () => Effect.succeed(true) }))

/** Keeps the gateway alive, or watches one that somebody else keeps alive. */
export class GatewayProcess extends Context.Service<
  GatewayProcess,
  {
    /** Whether the gateway is started here: no OPENCLAW_GATEWAY_URL is given. */
    readonly isSupervised: boolean
    readonly health: Effect.Effect<GatewayHealth>
    /** Every health from now on, the current one first. */
    readonly changes: Stream.Stream<GatewayHealth>
    /** How often the gateway was started again. */
    readonly restarts: Effect.Effect<number>
    /** Starts, watches and restarts; ends never, and stops the gateway when it is interrupted. */
    readonly supervise: Effect.Effect<never>
  }
>()("runtime-service/layers/gateway/GatewayProcess") {
  static readonly layer = Layer.effect(
    GatewayProcess,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const gateway = yield* Gateway
      const fileSystem = yield* FileSystem.FileSystem
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const ownToken = yield* GatewayToken
      const redactor = yield* Redactor
      const isSupervised = Option.isNone(config.gatewayUrl)
      const where = gatewayAddress(config).url
      const health = yield* SubscriptionRef.make<GatewayHealth>({ status: "starting", detail: "not started yet" })
      const restarts = yield* Ref.make(0)
      const judged = yield* Ref.make("")

      const publish = (status: GatewayHealth["status"], detail: string) =>
        SubscriptionRef.updateSome(health, (before) =>
          before.status === status && before.detail === detail ? Option.none() : Option.some({ status, detail })
        )

      /** Says once what a version means; the detail when it is refused. */
      const judge = Effect.fnUntraced(function* (text: string | null) {
        const verdict = judgeGatewayVersion(text === null ? null : parseGatewayVersion(text))
        const isNews = (yield* Ref.getAndSet(judged, verdict.message ?? "")) !== verdict.message
        if (verdict._tag === "Refused") return verdict
        if (verdict.message !== null && isNews) yield* Effect.logWarning(verdict.message)
        return verdict
      })

      /** What stands before the gateway's own words in its arguments, e.g. a script that an interpreter is to run. */
      const prefix = config.gatewayArgs.slice(0, Math.max(0, config.gatewayArgs.indexOf("gateway")))

      const askVersion = spawner
        .string(
          ChildProcess.make(config.gatewayPath, [...prefix, "--version"], {
            env: withheld,
            extendEnv: true,
            stdin: "ignore"
          })
        )
        .pipe(
          Effect.mapError(notStarted(config.gatewayPath)),
          Effect.timeoutOrElse({ duration: VERSION_TIMEOUT, orElse: () => Effect.succeed("") })
        )

      /** That agents do not see our tools; turns run all the same. */
      const toolsProblem = yield* Ref.make("")

      /** Asks an agent for a tool call, again and again until one arrives, be it a delivery's. */
      const canary = Effect.gen(function* () {
        if ((yield* gateway.state).hasSentToolCalls) return true
        const [agentSlug] = yield* Effect.orElseSucceed(gateway.agents, () => [])
        if (agentSlug === undefined) return false
        const outcome = yield* runCanary(agentSlug)
        switch (outcome._tag) {
          case "Called":
            yield* Effect.logInfo("tool calls of this gateway's agents arrive")
            return true
          case "Failed":
            yield* Effect.logWarning(
              `asking an agent for a tool call failed, trying again in ${CANARY_INTERVAL}: ${outcome.detail}`
            )
            return false
          case "Silent": {
            const problem = `agents do not see the runtime's tools: ${outcome.detail}: ${TOOL_SEARCH_FIX}`
            if ((yield* Ref.getAndSet(toolsProblem, problem)) === "") yield* Effect.logError(problem)
            return false
          }
        }
      }).pipe(
        Effect.repeat({ schedule: Schedule.spaced(CANARY_INTERVAL), until: (isDone) => isDone }),
        Effect.provideService(Gateway, gateway),
        Effect.provideService(Redactor, redactor),
        Effect.provideService(RuntimeConfig, config)
      )

      /** Why the gateway that runs does not accept us; null when it does. */
      const refusal = Effect.match(gateway.agents, {
        onSuccess: () => null,
        onFailure: (failure) =>
          failure._tag === "GatewayMisconfigured"
            ? `${failure.detail}; ${failure.fix}; or ${config.gatewayConfigPath} has a gateway.auth.token of its own: remove it there, or set OPENCLAW_GATEWAY_TOKEN to it`
            : null
      })

      /** Follows readiness; ends only when the gateway has been neither ready nor draining for too long. */
      const watch = Effect.gen(function* () {
        const startedAt = yield* Clock.currentTimeMillis
        let goodAt = startedAt
        let saidAt = startedAt
        let misses = 0
        let isKnown = false
        let isGood = false

        const becomeReady = Effect.gen(function* () {
          const { version } = yield* gateway.state
          yield* Effect.logInfo(`the gateway is ready${version === null ? "" : ` (OpenClaw ${version})`}: ${where}`)
          if (isKnown) return
          isKnown = true
          // Its own answer tells what runs; the command's told only what would be started.
          const verdict = version === null && isSupervised ? null : yield* judge(version)
          // Tool Search is off where the runtime writes the configuration of a release that it knows.
          const isKnownGood = isSupervised && config.profileSync && verdict?._tag === "Supported"
          if (!isKnownGood) yield* Effect.forkScoped(canary)
        })

        const look = Effect.gen(function* () {
          const isReady = yield* gateway.ready
          const now = yield* Clock.currentTimeMillis
          const problem = isReady && isSupervised && !isGood ? yield* refusal : null
          if (isReady && problem === null) {
            const seen = yield* gateway.state
            const verdict = judgeGatewayVersion(seen.version === null ? null : parseGatewayVersion(seen.version))
            if (!isGood) yield* becomeReady
            isGood = true
            misses = 0
            goodAt = saidAt = now
            yield* verdict._tag === "Refused"
              ? publish("faulty", verdict.message)
              : publish("ready", seen.hasSentToolCalls ? "" : yield* Ref.get(toolsProblem))
            return false
          }
          if (problem !== null) {
            goodAt = now
            if ((yield* SubscriptionRef.get(health)).detail !== problem) yield* Effect.logError(problem)
            yield* publish("faulty", problem)
            return false
          }
          const { problem: why, state } = yield* gateway.state
          const reason = why ?? state
          if (state === "draining") goodAt = now
          misses += 1
          // One probe may get lost under load; what was ready is doubted at the second.
          if (isGood && misses < 2 && state !== "draining") return false
          if (!isKnown && misses === 1 && !isSupervised) {
            yield* Effect.logWarning(`the gateway at ${where} is not ready, waiting for it with backoff: ${reason}`)
          } else if (isGood) {
            yield* Effect.logWarning(`the gateway is no longer ready: ${reason}`)
          } else if (isSupervised && now - saidAt >= PROGRESS_INTERVAL_MILLIS) {
            saidAt = now
            const line = `the gateway is not ready after ${Math.round((now - startedAt) / 1_000)} s: ${reason}`
            yield* now - startedAt >= Duration.toMillis(START_USUAL) ? Effect.logWarning(line) : Effect.logInfo(line)
          }
          isGood = false
          yield* publish(isKnown ? "not-ready" : "starting", `the gateway is not ready: ${reason}`)
          return isSupervised && now - goodAt >= Duration.toMillis(UNREADY_LIMIT)
        })
        yield* look.pipe(
          Effect.repeat({
            schedule: Schedule.spaced(PROBE_WHILE_WAITING).pipe(
              Schedule.modifyDelay(() =>
                Effect.sync(() => (isGood && misses === 0 ? PROBE_WHILE_READY : PROBE_WHILE_WAITING))
              )
            ),
            until: (isOver) => isOver
          })
        )
      })

      /** A gateway of an earlier life of this process: taken over when it is ours in every respect, otherwise stopped. */
      const inherited = Effect.gen(function* () {
        const orphan = yield* notedGateway(config.stateDir)
        const isTaken = yield* isListening(config.gatewayPort)
        const isAccepted =
          isTaken &&
          (yield* gateway.ready) &&
          (yield* Effect.match(gateway.agents, { onSuccess: () => true, onFailure: () => false }))
        if (Option.isNone(orphan)) {
          if (!isTaken) return null
          if (!isAccepted) return "taken" as const
          yield* Effect.logWarning(
            `a gateway that was not started here listens on port ${config.gatewayPort} and accepts our token: using it; it is not stopped with this process`
          )
          const running: RunningGateway = { pid: null, ended: Effect.never, stop: Effect.void }
          return running
        }
        const { args, command, identity, pid, port } = orphan.value
        const stop = Effect.gen(function* () {
          yield* stopProcessGroup(pid, STOP_GRACE)
          yield* Effect.ignore(fileSystem.remove(pidFileOf(config.stateDir), { force: true }))
        }).pipe(Effect.provideService(FileSystem.FileSystem, fileSystem))
        const isSame =
          command === config.gatewayPath &&
          port === config.gatewayPort &&
          JSON.stringify(args) === JSON.stringify(config.gatewayArgs)
        if (isSame && isAccepted) {
          yield* Effect.logInfo(`taking over the gateway that an earlier run left behind (pid ${pid})`)
          const running: RunningGateway = {
            pid,
            ended: processIdentity(pid).pipe(
              Effect.provideService(FileSystem.FileSystem, fileSystem),
              Effect.repeat({ schedule: Schedule.spaced("500 millis"), until: (now) => now !== identity }),
              Effect.as({ exitCode: null, lastLines: [] })
            ),
            stop
          }
          yield* Effect.addFinalizer(() => shutdownGateway(running))
          return running
        }
        yield* Effect.logInfo(`stopping the gateway that an earlier run left behind (pid ${pid})`)
        yield* stop
        return null
      })

      /** What an edit of the configuration changes. */
      const configStamp = Effect.map(
        Effect.option(fileSystem.stat(config.gatewayConfigPath)),
        Option.match({
          onNone: () => "absent",
          onSome: ({ ino, mtime, size }) =>
            `${Option.getOrElse(ino, () => 0)} ${Option.match(mtime, { onNone: () => 0, onSome: (time) => time.getTime() })} ${size}`
        })
      )

      /** As it was before the gateway could read it. */
      let startedWith = yield* configStamp

      const runOnce: Effect.Effect<
        RunEnd,
        never,
        Scope.Scope | ChildProcessSpawner.ChildProcessSpawner | FileSystem.FileSystem | Redactor
      > = Effect.gen(function* () {
        startedWith = yield* configStamp
        const verdict = yield* judge(yield* askVersion)
        if (verdict._tag === "Refused") return { _tag: "Faulty" as const, detail: verdict.message }
        const found = yield* inherited
        if (found === "taken") return { _tag: "PortTaken" as const }
        yield* publish("starting", "the gateway is starting")
        const running =
          found ??
          (yield* initGateway({
            command: config.gatewayPath,
            args: config.gatewayArgs,
            stateDir: config.stateDir,
            configPath: config.gatewayConfigPath,
            port: config.gatewayPort,
            token: Option.getOrElse(
              Option.orElse(config.gatewayToken, () => ownToken),
              () => Redacted.make("")
            )
          }))
        yield* Effect.logInfo(
          `gateway started${running.pid === null ? "" : ` (pid ${running.pid})`}, waiting until it is ready`
        )
        const end: RunEnd = yield* Effect.raceFirst(
          Effect.map(running.ended, (end) => ({ _tag: "Ended" as const, ...end })),
          Effect.as(watch, { _tag: "Unready" as const })
        )
        return end
      }).pipe(Effect.catchTag("GatewayNotStarted", ({ detail }) => Effect.succeed({ _tag: "Faulty" as const, detail })))

      /** Runs in a row during which the configuration was changed, perhaps by the gateway itself. */
      let changedRuns = 0
      /** No loop of restarts for what a person has to mend: waits until the configuration changes, or looks again after a minute. */
      const waitForRepair = Effect.fnUntraced(function* (detail: string, looksAgain: boolean) {
        if ((yield* SubscriptionRef.get(health)).detail !== detail) {
          yield* Effect.logError(`the gateway cannot run: ${detail}`)
        }
        yield* publish("faulty", detail)
        // What was mended between its reading and its end the gateway has not seen.
        const before = startedWith
        const isChangedAlready = (yield* configStamp) !== before
        changedRuns = isChangedAlready ? changedRuns + 1 : 0
        if (isChangedAlready) yield* Effect.sleep(growingWait(changedRuns))
        const isChanged = configStamp.pipe(
          Effect.repeat({ schedule: Schedule.spaced("1 second"), until: (now) => now !== before }),
          Effect.andThen(
            Effect.logInfo(`${dirname(config.gatewayConfigPath)} has a changed configuration: starting the gateway`)
          )
        )
        yield* looksAgain ? Effect.timeoutOption(isChanged, "1 minute") : isChanged
      })

      let endedAt: ReadonlyArray<number> = []
      const startAgain = Effect.fnUntraced(function* (reason: string) {
        const now = yield* Clock.currentTimeMillis
        endedAt = [...endedAt.filter((at) => now - at < RESTART_WINDOW_MILLIS), now]
        if (endedAt.length > RESTARTS) {
          yield* publish("spent", `the gateway ended ${endedAt.length} times within ten minutes, last: ${reason}`)
          return yield* Effect.never
        }
        const wait = growingWait(endedAt.length)
        yield* Effect.logWarning(`the gateway ended (${reason}): starting it again in ${Duration.toSeconds(wait)} s`)
        yield* publish("starting", `the gateway ended (${reason}) and is started again`)
        yield* Effect.sleep(wait)
        yield* Ref.update(restarts, (count) => count + 1)
      })

      const cycle = Effect.gen(function* () {
        const end = yield* Effect.scoped(runOnce)
        switch (end._tag) {
          case "Ended": {
            const verdict = judgeGatewayExit(end.exitCode, end.lastLines)
            return yield* verdict._tag === "Restart" ? startAgain(verdict.reason) : waitForRepair(verdict.reason, false)
          }
          case "Unready":
            return yield* startAgain(`not ready for ${Duration.format(UNREADY_LIMIT)}`)
          case "Faulty":
            return yield* waitForRepair(end.detail, true)
          case "PortTaken": {
            const detail = `port ${config.gatewayPort} is taken by another process, which does not accept our token: end it, or set OPENCLAW_GATEWAY_PORT, or OPENCLAW_GATEWAY_URL and _TOKEN if it is your gateway`
            if ((yield* SubscriptionRef.get(health)).detail !== detail) yield* Effect.logError(detail)
            yield* publish("faulty", detail)
            return yield* Effect.sleep("5 seconds")
          }
        }
      }).pipe(
        Effect.provideService(ChildProcessSpawner.ChildProcessSpawner, spawner),
        Effect.provideService(FileSystem.FileSystem, fileSystem),
        Effect.provideService(Redactor, redactor)
      )

      const supervise = isSupervised
        ? cycle.pipe(Effect.repeat(Schedule.forever), Effect.andThen(Effect.never))
        : Effect.scoped(watch).pipe(Effect.andThen(Effect.never))

      return GatewayProcess.of({
        isSupervised,
        health: SubscriptionRef.get(health),
        changes: SubscriptionRef.changes(health),
        restarts: Ref.get(restarts),
        supervise
      })
    })
  )

  /** A gateway that somebody else keeps ready, for tests that are not about it. */
  static readonly layerTest = Layer.succeed(GatewayProcess, {
    isSupervised: false,
    health: Effect.succeed({ status: "ready", detail: "" } as const),
    changes: Stream.succeed({ status: "ready", detail: "" } as const),
    restarts: Effect.succeed(0),
    supervise: Effect.never
  })
}
