/** Starts and stops a gateway process. */
import { Duration, Effect, Fiber, FileSystem, Stream } from "effect"
import type { Redacted } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { RuntimeConfig } from "../Config.ts"
import { messageOf, writeWhole } from "../host/OwnFiles.ts"
import { processIdentity } from "../host/ProcessGroup.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { gatewayEnvironment, notStarted } from "./GatewayCommand.ts"
import { pidFileOf } from "./GatewayPidFile.ts"

/** Time from SIGTERM to SIGKILL at least. The gateway itself would wait five minutes for its turns. */
export const STOP_GRACE = Duration.seconds(10)
/** Lines of output that are kept to explain why the gateway ended. */
const KEPT_LINES = 40
const LINE_CHARACTERS = 4_000

/** How a gateway ended: its exit code, null after a signal, and the last lines of its output. */
export interface GatewayEnd {
  readonly exitCode: number | null
  readonly lastLines: ReadonlyArray<string>
}

/** A running gateway. Its pid is null if another process started it and left no pid file. */
export interface RunningGateway {
  readonly pid: number | null
  readonly ended: Effect.Effect<GatewayEnd>
  /**
   * SIGTERM to its process group, SIGKILL after `grace`; returns when the process has ended. After SIGTERM the gateway
   * accepts no turns and finishes those that run.
   */
  stop(grace: Duration.Duration): Effect.Effect<void>
}

/**
 * Starts a gateway in its own process group and forwards its output to the log; the scope stops it. Does not wait until
 * it is ready.
 */
export const initGateway = Effect.fn("GatewayLaunch.initGateway")(function* (token: Redacted.Redacted) {
  const config = yield* RuntimeConfig
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const fileSystem = yield* FileSystem.FileSystem
  const { redact } = yield* Redactor
  const { gatewayArgs, gatewayPath, gatewayPort, stateDir } = config
  const pidFile = pidFileOf(stateDir)
  yield* Effect.ignore(fileSystem.makeDirectory(stateDir, { recursive: true, mode: 0o700 }))
  const handle = yield* spawner
    .spawn(
      ChildProcess.make(gatewayPath, [...gatewayArgs], {
        env: {
          ...gatewayEnvironment(config),
          OPENCLAW_GATEWAY_PORT: String(gatewayPort),
          OPENCLAW_GATEWAY_TOKEN: token
        },
        extendEnv: true,
        stdin: "ignore",
        detached: true,
        killSignal: "SIGTERM",
        forceKillAfter: STOP_GRACE
      })
    )
    .pipe(Effect.mapError(notStarted(gatewayPath)))

  const lastLines: Array<string> = []
  const forward = (stream: typeof handle.stdout) =>
    stream.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((text) => {
        if (text.trim() === "") return Effect.void
        // Redacted before it is cut, because a part of a secret would not be recognized.
        const line = redact(text).slice(0, LINE_CHARACTERS)
        lastLines.push(line)
        if (lastLines.length > KEPT_LINES) lastLines.shift()
        return Effect.logInfo(line)
      }),
      Effect.ignore
    )
  const output = yield* Effect.all([forward(handle.stdout), forward(handle.stderr)], { concurrency: 2 }).pipe(
    Effect.annotateLogs({ source: "openclaw" }),
    Effect.forkScoped
  )

  const record = JSON.stringify({
    pid: handle.pid,
    identity: yield* processIdentity(handle.pid),
    command: gatewayPath,
    args: gatewayArgs,
    port: gatewayPort
  })
  yield* Effect.tryPromise({ try: () => writeWhole(pidFile, `${record}\n`), catch: messageOf }).pipe(
    Effect.catch((problem) =>
      Effect.logWarning(
        `the gateway's pid cannot be written to ${pidFile}: ${problem}. If this process crashes, the gateway keeps running.`
      )
    )
  )

  const gateway: RunningGateway = {
    pid: handle.pid,
    ended: Effect.gen(function* () {
      const exitCode = yield* Effect.match(handle.exitCode, {
        onSuccess: (code): number | null => code,
        onFailure: () => null
      })
      // Its last lines may not have been read yet. A child of it may keep the pipe open for long.
      yield* Fiber.await(output).pipe(Effect.timeoutOption("1 second"))
      return { exitCode, lastLines }
    }),
    stop: Effect.fnUntraced(function* (grace) {
      yield* Effect.ignore(handle.kill({ killSignal: "SIGTERM", forceKillAfter: grace }))
      yield* Effect.ignore(fileSystem.remove(pidFile, { force: true }))
    })
  }
  // Added after the fiber that reads the output, so it runs before that fiber ends and the last lines are logged.
  yield* Effect.addFinalizer(() => shutdownGateway(gateway))
  return gateway
})

/** Stops a gateway with its process group: SIGTERM, SIGKILL after ten seconds. An external gateway keeps running. */
export const shutdownGateway = Effect.fn("GatewayLaunch.shutdownGateway")(function* (gateway: RunningGateway) {
  yield* gateway.stop(STOP_GRACE)
})
