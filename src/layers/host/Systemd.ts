/**
 * Tells systemd how the process is, by its own `systemd-notify`: Node has no datagram sockets of the local machine. The
 * messages come from a child, so the unit needs `NotifyAccess=all`; outside of systemd nothing is said to anybody.
 */
import { ConfigProvider, Context, Duration, Effect, Layer, Option, Ref, Semaphore } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { raw } from "../config/ConfigReader.ts"
import { withheldSecrets } from "./WithheldFromChildren.ts"

const TIMEOUT = "5 seconds"

/** What a service manager tells the process it started; none of it where there is no such manager. */
export interface ServiceManagerSettings {
  /** Whether it wants to be told how the process is. */
  readonly isListening: boolean
  /** Without a sign of life for this long it ends the process. */
  readonly watchdog: Option.Option<Duration.Duration>
}

/** Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which systemd sets and no person. */
export const readServiceManager = Effect.fn("Systemd.readServiceManager")(function* (
  provider: ConfigProvider.ConfigProvider,
  pid: number
) {
  const read = (name: string) => Effect.orElseSucceed(raw(provider, name), () => Option.none<string>())
  const isListening = Option.isSome(yield* read("NOTIFY_SOCKET"))
  const micros = Option.map(yield* read("WATCHDOG_USEC"), Number)
  // Inherited from a parent that it is meant for.
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
    /** Whether systemd wants to be told. */
    readonly isListening: boolean
    /** Without `WATCHDOG=1` for this long systemd ends the process. */
    readonly watchdog: Option.Option<Duration.Duration>
    /** Says `NAME=value` lines in one message, after those said before; a failure is logged once and ends nothing. */
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
                `systemd cannot be told how this process is: systemd-notify ${why}; with Type=notify it will take the process for not started`
              )
        )
      const send = (assignments: ReadonlyArray<string>) =>
        spawner
          .exitCode(
            ChildProcess.make("systemd-notify", [...assignments], {
              // It needs the way to systemd, and nothing else of us.
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
                complain(error._tag === "PlatformError" ? `cannot be run (${error.reason._tag})` : "does not end")
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
