import { type Value } from "convex/values"
import { compareKeys, type Document, type FieldPath, valueAt } from "./document.ts"
import { SortedList } from "./sortedList.ts"

type Term = { readonly term: string; readonly documents: Map<string, Document> }

/** A search: words, and fields that must be equal. */
export type Search = {
  readonly words: string
  readonly equal: ReadonlyArray<{ readonly field: FieldPath; readonly value: Value | undefined }>
}

const termsOf = (text: Value | undefined): ReadonlyArray<string> =>
  typeof text === "string" ? [...new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])] : []

/**
 * A declared search index: the documents that contain each word. A query finds documents with any of its words, the
 * last one as a prefix. Documents with more of the words rank first, then newer ones.
 */
export class SearchIndex {
  readonly name: string
  readonly searchField: FieldPath
  readonly filterFields: ReadonlySet<string>
  private readonly terms = new SortedList<Term>((a, b) => (a.term < b.term ? -1 : a.term > b.term ? 1 : 0))

  constructor(name: string, searchField: string, filterFields: ReadonlyArray<string>) {
    this.name = name
    this.searchField = searchField.split(".")
    this.filterFields = new Set(filterFields)
  }

  insert(document: Document): void {
    for (const term of termsOf(valueAt(document, this.searchField))) {
      const entry = this.exactly(term)
      if (entry === undefined) this.terms.insert({ term, documents: new Map([[document._id, document]]) })
      else entry.documents.set(document._id, document)
    }
  }

  remove(document: Document): void {
    for (const term of termsOf(valueAt(document, this.searchField))) {
      const entry = this.exactly(term)
      if (entry === undefined) continue
      entry.documents.delete(document._id)
      if (entry.documents.size === 0) this.terms.remove(entry)
    }
  }

  find(search: Search): ReadonlyArray<Document> {
    const scores = new Map<string, { document: Document; score: number }>()
    const words = termsOf(search.words)
    for (const [position, word] of words.entries()) {
      const entries = position === words.length - 1 ? this.startingWith(word) : [this.exactly(word)]
      const found = new Map<string, Document>()
      for (const entry of entries) for (const [id, document] of entry?.documents ?? []) found.set(id, document)
      for (const [id, document] of found) {
        const known = scores.get(id)
        if (known === undefined) scores.set(id, { document, score: 1 })
        else known.score += 1
      }
    }
    return [...scores.values()]
      .filter(({ document }) => isEqual(document, search))
      .toSorted((a, b) => b.score - a.score || b.document._creationTime - a.document._creationTime)
      .map(({ document }) => document)
  }

  /** Whether a change of this document could change the result of the search. */
  matches(document: Document, search: Search): boolean {
    if (!isEqual(document, search)) return false
    const words = termsOf(search.words)
    return termsOf(valueAt(document, this.searchField)).some((term) =>
      words.some((word, position) => (position === words.length - 1 ? term.startsWith(word) : term === word))
    )
  }

  private exactly(term: string): Term | undefined {
    const entry = this.terms.at(this.terms.find((other) => other.term < term))
    return entry?.term === term ? entry : undefined
  }

  private startingWith(prefix: string): ReadonlyArray<Term> {
    const found: Array<Term> = []
    let position = this.terms.find((other) => other.term < prefix)
    for (
      let entry = this.terms.at(position);
      entry !== undefined && entry.term.startsWith(prefix);
      entry = this.terms.at((position = this.terms.next(position)))
    ) {
      found.push(entry)
    }
    return found
  }
}

const isEqual = (document: Document, search: Search): boolean =>
  search.equal.every(({ field, value }) => compareKeys(valueAt(document, field), value) === 0)
