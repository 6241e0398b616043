import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Figure } from "./figure.ts"
import type { Machine } from "./machine.ts"

const folder = join(import.meta.dirname, "results")

/** The result of one bench, with its place and time. */
export type Result = {
  readonly bench: string
  /** ISO 8601, when the bench began. */
  readonly at: string
  readonly tookSeconds: number
  readonly machine: Machine
  /** The variables that shortened the measurement, in shell syntax; empty by default. */
  readonly shortened: string
  readonly figures: ReadonlyArray<Figure>
}

/** Stores the last result of each bench in its own file, so that one bench can be repeated alone. */
export const keepResult = (result: Result): void => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${result.bench}.json`), `${JSON.stringify(result, null, 2)}\n`)
}

/** The last results of these benches, as far as there are any. */
export const keptResults = (benches: ReadonlyArray<string>): ReadonlyArray<Result> => {
  mkdirSync(folder, { recursive: true })
  const files = new Set(readdirSync(folder))
  return benches
    .filter((bench) => files.has(`${bench}.json`))
    .map((bench) => JSON.parse(readFileSync(join(folder, `${bench}.json`), "utf8")) as Result)
}
