/**
 * Tells systemd how the process is, by its own `systemd-notify`: Node has no datagram sockets of the local machine. The
 * messages come from a child, so the unit needs `NotifyAccess=all`; outside of systemd nothing is said to anybody.
 */
import { ConfigProvider, Context, Effect, Layer, Ref, Semaphore } from "effect"
import type { Duration, Option } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { readServiceManager } from "./Config.ts"
import { withheldSecrets } from "./WithheldFromChildren.ts"

const TIMEOUT = "5 seconds"

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
>()("runtime-service/layers/Systemd") {
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
