import { compareValues, type Value } from "convex/values"

/** A stored document, which is replaced and never modified. */
export type Document = {
  readonly _id: string
  readonly _creationTime: number
  readonly [field: string]: Value | undefined
}

/** The path of a field in a document, already split: `state.kind` is `["state", "kind"]`. */
export type FieldPath = ReadonlyArray<string>

/** The table of an id, or null if it is not an id. The plane's ids are a number followed by the table's name. */
export const tableOf = (id: string): string | null => {
  let digits = 0
  while (digits < id.length && id.charCodeAt(digits) >= 48 && id.charCodeAt(digits) <= 57) digits += 1
  return digits === 0 || digits === id.length ? null : id.slice(digits)
}

/** The value at a path, or undefined if there is none. */
export const valueAt = (document: Document, path: FieldPath): Value | undefined => {
  let value: Value | undefined = document[path[0]!]
  for (let depth = 1; depth < path.length; depth += 1) {
    if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof ArrayBuffer)
      return undefined
    value = (value as Record<string, Value | undefined>)[path[depth]!]
  }
  return value
}

/** Convex's order of values, with shortcuts for the most common index keys. */
export const compareKeys = (a: Value | undefined, b: Value | undefined): number => {
  if (a === b && a !== 0) return 0
  if (typeof a === "number" && typeof b === "number") {
    if (a < b) return -1
    if (a > b) return 1
  }
  return compareValues(a, b)
}
