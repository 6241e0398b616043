import { createRequire } from "node:module"
import type * as Typebox from "typebox/compile"

type Schema = Readonly<Record<string, unknown>>

/** The arguments as the caller receives them, or the text that the model receives instead. */
export type CheckedArguments = { readonly args: unknown } | { readonly refused: string }

const require = createRequire(import.meta.url)
const validators = new WeakMap<object, Typebox.Validator>()

/**
 * Coerces and checks the arguments of one tool call as OpenClaw does before a caller sees it: "3" becomes 3, "true"
 * becomes true, null becomes an empty value of the declared type. If they still violate the schema, the model gets the
 * problems.
 */
export const checkArguments = (name: string, parameters: unknown, args: unknown): CheckedArguments => {
  if (parameters === undefined) return { refused: "Cannot use 'in' operator to search for 'type' in undefined" }
  try {
    const schema = parameters as Schema
    const validator = validatorOf(schema)
    const coerced = coerce(structuredClone(args), schema)
    if (validator.Check(coerced)) return { args: coerced }
    const problems = validator.Errors(coerced).map((error) => {
      const required = (error.params as { requiredProperties?: ReadonlyArray<string> }).requiredProperties?.[0]
      const path = error.instancePath.replace(/^\//, "").replaceAll("/", ".")
      const at =
        error.keyword === "required" && required !== undefined ? [path, required].filter(Boolean).join(".") : path
      return `  - ${at === "" ? "root" : at}: ${error.message}`
    })
    const received = JSON.stringify(args, null, 2)
    return {
      refused: `Validation failed for tool "${name}":\n${problems.join("\n")}\n\nReceived arguments:\n${received}`
    }
  } catch (error) {
    return { refused: error instanceof Error ? error.message : String(error) }
  }
}

const validatorOf = (schema: Schema): Typebox.Validator => {
  const known = validators.get(schema)
  if (known !== undefined) return known
  // Loaded with the first tool call: it costs 25 MB, and most gateways of a test run get no tool call.
  const { Compile } = require("typebox/compile") as typeof Typebox
  const compiled = Compile(schema as never) as Typebox.Validator
  validators.set(schema, compiled)
  return compiled
}

const coerce = (value: unknown, schema: Schema): unknown => {
  let next = value
  if (Array.isArray(schema["allOf"])) for (const part of schema["allOf"]) next = coerce(next, part as Schema)
  for (const union of [schema["anyOf"], schema["oneOf"]]) {
    if (Array.isArray(union)) next = coerceUnion(next, union as ReadonlyArray<Schema>)
  }
  const types = typesOf(schema)
  if (!(types.length > 1 && types.some((type) => isOfType(next, type)))) {
    for (const type of types) {
      if (type === "null" && next !== null && types.length > 1) continue
      const candidate = coerceTo(next, type)
      if (candidate === next) continue
      next = candidate
      break
    }
  }
  if (types.includes("object") && isRecord(next)) coerceProperties(next, schema)
  if (types.includes("array") && Array.isArray(next)) coerceItems(next, schema)
  return next
}

const coerceUnion = (value: unknown, schemas: ReadonlyArray<Schema>): unknown => {
  if (value === null && schemas.some((schema) => typesOf(schema).includes("null") && accepts(schema, null)))
    return value
  for (const schema of schemas) {
    if (value !== null && typesOf(schema).join() === "null") continue
    const candidate = coerce(structuredClone(value), schema)
    if (accepts(schema, candidate)) return candidate
  }
  return value
}

const accepts = (schema: Schema, value: unknown): boolean => {
  try {
    return validatorOf(schema).Check(value)
  } catch {
    return false
  }
}

const coerceProperties = (value: Record<string, unknown>, schema: Schema): void => {
  const properties = isRecord(schema["properties"]) ? schema["properties"] : {}
  for (const key of Object.keys(value)) {
    const property = properties[key] ?? schema["additionalProperties"]
    if (isRecord(property)) value[key] = coerce(value[key], property)
  }
}

const coerceItems = (value: Array<unknown>, schema: Schema): void => {
  const items = schema["items"]
  for (const index of value.keys()) {
    const item: unknown = Array.isArray(items) ? items[index] : items
    if (isRecord(item)) value[index] = coerce(value[index], item)
  }
}

const coerceTo = (value: unknown, type: string): unknown => {
  switch (type) {
    case "number":
    case "integer": {
      if (value === null) return 0
      if (typeof value === "boolean") return value ? 1 : 0
      if (typeof value !== "string" || !/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/iu.test(value.trim())) return value
      const parsed = Number(value)
      return type === "number"
        ? Number.isFinite(parsed)
          ? parsed
          : value
        : Number.isSafeInteger(parsed)
          ? parsed
          : value
    }
    case "boolean":
      if (value === null || value === "false" || value === 0) return false
      return value === "true" || value === 1 ? true : value
    case "string":
      if (value === null) return ""
      return typeof value === "number" || typeof value === "boolean" ? String(value) : value
    case "array":
    case "object": {
      if (typeof value !== "string") return value
      const parsed = parseJson(value)
      return (type === "array" ? Array.isArray(parsed) : isRecord(parsed)) ? parsed : value
    }
    case "null":
      return value === "" || value === 0 || value === false ? null : value
    default:
      return value
  }
}

const typesOf = (schema: Schema): ReadonlyArray<string> => {
  const type = schema["type"]
  if (typeof type === "string") return [type]
  return Array.isArray(type) ? type.filter((each) => typeof each === "string") : []
}

const isOfType = (value: unknown, type: string): boolean => {
  switch (type) {
    case "integer":
      return Number.isInteger(value)
    case "null":
      return value === null
    case "array":
      return Array.isArray(value)
    case "object":
      return isRecord(value)
    default:
      return typeof value === type
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
