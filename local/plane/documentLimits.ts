import { getDocumentSize } from "convex/values"
import { type Document } from "./document.ts"

const maximumBytes = 1 << 20
const maximumArray = 8192
const maximumFields = 1024
const maximumDepth = 64

/** Refuses a value that a deployment refuses to store, accept or return: long arrays, deep nesting. */
export const checkValue = (value: unknown, depth = 0): void => {
  if (typeof value !== "object" || value === null || value instanceof ArrayBuffer) return
  if (depth > maximumDepth) throw new Error(`Value is nested too deeply (maximum: ${maximumDepth})`)
  if (Array.isArray(value)) {
    if (value.length > maximumArray)
      throw new Error(`Array is too long (${value.length} > maximum length ${maximumArray})`)
    for (const item of value) checkValue(item, depth + 1)
    return
  }
  const fields = Object.keys(value)
  if (fields.length > maximumFields) {
    throw new Error(`Object has too many fields (${fields.length} > maximum number ${maximumFields})`)
  }
  for (const field of fields) checkValue((value as Record<string, unknown>)[field], depth + 1)
}

const systemFields = new Set(["_id", "_creationTime"])

const checkFieldNames = (value: unknown, isDocument: boolean): void => {
  if (typeof value !== "object" || value === null || value instanceof ArrayBuffer) return
  if (Array.isArray(value)) {
    for (const item of value) checkFieldNames(item, false)
    return
  }
  for (const [field, item] of Object.entries(value)) {
    const isReserved = field.startsWith("$") || (field.startsWith("_") && !(isDocument && systemFields.has(field)))
    if (isReserved || !/^[\x20-\x7e]+$/.test(field)) {
      throw new Error(`Field name ${JSON.stringify(field)} is not allowed`)
    }
    checkFieldNames(item, false)
  }
}

/**
 * Refuses a document that a deployment refuses to store: more than 1 MiB, long arrays, deep nesting, reserved field
 * names.
 */
export const checkStorable = (document: Document): void => {
  checkValue(document)
  checkFieldNames(document, true)
  const bytes = getDocumentSize(document as never)
  if (bytes > maximumBytes) throw new Error(`Value is too large (${bytes} bytes > maximum size 1 MiB)`)
}
