import { type Value } from "convex/values"
import { compareKeys, type Document, type FieldPath, valueAt } from "./document.ts"
import { type Position, SortedList } from "./sortedList.ts"

/** A bound of an index range on the field after the equal ones. */
export type Bound = { readonly value: Value | undefined; readonly inclusive: boolean }

/** An index range as `withIndex` builds it: equal fields first, then at most one lower and one upper bound. */
export type IndexRange = {
  readonly equal: ReadonlyArray<Value | undefined>
  readonly lower?: Bound | undefined
  readonly upper?: Bound | undefined
}

/** One declared index of one table: its documents in the order of its fields. */
export class TableIndex {
  readonly name: string
  readonly fields: ReadonlyArray<FieldPath>
  readonly documents: SortedList<Document>

  constructor(name: string, fields: ReadonlyArray<string>) {
    this.name = name
    this.fields = fields.map((field) => field.split("."))
    this.documents = new SortedList((a, b) => this.compare(a, b))
  }

  compare(a: Document, b: Document): number {
    for (const field of this.fields) {
      const order = compareKeys(valueAt(a, field), valueAt(b, field))
      if (order !== 0) return order
    }
    return 0
  }

  /** The position of a document relative to a full or partial key: negative before, 0 equal, positive after. */
  compareToKey(document: Document, key: ReadonlyArray<Value | undefined>): number {
    for (let depth = 0; depth < key.length; depth += 1) {
      const order = compareKeys(valueAt(document, this.fields[depth]!), key[depth])
      if (order !== 0) return order
    }
    return 0
  }

  /** The position of a document relative to a range: negative before it, 0 inside, positive after it. */
  place(document: Document, range: IndexRange): number {
    const order = this.compareToKey(document, range.equal)
    if (order !== 0) return order
    if (range.lower === undefined && range.upper === undefined) return 0
    const value = valueAt(document, this.fields[range.equal.length]!)
    if (range.lower !== undefined) {
      const toLower = compareKeys(value, range.lower.value)
      if (toLower < 0 || (toLower === 0 && !range.lower.inclusive)) return -1
    }
    if (range.upper !== undefined) {
      const toUpper = compareKeys(value, range.upper.value)
      if (toUpper > 0 || (toUpper === 0 && !range.upper.inclusive)) return 1
    }
    return 0
  }
}

/** Reads a range document by document, and remembers its position: the reader depends only on what it has read. */
export class RangeReader {
  private readonly index: TableIndex
  private readonly range: IndexRange
  private readonly descending: boolean
  private readonly after: ReadonlyArray<Value | undefined> | undefined
  private position: Position | undefined
  private revision = -1
  private last: Document | undefined
  private isExhausted = false

  /** `after` is a full key of the index. Reading begins after it, as for the next page of a paginated query. */
  constructor(index: TableIndex, range: IndexRange, order: "asc" | "desc", after?: ReadonlyArray<Value | undefined>) {
    this.index = index
    this.range = range
    this.descending = order === "desc"
    this.after = after
  }

  next(): Document | undefined {
    if (this.isExhausted) return undefined
    const { documents } = this.index
    if (this.position === undefined || this.revision !== documents.revision) {
      this.position = this.seek()
      this.revision = documents.revision
    } else {
      this.position = this.descending ? documents.previous(this.position) : documents.next(this.position)
    }
    const document = documents.at(this.position)
    if (document === undefined || this.index.place(document, this.range) !== 0) {
      this.isExhausted = true
      return undefined
    }
    this.last = document
    return document
  }

  /** Whether a change of this document could change what was read. */
  covers(document: Document): boolean {
    if (this.index.place(document, this.range) !== 0) return false
    if (this.after !== undefined) {
      const toStart = this.index.compareToKey(document, this.after)
      if (this.descending ? toStart >= 0 : toStart <= 0) return false
    }
    if (this.isExhausted) return true
    if (this.last === undefined) return false
    const toLast = this.index.compare(document, this.last)
    return this.descending ? toLast >= 0 : toLast <= 0
  }

  private seek(): Position {
    const { documents } = this.index
    const { after, last } = this
    if (this.descending) {
      const end =
        last !== undefined
          ? documents.find((document) => this.index.compare(document, last) < 0)
          : after !== undefined
            ? documents.find((document) => this.index.compareToKey(document, after) < 0)
            : documents.find((document) => this.index.place(document, this.range) <= 0)
      return documents.previous(end)
    }
    if (last !== undefined) return documents.find((document) => this.index.compare(document, last) <= 0)
    return after !== undefined
      ? documents.find((document) => this.index.compareToKey(document, after) <= 0)
      : documents.find((document) => this.index.place(document, this.range) < 0)
  }
}
