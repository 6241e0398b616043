import { type TableSchema } from "./convexInternals.ts"
import { type Document } from "./document.ts"
import { SearchIndex } from "./searchIndex.ts"
import { TableIndex } from "./tableIndex.ts"

/** One table: its documents, and a sorted structure for each index. */
export class Table {
  readonly documents = new Map<string, Document>()
  private readonly name: string
  private readonly indexes: ReadonlyMap<string, TableIndex>
  private readonly searchIndexes: ReadonlyMap<string, SearchIndex>

  /** A table that the schema does not declare has the two indexes that every table has. */
  constructor(name: string, schema: TableSchema | undefined) {
    this.name = name
    const declared = (schema?.indexes ?? []).map(
      ({ indexDescriptor, fields }) => new TableIndex(indexDescriptor, [...fields, "_creationTime", "_id"])
    )
    const indexes = [
      new TableIndex("by_creation_time", ["_creationTime", "_id"]),
      new TableIndex("by_id", ["_id"]),
      ...declared
    ]
    this.indexes = new Map(indexes.map((index) => [index.name, index]))
    this.searchIndexes = new Map(
      (schema?.searchIndexes ?? []).map(({ indexDescriptor, searchField, filterFields }) => [
        indexDescriptor,
        new SearchIndex(indexDescriptor, searchField, filterFields)
      ])
    )
  }

  /** Adds stored documents to the empty table, and sorts each index once. */
  load(documents: ReadonlyArray<Document>): void {
    for (const document of documents) this.documents.set(document._id, document)
    for (const index of this.indexes.values()) index.documents.fill(documents)
    for (const index of this.searchIndexes.values()) for (const document of documents) index.insert(document)
  }

  /** Replaces a document: `before` is null for a new one, `after` for a deletion. */
  put(id: string, before: Document | null, after: Document | null): void {
    if (before !== null) {
      for (const index of this.indexes.values()) index.documents.remove(before)
      for (const index of this.searchIndexes.values()) index.remove(before)
    }
    if (after === null) {
      this.documents.delete(id)
      return
    }
    this.documents.set(id, after)
    for (const index of this.indexes.values()) index.documents.insert(after)
    for (const index of this.searchIndexes.values()) index.insert(after)
  }

  index(name: string): TableIndex {
    const index = this.indexes.get(name)
    if (index === undefined) throw new Error(`Index "${name}" of table "${this.name}" is not declared`)
    return index
  }

  searchIndex(name: string): SearchIndex {
    const index = this.searchIndexes.get(name)
    if (index === undefined) throw new Error(`Search index "${name}" of table "${this.name}" is not declared`)
    return index
  }
}
