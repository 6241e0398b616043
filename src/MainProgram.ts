/** How the process runs and ends. */
// Imported one by one: the package's index also loads database clients.
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Deferred, Effect, Exit, Queue, References, Runtime, Stream } from "effect"
import { EndedWith, explained } from "./commands/EndedWith.ts"
import { makeRedactor } from "./domain/observability/Redaction.ts"
import { ReloadSignal } from "./layers/secrets/Secrets.ts"
import { StopSignal } from "./services/Lifecycle.ts"
import { listenToHangups, listenToSignals } from "./Signals.ts"

/** SIGHUP: the host has changed secrets. */
const hangups = Stream.callback<void>((queue) =>
  Effect.sync(() => listenToHangups(() => void Queue.offerUnsafe(queue, undefined)))
)

/** The exit code: the command's own, 0 after an interruption by signals, 64 for wrong arguments, 70 for a bug. */
const codeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return 0
  const failure = Cause.squash(exit.cause)
  if (failure instanceof EndedWith) return failure.exitCode
  const isUsage = typeof failure === "object" && failure !== null && "_tag" in failure && failure._tag === "ShowHelp"
  return isUsage ? 64 : 70
}

/**
 * Runs an effect as the process's main program: signals stop it in order, and its failures become messages and exit
 * codes.
 */
export const runMain = <E>(effect: Effect.Effect<void, E, NodeServices.NodeServices>): void => {
  const stopRequest = Deferred.makeUnsafe<void>()
  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    // The first signal starts the drain, the second aborts it, further ones have no effect.
    listenToSignals((count) => {
      if (count === 1) Deferred.doneUnsafe(stopRequest, Exit.void)
      if (count === 2) fiber.interruptUnsafe(fiber.id)
    })
    let isBroken = false
    // After an exception outside any fiber the process stops in order and releases its leases.
    process.on("uncaughtException", (error) => {
      process.stderr.write(`${makeRedactor([])(`uncaught: ${error.stack ?? String(error)}`)}\n`)
      if (isBroken) process.exit(70)
      isBroken = true
      fiber.interruptUnsafe(fiber.id)
    })
    fiber.addObserver((exit) => teardown(exit, (code) => process.exit(isBroken ? 70 : code)))
  })
  const program = explained(effect).pipe(
    Effect.provideService(StopSignal, Deferred.await(stopRequest)),
    Effect.provideService(ReloadSignal, hangups),
    // Telemetry creates the exported spans; those of Effect.fn would have no reader.
    Effect.provideService(References.TracerEnabled, false),
    Effect.tapCause((cause) => {
      const isExpected = Cause.hasInterruptsOnly(cause) || codeOf(Exit.failCause(cause)) !== 70
      const isReported = Cause.squash(cause) instanceof EndedWith
      return isExpected || isReported
        ? Effect.void
        : Effect.logError("the runtime ended with an unexpected failure", cause)
    }),
    Effect.provide(NodeServices.layer)
  )
  run(program, { disableErrorReporting: true, teardown: (exit, onExit) => onExit(codeOf(exit)) })
}
