import { type Document } from "./document.ts"

/** One document before and after a transaction. */
export type Change = {
  readonly id: string
  readonly table: string
  readonly before: Document | null
  after: Document | null
}

/** The documents and ranges that a transaction read: enough to decide whether a later commit changes its result. */
export class ReadSet {
  readonly ids = new Set<string>()
  private readonly ranges = new Map<string, Array<(document: Document) => boolean>>()

  addRange(table: string, covers: (document: Document) => boolean): void {
    const known = this.ranges.get(table)
    if (known === undefined) this.ranges.set(table, [covers])
    else known.push(covers)
  }

  isTouchedBy(changes: ReadonlyArray<Change>): boolean {
    return changes.some(
      ({ id, table, before, after }) =>
        this.ids.has(id) ||
        (this.ranges
          .get(table)
          ?.some((covers) => (before !== null && covers(before)) || (after !== null && covers(after))) ??
          false)
    )
  }
}
