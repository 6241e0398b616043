import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { compareKeys, type Document } from "../../../local/plane/document.ts"
import { SortedList } from "../../../local/plane/sortedList.ts"
import { type IndexRange, RangeReader, TableIndex } from "../../../local/plane/tableIndex.ts"

const Small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))
const Row = Schema.Struct({ group: Schema.Literals(["a", "b", "none"]), rank: Small })
const Limit = Schema.Struct({ value: Small, inclusive: Schema.Boolean })
const Range = Schema.Struct({
  group: Schema.Literals(["a", "b", "none", "any"]),
  lower: Schema.NullOr(Limit),
  upper: Schema.NullOr(Limit),
  order: Schema.Literals(["asc", "desc"]),
  take: Small
})

const documentOf = ({ group, rank }: typeof Row.Type, position: number): Document => ({
  _id: `${10_000 + position}rows`,
  _creationTime: position,
  rank,
  ...(group === "none" ? {} : { group })
})

const indexOf = (documents: ReadonlyArray<Document>): TableIndex => {
  const index = new TableIndex("by_group_rank", ["group", "rank", "_creationTime", "_id"])
  for (const document of documents) index.documents.insert(document)
  return index
}

const rangeOf = ({ group, lower, upper }: typeof Range.Type): IndexRange =>
  group === "any"
    ? { equal: [] }
    : { equal: [group === "none" ? undefined : group], lower: lower ?? undefined, upper: upper ?? undefined }

/** The same result by filtering and sorting all documents. */
const expected = (documents: ReadonlyArray<Document>, wanted: typeof Range.Type): ReadonlyArray<string> => {
  const { equal, lower, upper } = rangeOf(wanted)
  const direction = wanted.order === "asc" ? 1 : -1
  return documents
    .filter(
      ({ group, rank }) =>
        (equal.length === 0 || group === equal[0]) &&
        (lower === undefined || Number(rank) > Number(lower.value) || (lower.inclusive && rank === lower.value)) &&
        (upper === undefined || Number(rank) < Number(upper.value) || (upper.inclusive && rank === upper.value))
    )
    .toSorted(
      (a, b) =>
        direction *
        (compareKeys(a["group"], b["group"]) || compareKeys(a["rank"], b["rank"]) || a._creationTime - b._creationTime)
    )
    .slice(0, wanted.take)
    .map(({ _id }) => _id)
}

const read = (reader: RangeReader, count: number): ReadonlyArray<string> => {
  const found: Array<string> = []
  while (found.length < count) {
    const document = reader.next()
    if (document === undefined) break
    found.push(document._id)
  }
  return found
}

const readerOf = (index: TableIndex, wanted: typeof Range.Type): RangeReader =>
  new RangeReader(index, rangeOf(wanted), wanted.order)

const Rows = Arbitrary.array(Arbitrary.schema(Row), { maxLength: 30 })

describe("an index", () => {
  it.prop(
    "reads the same documents of a range as filtering and sorting",
    { rows: Rows, wanted: Range },
    ({ rows, wanted }) => {
      const documents = rows.map(documentOf)
      assert.deepStrictEqual(read(readerOf(indexOf(documents), wanted), wanted.take), expected(documents, wanted))
    }
  )

  it.prop(
    "reports every reader whose result a new document changes",
    { rows: Rows, wanted: Range, added: Row },
    ({ rows, wanted, added }) => {
      const documents = rows.map(documentOf)
      const reader = readerOf(indexOf(documents), wanted)
      const before = read(reader, wanted.take)
      const newcomer = documentOf(added, rows.length)
      const after = expected([...documents, newcomer], wanted)
      if (JSON.stringify(before) !== JSON.stringify(after)) assert.isTrue(reader.covers(newcomer))
    }
  )

  it.prop("reports every reader of a changed document", { rows: Rows, wanted: Range }, ({ rows, wanted }) => {
    const documents = rows.map(documentOf)
    const reader = readerOf(indexOf(documents), wanted)
    const found = read(reader, wanted.take)
    for (const document of documents) if (found.includes(document._id)) assert.isTrue(reader.covers(document))
  })

  it.prop(
    "continues from its position if documents are added and removed during the read",
    { rows: Rows, wanted: Range },
    ({ rows, wanted }) => {
      const documents = rows.map(documentOf)
      const index = indexOf(documents)
      const reader = readerOf(index, { ...wanted, take: 30 })
      const found: Array<string> = []
      for (let document = reader.next(); document !== undefined; document = reader.next()) {
        found.push(document._id)
        index.documents.remove(document)
      }
      assert.deepStrictEqual(found, expected(documents, { ...wanted, take: 30 }))
    }
  )
})

describe("a sorted list", () => {
  it("keeps thousands of items in order over insertions and removals anywhere", () => {
    const list = new SortedList<number>((a, b) => a - b)
    const count = 5_003
    // A step that is coprime to the count visits each number once, far apart.
    for (let step = 0; step < count; step += 1) list.insert((step * 1_777) % count)
    for (let step = 0; step < count; step += 2) assert.isTrue(list.remove((step * 1_777) % count))
    assert.isFalse(list.remove(0))
    const left: Array<number> = []
    let position = list.find(() => false)
    for (let item = list.at(position); item !== undefined; item = list.at((position = list.next(position))))
      left.push(item)
    const kept = new Set(Array.from({ length: Math.floor(count / 2) }, (_, index) => ((index * 2 + 1) * 1_777) % count))
    assert.deepStrictEqual(
      left,
      [...kept].toSorted((a, b) => a - b)
    )
    assert.strictEqual(list.size, kept.size)
  })

  it("is the same after one fill as after single insertions", () => {
    const items = Array.from({ length: 1_000 }, (_, index) => (index * 7) % 1_000)
    const list = new SortedList<number>((a, b) => a - b)
    list.fill(items)
    const backwards: Array<number> = []
    let position = list.previous(list.find(() => true))
    for (let item = list.at(position); item !== undefined; item = list.at((position = list.previous(position)))) {
      backwards.push(item)
    }
    assert.deepStrictEqual(
      backwards,
      Array.from({ length: 1_000 }, (_, index) => 999 - index)
    )
  })
})
