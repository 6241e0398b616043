#!/usr/bin/env node
/** The entry point. It handles signals before it loads the rest, which takes a moment. */
import "./Signals.ts"

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === "healthcheck") {
  const { probeLiveness } = await import("./commands/Liveness.ts")
  await probeLiveness()
} else {
  const { main } = await import("./CommandLine.ts")
  main(args)
}
