#!/usr/bin/env node
/**
 * The demonstration: the local control plane, a gateway and the real runtime between them as separate processes, and a
 * team of three agents. By default the agents' model is a script; with `--live` it is the newcomer's.
 */
import { Cause, Deferred, Effect, Exit, Runtime } from "effect"
import { live } from "./live.ts"
import { readOptions } from "./options.ts"
import { scripted } from "./scripted.ts"
import { Story } from "./story.ts"

const options = readOptions()
const story = new Story({ isQuiet: options.json })

/** Completed by the first Ctrl-C or SIGTERM while a program waits for it: the runtime drains, and the summary follows. */
const askedToEnd = Deferred.makeUnsafe<void>()
let isAwaited = false
const ending = Effect.suspend(() => {
  isAwaited = true
  return Deferred.await(askedToEnd)
})

const main = Effect.scoped(options.live ? live(options, story, ending) : scripted(options, story, ending)).pipe(
  Effect.tapCause((cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.void
      : Effect.sync(() => {
          const failure = Cause.squash(cause)
          process.stderr.write(`demo: ${failure instanceof Error ? failure.message : String(failure)}\n`)
        })
  )
)

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  const onSignal = () => {
    if (isAwaited) Deferred.doneUnsafe(askedToEnd, Exit.void)
    else fiber.interruptUnsafe(fiber.id)
    isAwaited = false
  }
  // A closed terminal sends SIGHUP.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal)
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})

runMain(main, {
  disableErrorReporting: true,
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? 0 : Cause.hasInterruptsOnly(exit.cause) ? 130 : 1)
})
