import { Effect, Random } from "effect"

/** Seeded randomness that can be asked outside of an effect: the same seed and the same questions, the same answers. */
export class Dice {
  private readonly random: { nextIntUnsafe(): number; nextDoubleUnsafe(): number }

  constructor(seed: string) {
    this.random = Effect.runSync(
      Random.withSeed(seed)(Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(Random.Random))))
    )
  }

  /** As Effect's own service, for the programs. */
  get service() {
    return this.random
  }

  chance(probability: number): boolean {
    return this.random.nextDoubleUnsafe() < probability
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.random.nextDoubleUnsafe() * (most - least + 1))
  }

  pick<A>(items: ReadonlyArray<A>): A {
    const item = items[this.between(0, items.length - 1)]
    if (item === undefined) throw new Error("nothing to pick from")
    return item
  }

  /** Picks by weight; an item of weight 0 never comes. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries(weights) as Array<[K, number]>
    let left = this.random.nextDoubleUnsafe() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [item, weight] of entries) {
      left -= weight
      if (left < 0) return item
    }
    const last = entries.at(-1)
    if (last === undefined) throw new Error("nothing to pick from")
    return last[0]
  }

  bytes(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => this.between(0, 255))
  }
}
