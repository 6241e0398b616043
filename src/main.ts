#!/usr/bin/env node
/** The command line. Signals first, everything else after: the rest takes a moment to load. */
import "./Signals.ts"

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === "healthcheck") {
  const { probeLiveness } = await import("./commands/Liveness.ts")
  await probeLiveness()
} else {
  const { main } = await import("./CommandLine.ts")
  main(args)
}
