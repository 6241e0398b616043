import { convexToJson, type JSONValue, jsonToConvex, type Value } from "convex/values"
import { type AppFunction } from "./app.ts"
import { type DatabaseFake } from "./convexInternals.ts"
import { checkValue } from "./documentLimits.ts"
import { atOneMoment } from "./frozenTime.ts"

/**
 * Calls a function of the app, and checks its arguments and its answer. `onBegin` gets the time that a query or mutation
 * sees.
 */
export const handle = async (
  database: DatabaseFake,
  known: AppFunction,
  context: unknown,
  input: unknown,
  onBegin: (now: number) => void
): Promise<{ readonly json: JSONValue; readonly value: Value }> => {
  checkValue(input)
  const begin = () => {
    onBegin(Date.now())
    return known.registered._handler(context, input)
  }
  const returned = (await (known.kind === "action" ? begin() : atOneMoment(begin))) as Value | undefined
  const json = convexToJson(returned ?? null)
  const value = jsonToConvex(json)
  checkValue(value)
  if (known.returns !== null) {
    const validator = { schemaValidation: true, tables: new Map([["value", { documentType: known.returns }]]) }
    Reflect.apply(database._validate, { _schema: validator }, ["value", value])
  }
  return { json, value }
}
