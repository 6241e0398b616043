/**
 * How many turns one `@all` causes among three agents that always answer `@all`, with turns of 0.2 to 20 s and a hop
 * limit of 12. It runs in virtual time, on the model of the control plane, which test/convex/storm.test.ts compares
 * with the real functions.
 */
import { modelStorm } from "../test/convex/storm.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"

const SEEDS = 100
/** Maximum number of turns of the worst seed and of the median. */
const MOST = 150
const MIDDLE = 80

export const run = async (): Promise<ReadonlyArray<Figure>> => {
  const turns: Array<number> = []
  for (let seed = 1; seed <= SEEDS; seed += 1) turns.push(await modelStorm(seed))
  return [
    figureOf("storm: turns after one @all among three agents", "turns", turns, { below: MIDDLE + 1 }),
    figureOf("storm: turns of the worst seed", "turns", [Math.max(...turns)], { below: MOST + 1 })
  ]
}
