/** Benches that measure one subject in passes, so that two checkouts can be measured alternately. */
import { Effect } from "effect"
import { figureOf, medianOf } from "./figure.ts"
import type { Figure, Goal } from "./figure.ts"
import { interleaved } from "./runs.ts"
import { at, here } from "./subject.ts"
import type { Subject } from "./subject.ts"

/** One pass's samples of one quantity. */
export type Row = {
  readonly name: string
  readonly unit: string
  readonly samples: ReadonlyArray<number>
  readonly goal?: Goal
}

/** One pass over a subject, in its own setup. */
export type Pass = (subject: Subject) => Effect.Effect<ReadonlyArray<Row>, unknown>

/** The rows of several passes, in the order of their first appearance. */
const byName = (passes: ReadonlyArray<ReadonlyArray<Row>>): ReadonlyMap<string, ReadonlyArray<Row>> =>
  Map.groupBy(passes.flat(), ({ name }) => name)

/** One figure for each row, of the samples of all passes. */
export const figuresOf = (passes: ReadonlyArray<ReadonlyArray<Row>>): ReadonlyArray<Figure> =>
  [...byName(passes)].map(([name, rows]) =>
    figureOf(
      name,
      rows[0]!.unit,
      rows.flatMap(({ samples }) => samples),
      rows[0]!.goal
    )
  )

/** For each row that both checkouts have: this checkout's figure, the other's, and the ratio of each pair of passes. */
export const comparisonOf = (
  mine: ReadonlyArray<ReadonlyArray<Row>>,
  others: ReadonlyArray<ReadonlyArray<Row>>
): ReadonlyArray<Figure> => {
  const theirs = new Map(figuresOf(others).map((figure) => [figure.name, figure]))
  const medians = (passes: ReadonlyArray<ReadonlyArray<Row>>, name: string): ReadonlyArray<number> =>
    passes.map((rows) => medianOf(rows.find((row) => row.name === name)?.samples ?? []))
  return figuresOf(mine).flatMap((figure) => {
    const other = theirs.get(figure.name)
    if (other === undefined) return [figure]
    const before = medians(others, figure.name)
    const ratios = medians(mine, figure.name).map((median, pass) => median / before[pass]!)
    return [
      figure,
      { ...other, name: `${figure.name}: the other checkout` },
      figureOf(`${figure.name}: ratio to the other checkout`, "ratio", ratios)
    ]
  })
}

/** A bench with this many passes over this checkout, or as many over each of two, alternately. */
export const inPasses =
  (pass: Pass, rounds: number) =>
  (against?: string): Promise<ReadonlyArray<Figure>> =>
    Effect.runPromise(
      against === undefined
        ? Effect.map(interleaved({ mine: pass(here) }, rounds), ({ mine }) => figuresOf(mine))
        : Effect.map(interleaved({ mine: pass(here), others: pass(at(against)) }, rounds), ({ mine, others }) =>
            comparisonOf(mine, others)
          )
    )
