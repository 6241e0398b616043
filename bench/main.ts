#!/usr/bin/env node
/** `npm run bench -- [name ...]`: prints a table and, with --json, one JSON object. Quote medians and ratios of one run. */
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import type { Figure } from "./figure.ts"

/** The benches by name; each is loaded when it is run. */
const benches: Readonly<Record<string, () => Promise<{ readonly run: () => Promise<ReadonlyArray<Figure>> }>>> = {
  latency: () => import("./latency.ts"),
  stop: () => import("./stop.ts"),
  endpoints: () => import("./endpoints.ts"),
  delivery: () => import("./delivery.ts"),
  history: () => import("./history.ts"),
  idle: () => import("./idle.ts"),
  plane: () => import("./plane.ts"),
  gateway: () => import("./gateway.ts"),
  heartbeats: () => import("./heartbeats.ts")
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } }
})
const unknown = positionals.filter((name) => !(name in benches))
if (unknown.length > 0) {
  process.stderr.write(`bench: unknown ${unknown.join(", ")}; known are ${Object.keys(benches).join(", ")}\n`)
  process.exit(64)
}
const chosen = positionals.length > 0 ? positionals : Object.keys(benches)

const round = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2))
const report: Array<Figure & { readonly bench: string }> = []
for (const name of chosen) {
  const bench = await benches[name]!()
  for (const figure of await bench.run()) {
    report.push({ bench: name, ...figure })
    if (!values.json) {
      const [least, most] = figure.spread
      process.stdout.write(
        `${name.padEnd(10)} ${figure.name.padEnd(58)} ${round(figure.median).padStart(10)} ${figure.unit.padEnd(8)} (${round(least)} to ${round(most)})\n`
      )
    }
  }
}
if (values.json) {
  const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? "unknown", node: process.version }
  process.stdout.write(`${JSON.stringify({ machine, figures: report })}\n`)
}
