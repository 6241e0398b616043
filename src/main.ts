#!/usr/bin/env node
/** The command line. Signals first, everything else after: the rest takes a moment to load. */
import "./Signals.ts"

const { main } = await import("./CommandLine.ts")
main(process.argv.slice(2))
