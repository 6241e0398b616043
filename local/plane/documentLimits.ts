import { getDocumentSize } from "convex/values"
import { type Document } from "./document.ts"

const maximumBytes = 1 << 20
const maximumArray = 8192
const maximumFields = 1024
const maximumDepth = 64

const checkValue = (value: unknown, depth: number): void => {
  if (depth > maximumDepth) throw new Error(`Value is nested too deeply (maximum: ${maximumDepth})`)
  if (typeof value !== "object" || value === null || value instanceof ArrayBuffer) return
  if (Array.isArray(value)) {
    if (value.length > maximumArray)
      throw new Error(`Array is too long (${value.length} > maximum length ${maximumArray})`)
    for (const item of value) checkValue(item, depth + 1)
    return
  }
  checkFields(value, depth, false)
}

const checkFields = (object: object, depth: number, isDocument: boolean): void => {
  const fields = Object.keys(object)
  if (fields.length > maximumFields) {
    throw new Error(`Object has too many fields (${fields.length} > maximum number ${maximumFields})`)
  }
  for (const field of fields) {
    const isSystemField = isDocument && (field === "_id" || field === "_creationTime")
    if (
      !isSystemField &&
      (field === "" || field.startsWith("$") || field.startsWith("_") || !/^[\x20-\x7e]*$/.test(field))
    ) {
      throw new Error(`Field name ${JSON.stringify(field)} is not allowed`)
    }
    checkValue((object as Record<string, unknown>)[field], depth + 1)
  }
}

/** Refuses what a deployment refuses to store: more than 1 MiB, long arrays, deep nesting, reserved field names. */
export const checkStorable = (document: Document): void => {
  checkFields(document, 0, true)
  const bytes = getDocumentSize(document as never)
  if (bytes > maximumBytes) throw new Error(`Value is too large (${bytes} bytes > maximum size 1 MiB)`)
}
