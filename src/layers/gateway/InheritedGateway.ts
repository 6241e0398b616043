/** A gateway that already listens on our port when this process wants to start one. */
import { createConnection } from "node:net"
import { Effect, FileSystem, Option, Schedule } from "effect"
import type { Duration } from "effect"
import { RuntimeConfig } from "../Config.ts"
import { Gateway } from "../Gateway.ts"
import { processIdentity, stopProcessGroup } from "../host/ProcessGroup.ts"
import { shutdownGateway, STOP_GRACE } from "./GatewayLaunch.ts"
import type { RunningGateway } from "./GatewayLaunch.ts"
import { notedGateway, pidFileOf } from "./GatewayPidFile.ts"

const isListening = (port: number): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const socket = createConnection({ host: "127.0.0.1", port })
    socket.once("connect", () => resume(Effect.succeed(true)))
    socket.once("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: "2 seconds", orElse: () => Effect.succeed(true) }))

/**
 * Adopts the gateway that an earlier run left behind if it has the same command, arguments and port and accepts our
 * token; otherwise stops it. Uses a gateway of unknown origin if it accepts our token. `taken` means that another
 * process has the port, null that the port is free.
 */
export const inheritGateway = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const gateway = yield* Gateway
  const fileSystem = yield* FileSystem.FileSystem
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
      `using a gateway that this process did not start: it listens on port ${config.gatewayPort} and accepts our token. It keeps running when this process stops.`
    )
    const running: RunningGateway = { pid: null, ended: Effect.never, stop: () => Effect.void }
    return running
  }
  const { args, command, identity, pid, port } = orphan.value
  const stop = (grace: Duration.Duration) =>
    Effect.gen(function* () {
      yield* stopProcessGroup(pid, grace)
      yield* Effect.ignore(fileSystem.remove(pidFileOf(config.stateDir), { force: true }))
    }).pipe(Effect.provideService(FileSystem.FileSystem, fileSystem))
  const isSame =
    command === config.gatewayPath &&
    port === config.gatewayPort &&
    JSON.stringify(args) === JSON.stringify(config.gatewayArgs)
  if (!isSame || !isAccepted) {
    yield* Effect.logInfo(`stopping the gateway that an earlier run left behind (pid ${pid})`)
    yield* stop(STOP_GRACE)
    return null
  }
  yield* Effect.logInfo(`adopting the gateway that an earlier run left behind (pid ${pid})`)
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
})
