#!/usr/bin/env node
/**
 * `npm run simulate -- --seeds 2000 [--from 1]` runs many seeds and prints the hash of each trace; `--seed 17` runs one and
 * prints its trace. `--history FILE` judges the calls that a local control plane recorded.
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { readHistory } from "../../local/plane/callHistory.ts"
import { linesOf, replay } from "./history.ts"
import { simulate, traceHash } from "./simulation.ts"
import type { Report } from "./simulation.ts"
import { steps } from "./world.ts"

const usage = `usage: npm run simulate -- [options]
  --seeds N   how many seeds to run (200), each with a hash of its trace
  --from N    the first of them (1)
  --seed N    only this one, with its trace
  --history FILE  no seeds: the first call of this data file of a local control plane that contradicts the model
  --help      this text`
const readOptions = () => {
  try {
    return parseArgs({
      options: {
        seeds: { type: "string", default: "200" },
        from: { type: "string", default: "1" },
        seed: { type: "string" },
        history: { type: "string" },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    process.stderr.write(`simulate: ${(error as Error).message}\n${usage}\n`)
    return process.exit(64)
  }
}
const values = readOptions()
if (values.help) {
  process.stdout.write(`${usage}\n`)
  process.exit(0)
}
const run = (seed: number): Promise<Report> =>
  Effect.runPromise(Effect.provide(simulate(seed, { isTraced: true }), TestClock.layer()))
const print = (line: string): void => void process.stdout.write(`${line}\n`)
const number = (text: string, name: string): number => {
  if (!/^\d+$/.test(text)) {
    process.stderr.write(`simulate: --${name} is ${JSON.stringify(text)}: give a whole number\n`)
    process.exit(64)
  }
  return Number(text)
}

/** Reads the history; exits with 64 if there is none. */
const historyOf = (file: string) => {
  try {
    return readHistory(file)
  } catch (error) {
    process.stderr.write(`simulate: cannot use ${file}: ${(error as Error).message}\n`)
    return process.exit(64)
  }
}

if (values.history !== undefined) {
  const calls = historyOf(values.history)
  const accounts = replay(calls)
  for (const line of linesOf(calls, accounts)) print(line)
  process.exitCode = accounts.every(({ divergence }) => divergence === null) ? 0 : 1
} else if (values.seed !== undefined) {
  const report = await run(number(values.seed, "seed"))
  for (const line of report.lines) print(line)
  print(
    `trace ${traceHash(report)}; ${report.rows} notifications, ${report.turns} turns, ${report.violations.length} violations`
  )
  process.exitCode = report.violations.length === 0 ? 0 : 1
} else {
  const first = number(values.from, "from")
  const count = number(values.seeds, "seeds")
  const startedAt = performance.now()
  const coverage = new Map<string, number>()
  const sums = { rows: 0, turns: 0, failed: 0 }
  for (let seed = first; seed < first + count; seed += 1) {
    const report = await run(seed)
    print(`seed ${seed}: trace ${traceHash(report)}`)
    for (const [key, times] of report.coverage) coverage.set(key, (coverage.get(key) ?? 0) + times)
    sums.rows += report.rows
    sums.turns += report.turns
    if (report.violations.length > 0) {
      sums.failed += 1
      for (const { at, detail, invariant } of report.violations.slice(0, 3)) {
        print(`seed ${seed}: ${invariant} at ${at} ms: ${detail} (npm run simulate -- --seed ${seed})`)
      }
    }
  }
  const seconds = (performance.now() - startedAt) / 1_000
  const kinds = [...new Set([...coverage.keys()].map((key) => key.split("|")[0] ?? key))].toSorted()
  print(`${"".padEnd(18)}${steps.map((step) => step.padStart(9)).join("")}`)
  for (const kind of kinds) {
    print(
      `${kind.padEnd(18)}${steps.map((step) => String(coverage.get(`${kind}|${step}`) ?? "-").padStart(9)).join("")}`
    )
  }
  print(
    `${count} seeds, ${(count / seconds).toFixed(1)} a second; ${sums.rows} notifications, ${sums.turns} turns; ${sums.failed} failed`
  )
  process.exitCode = sums.failed === 0 ? 0 : 1
}
