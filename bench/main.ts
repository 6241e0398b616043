#!/usr/bin/env node
/**
 * `npm run bench -- [name ...]`: measures, prints a line for each figure and stores each bench's result as JSON in
 * bench/results. Quote medians and ratios of one run only: figures of two machines or two hours are not comparable.
 */
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Figure } from "./figure.ts"
import { isMet } from "./figure.ts"
import { machineNow } from "./machine.ts"
import { optionsOf, refuse } from "./options.ts"
import { writeSection } from "./page.ts"
import { keepResult, keptResults } from "./results.ts"
import type { Result } from "./results.ts"
import { lineOf, markdownOf } from "./table.ts"

/** A bench. With another checkout it measures both alternately. */
type Bench = { readonly run: (against?: string) => Promise<ReadonlyArray<Figure>> }

/** The benches that can compare this checkout with another one. */
const comparable: ReadonlySet<string> = new Set(["lone", "shipped", "rates", "renewals", "idleCpu", "tokens"])

/** The benches by name, in their order when all run. Each is loaded when it runs. */
const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  delivery: () => import("./delivery.ts"),
  lone: () => import("./lone.ts"),
  shipped: () => import("./shipped.ts"),
  rates: () => import("./rates.ts"),
  renewals: () => import("./renewals.ts"),
  idleCpu: () => import("./idleCpu.ts"),
  latency: () => import("./latency.ts"),
  distance: () => import("./distance.ts"),
  drain: () => import("./drain.ts"),
  stop: () => import("./stop.ts"),
  joins: () => import("./joins.ts"),
  pause: () => import("./pause.ts"),
  abort: () => import("./abort.ts"),
  people: () => import("./people.ts"),
  live: () => import("./live.ts"),
  endpoints: () => import("./endpoints.ts"),
  doctor: () => import("./doctor.ts"),
  footprint: () => import("./footprint.ts"),
  history: () => import("./history.ts"),
  idle: () => import("./idle.ts"),
  heartbeats: () => import("./heartbeats.ts"),
  storm: () => import("./storm.ts"),
  tokens: () => import("./tokens.ts"),
  plane: () => import("./plane.ts"),
  gateway: () => import("./gateway.ts"),
  memory: () => import("./memory.ts"),
  profile: () => import("./profile.ts"),
  tracing: () => import("./tracing.ts"),
  contention: () => import("./contention.ts")
}

const usage = `usage: npm run bench -- [name ...] [options]
  --against DIR  measures plane and runtime of the checkout DIR in alternation with this one, and keeps no result;
                 DIR needs its own node_modules; for ${[...comparable].join(", ")}
  --json         prints one JSON object instead of lines
  --kept         measures nothing: shows the last kept result of each bench
  --markdown     prints the results as the table of docs/performance.md
  --write        puts that table of the kept results into docs/performance.md
benches: ${Object.keys(benches).join(", ")}; all of them without a name
BENCH_RUNS (5) and BENCH_SECONDS shorten a run, BENCH_HELD_SECONDS (60) the rate that is held, BENCH_MINUTES (15) the idle
one. BENCH_FORM=source runs the runtime from source, without the flags of the bundle. BENCH_GATEWAY=scripted has tokens use
the scripted gateway also where the real one is installed.
`

const { positionals, values } = optionsOf("bench", usage, {
  allowPositionals: true,
  options: {
    against: { type: "string" },
    json: { type: "boolean", default: false },
    kept: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
const unknown = positionals.filter((name) => !Object.hasOwn(benches, name))
if (unknown.length > 0) refuse("bench", `unknown ${unknown.join(", ")}`, usage)
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}
const { against } = values
if (against !== undefined) {
  const others = positionals.filter((name) => !comparable.has(name))
  if (positionals.length === 0 || others.length > 0) {
    refuse("bench", `--against needs names out of ${[...comparable].join(", ")}`, usage)
  }
  if (values.kept || values.write) refuse("bench", "--against keeps no result to show or write", usage)
  for (const path of ["src/main.ts", "local/plane/main.ts", "node_modules"]) {
    if (!existsSync(join(resolve(against), path))) refuse("bench", `${against} has no ${path}`, usage)
  }
}
const chosen = positionals.length > 0 ? positionals : Object.keys(benches)
const areLines = !values.json && !values.markdown

const measure = async (name: string): Promise<Result> => {
  const machine = machineNow()
  const at = new Date()
  const from = performance.now()
  const bench = await benches[name]!()
  const figures = await bench.run(against)
  const tookSeconds = Math.round((performance.now() - from) / 1_000)
  const shortened = ["BENCH_RUNS", "BENCH_SECONDS", "BENCH_HELD_SECONDS", "BENCH_MINUTES", "BENCH_FORM"]
    .filter((variable) => process.env[variable] !== undefined)
    .map((variable) => `${variable}=${process.env[variable]}`)
    .join(" ")
  const result: Result = { bench: name, at: at.toISOString(), tookSeconds, machine, shortened, figures }
  if (against === undefined) keepResult(result)
  return result
}

const say = ({ bench, figures }: Result): void => {
  if (areLines) for (const figure of figures) process.stdout.write(`${lineOf(bench, figure)}\n`)
}

const measured: Array<Result> = []
let failed = false
for (const name of values.kept ? [] : chosen) {
  try {
    const result = await measure(name)
    say(result)
    measured.push(result)
  } catch (error) {
    // A bench that cannot run here must not end the others.
    failed = true
    process.stderr.write(`bench: ${name} failed: ${error instanceof Error ? error.stack : String(error)}\n`)
  }
}
const results = values.kept ? keptResults(chosen) : measured
if (values.kept) for (const result of results) say(result)
if (values.json) process.stdout.write(`${JSON.stringify({ results })}\n`)
if (values.markdown) process.stdout.write(`${markdownOf(results)}\n`)
if (values.write) writeSection("figures", markdownOf(keptResults(Object.keys(benches))))
const missed = results.flatMap(({ figures }) => figures).filter((figure) => isMet(figure) === false)
if (areLines && missed.length > 0) process.stdout.write(`goals missed: ${missed.map(({ name }) => name).join("; ")}\n`)
if (failed) process.exitCode = 1
