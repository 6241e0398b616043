#!/usr/bin/env node
/** The entry point. It handles signals before it loads the rest, which takes a moment. */
import "./Signals.ts"

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === "healthcheck") {
  const { probeLiveness } = await import("./commands/Liveness.ts")
  await probeLiveness()
} else if (args.length === 1 && args[0] === "start") {
  // Without the other commands, which a runtime would keep in memory.
  const { startRuntime } = await import("./Start.ts")
  const { runMain } = await import("./MainProgram.ts")
  runMain(startRuntime)
} else {
  const { main } = await import("./CommandLine.ts")
  main(args)
}
