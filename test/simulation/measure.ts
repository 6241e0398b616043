#!/usr/bin/env node
/**
 * Runs the seeds and the planted mistakes of `npm run test:simulation`, and writes docs/how-it-is-tested.md with what they
 * met. Takes some minutes. With `--page` it only writes the page, with the stored results.
 */
import { writeFileSync } from "node:fs"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { measuredFile, pageFile, pageOf, readMeasured } from "./page.ts"
import type { Measured } from "./page.ts"
import { plantedMistakes } from "./plantedMistakes.ts"
import { simulate } from "./simulation.ts"
import type { Options } from "./simulation.ts"

const SEEDS = 200
const SEEDS_PER_MISTAKE = 80

const run = (seed: number, options: Options = {}) =>
  Effect.runPromise(Effect.provide(simulate(seed, options), TestClock.layer()))

const measure = async (): Promise<Measured> => {
  const cells: Record<string, number> = {}
  const sums = { notifications: 0, turns: 0, violations: 0 }
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { coverage, rows, turns, violations } = await run(seed)
    for (const [cell, times] of coverage) cells[cell] = (cells[cell] ?? 0) + times
    sums.notifications += rows
    sums.turns += turns
    sums.violations += violations.length
  }
  const foundAt: Record<string, number | null> = {}
  for (const mistake of plantedMistakes) {
    foundAt[mistake.name] = null
    for (let seed = 1; seed <= SEEDS_PER_MISTAKE && foundAt[mistake.name] === null; seed += 1) {
      const { violations } = await run(seed, mistake)
      if (violations.some(({ invariant }) => invariant === mistake.breaks)) foundAt[mistake.name] = seed
    }
  }
  return {
    seeds: SEEDS,
    ...sums,
    cells: Object.fromEntries(Object.entries(cells).toSorted(([left], [right]) => (left < right ? -1 : 1))),
    foundAt
  }
}

const isPageOnly = process.argv.includes("--page")
if (!isPageOnly) writeFileSync(measuredFile, `${JSON.stringify(await measure(), null, 2)}\n`)
writeFileSync(pageFile, pageOf(readMeasured()))
