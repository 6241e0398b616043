/**
 * Reports the process's state to systemd with `systemd-notify`, because Node has no local datagram sockets. The messages
 * come from a child process, so the unit needs `NotifyAccess=all`. Outside systemd it does nothing.
 */
import { ConfigProvider, Context, Duration, Effect, Layer, Option, Ref, Semaphore } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { raw } from "../config/ConfigReader.ts"
import { withheldSecrets } from "./WithheldFromChildren.ts"

const TIMEOUT = "5 seconds"

/** The service manager's settings for the process that it started. */
export interface ServiceManagerSettings {
  /** Whether it accepts reports of the process's state. */
  readonly isListening: boolean
  /** Without a report for this long it kills the process. */
  readonly watchdog: Option.Option<Duration.Duration>
}

/** Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which systemd sets. */
export const readServiceManager = Effect.fn("Systemd.readServiceManager")(function* (
  provider: ConfigProvider.ConfigProvider,
  pid: number
) {
  const read = (name: string) => Effect.orElseSucceed(raw(provider, name), () => Option.none<string>())
  const isListening = Option.isSome(yield* read("NOTIFY_SOCKET"))
  const micros = Option.map(yield* read("WATCHDOG_USEC"), Number)
  // If the process id differs, the variables were meant for a parent process and inherited.
  const isOurs = Option.match(yield* read("WATCHDOG_PID"), { onNone: () => true, onSome: (of) => Number(of) === pid })
  const settings: ServiceManagerSettings = {
    isListening,
    watchdog: Option.map(
      Option.filter(micros, (value) => isListening && isOurs && Number.isSafeInteger(value) && value > 0),
      (value) => Duration.micros(BigInt(value))
    )
  }
  return settings
})

/** The service manager that started the process, if it is systemd. */
export class Systemd extends Context.Service<
  Systemd,
  {
    /** Whether systemd accepts reports. */
    readonly isListening: boolean
    /** Without `WATCHDOG=1` for this long systemd kills the process. */
    readonly watchdog: Option.Option<Duration.Duration>
    /** Sends `NAME=value` lines in one message, after all earlier messages. Logs a failure once; never fails. */
    notify(assignments: ReadonlyArray<string>): Effect.Effect<void>
  }
>()("runtime-service/layers/host/Systemd") {
  static readonly layer = Layer.effect(
    Systemd,
    Effect.gen(function* () {
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const { isListening, watchdog } = yield* readServiceManager(yield* ConfigProvider.ConfigProvider, process.pid)
      const order = yield* Semaphore.make(1)
      const isBroken = yield* Ref.make(false)

      const complain = (why: string) =>
        Effect.flatMap(Ref.getAndSet(isBroken, true), (wasBroken) =>
          wasBroken
            ? Effect.void
            : Effect.logWarning(
                `systemd gets no reports of this process: systemd-notify ${why}. With Type=notify systemd treats the process as not started.`
              )
        )
      const send = (assignments: ReadonlyArray<string>) =>
        spawner
          .exitCode(
            ChildProcess.make("systemd-notify", [...assignments], {
              // It needs the address of systemd's socket, but none of our secrets.
              env: withheldSecrets,
              extendEnv: true,
              stdin: "ignore",
              stdout: "ignore",
              stderr: "ignore",
              forceKillAfter: "1 second"
            })
          )
          .pipe(
            Effect.timeout(TIMEOUT),
            Effect.matchEffect({
              onSuccess: (code) =>
                Number(code) === 0 ? Ref.set(isBroken, false) : complain(`ended with exit code ${code}`),
              onFailure: (error) =>
                complain(
                  error._tag === "PlatformError" ? `cannot be run (${error.reason._tag})` : "did not end in time"
                )
            })
          )

      return Systemd.of({
        isListening,
        watchdog,
        notify: (assignments) => (isListening ? order.withPermit(send(assignments)) : Effect.void)
      })
    })
  )
}
