import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Figure } from "./figure.ts"
import type { Machine } from "./machine.ts"

const folder = join(import.meta.dirname, "results")

/** What one bench measured, where and when. */
export type Result = {
  readonly bench: string
  /** ISO 8601, when the bench began. */
  readonly at: string
  readonly tookSeconds: number
  readonly machine: Machine
  /** The variables by which the measurement was made shorter than it should be, as a shell would set them; empty otherwise. */
  readonly shortened: string
  readonly figures: ReadonlyArray<Figure>
}

/** Keeps the last result of each bench in a file of its own, so that one bench can be measured again alone. */
export const keepResult = (result: Result): void => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${result.bench}.json`), `${JSON.stringify(result, null, 2)}\n`)
}

/** The last result of each of these benches, where there is one. */
export const keptResults = (benches: ReadonlyArray<string>): ReadonlyArray<Result> => {
  mkdirSync(folder, { recursive: true })
  const files = new Set(readdirSync(folder))
  return benches
    .filter((bench) => files.has(`${bench}.json`))
    .map((bench) => JSON.parse(readFileSync(join(folder, `${bench}.json`), "utf8")) as Result)
}
