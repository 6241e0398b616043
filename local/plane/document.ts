import { compareValues, type Value } from "convex/values"

/** A stored document; never changed in place, only replaced. */
export type Document = {
  readonly _id: string
  readonly _creationTime: number
  readonly [field: string]: Value | undefined
}

/** A field's place in a document, split once: `state.kind` is `["state", "kind"]`. */
export type FieldPath = ReadonlyArray<string>

/** The table an id belongs to, or null when it is no id: the stand-in's ids are a number followed by the table's name. */
export const tableOf = (id: string): string | null => {
  let digits = 0
  while (digits < id.length && id.charCodeAt(digits) >= 48 && id.charCodeAt(digits) <= 57) digits += 1
  return digits === 0 || digits === id.length ? null : id.slice(digits)
}

/** The value at a path, undefined where the path leads nowhere. */
export const valueAt = (document: Document, path: FieldPath): Value | undefined => {
  let value: Value | undefined = document[path[0]!]
  for (let depth = 1; depth < path.length; depth += 1) {
    if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof ArrayBuffer)
      return undefined
    value = (value as Record<string, Value | undefined>)[path[depth]!]
  }
  return value
}

/** Convex's order of values, with short cuts for what index keys mostly are. */
export const compareKeys = (a: Value | undefined, b: Value | undefined): number => {
  if (a === b && a !== 0) return 0
  if (typeof a === "number" && typeof b === "number") {
    if (a < b) return -1
    if (a > b) return 1
  }
  return compareValues(a, b)
}
