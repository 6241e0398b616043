const chunkSize = 256

/** A position in a sorted list: the chunk and the offset in it. */
export type Position = { readonly chunk: number; readonly offset: number }

/**
 * A list in the order of a comparator that never returns 0 for two different items. Insertion, removal and search cost
 * the logarithm of its length and one small array move.
 */
export class SortedList<A> {
  /** Increases with every change. An iteration that sees a change must seek again. */
  revision = 0
  size = 0
  private chunks: Array<Array<A>> = []
  private readonly compare: (a: A, b: A) => number

  constructor(compare: (a: A, b: A) => number) {
    this.compare = compare
  }

  /** Replaces all items, for a restore: one sort instead of many insertions. */
  fill(items: ReadonlyArray<A>): void {
    const sorted = items.toSorted(this.compare)
    this.chunks = []
    for (let start = 0; start < sorted.length; start += chunkSize) {
      this.chunks.push(sorted.slice(start, start + chunkSize))
    }
    this.size = sorted.length
    this.revision += 1
  }

  insert(item: A): void {
    this.revision += 1
    this.size += 1
    const { chunk, offset } = this.find((other) => this.compare(other, item) < 0)
    if (chunk === this.chunks.length) {
      const last = this.chunks.at(-1)
      if (last !== undefined && last.length < chunkSize * 2) last.push(item)
      else this.chunks.push([item])
      return
    }
    const items = this.chunks[chunk]!
    items.splice(offset, 0, item)
    if (items.length > chunkSize * 2) this.chunks.splice(chunk + 1, 0, items.splice(chunkSize))
  }

  /** Removes the item that compares as equal. Returns false if there is none. */
  remove(item: A): boolean {
    const { chunk, offset } = this.find((other) => this.compare(other, item) < 0)
    const items = this.chunks[chunk]
    const found = items?.[offset]
    if (items === undefined || found === undefined || this.compare(found, item) !== 0) return false
    items.splice(offset, 1)
    if (items.length === 0) this.chunks.splice(chunk, 1)
    this.size -= 1
    this.revision += 1
    return true
  }

  /**
   * The first position whose item is not `before`. `before` must be true for a prefix of the list and false for the
   * rest.
   */
  find(before: (item: A) => boolean): Position {
    let low = 0
    let high = this.chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const items = this.chunks[middle]!
      if (before(items[items.length - 1]!)) low = middle + 1
      else high = middle
    }
    const items = this.chunks[low]
    if (items === undefined) return { chunk: low, offset: 0 }
    let first = 0
    let last = items.length
    while (first < last) {
      const middle = (first + last) >>> 1
      if (before(items[middle]!)) first = middle + 1
      else last = middle
    }
    return { chunk: low, offset: first }
  }

  at(position: Position): A | undefined {
    return this.chunks[position.chunk]?.[position.offset]
  }

  next(position: Position): Position {
    const items = this.chunks[position.chunk]
    return items !== undefined && position.offset + 1 < items.length
      ? { chunk: position.chunk, offset: position.offset + 1 }
      : { chunk: position.chunk + 1, offset: 0 }
  }

  previous(position: Position): Position {
    if (position.offset > 0) return { chunk: position.chunk, offset: position.offset - 1 }
    const items = this.chunks[position.chunk - 1]
    return { chunk: position.chunk - 1, offset: items === undefined ? 0 : items.length - 1 }
  }
}
