/**
 * The calls by which any runtime reports itself and gets the commands restart, upgrade and rollback, with any versions
 * of the two sides. They are the only way to repair a runtime that the deployment no longer serves, or does not serve
 * yet.
 *
 * Never change an expectation here, except to add a field to an answer, because a runtime ignores unknown fields. Do
 * not even add an optional argument, because a deployment of an older version refuses a call with an unknown argument.
 * A runtime reports additional data in `health`, which has any form.
 */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { acknowledge, commands, protocol, pulse } from "../../convex/service/runtimes.ts"
import { PulseAnswer, RuntimeCommands, ServedProtocols } from "../../src/domain/controlPlane/RuntimeCommands.ts"

/** A validator as Convex exports it. */
type Validator =
  | { readonly type: "string" | "number" | "boolean" | "null" | "any" }
  | { readonly type: "literal"; readonly value: string }
  | { readonly type: "array"; readonly value: Validator }
  | { readonly type: "union"; readonly value: ReadonlyArray<Validator> }
  | {
      readonly type: "object"
      readonly value: Readonly<Record<string, { readonly fieldType: Validator; readonly optional: boolean }>>
    }

/** The validator as a type: objects by their fields, everything else as a text. */
const typeOf = (validator: Validator): unknown => {
  switch (validator.type) {
    case "object":
      return Object.fromEntries(
        Object.entries(validator.value).map(([name, { fieldType, optional }]) => [
          optional ? `${name}?` : name,
          typeOf(fieldType)
        ])
      )
    case "union": {
      const [first, ...others] = validator.value.map(typeOf)
      // An object or null is shown as the object under `or null`.
      return typeof first === "object" ? { "or null": first } : [first, ...others].join(" | ")
    }
    case "array":
      return `${String(typeOf(validator.value))}[]`
    case "literal":
      return validator.value
    default:
      return validator.type
  }
}

/** What a registered function exports; its type does not show it. */
const shapeOf = (registered: object) => {
  const { exportArgs, exportReturns } = registered as Record<"exportArgs" | "exportReturns", () => string>
  const read = (json: string) => typeOf(JSON.parse(json) as Validator)
  return { args: read(exportArgs()), returns: read(exportReturns()) }
}

const credentials = { accountId: "string", serviceToken: "string" }
const versionChange = {
  id: "string",
  kind: "upgrade | rollback",
  runtimeVersion: "string | null",
  openclawVersion: "string | null",
  requestedAt: "number"
}
const runtimeCommands = {
  paused: "boolean",
  restart: { "or null": { id: "string", requestedAt: "number" } },
  upgrade: { "or null": versionChange },
  underway: { "or null": { ...versionChange, takenAt: "number", takenBy: "string", message: "string | null" } },
  watched: { "or null": { since: "number", until: "number" } }
}
const served = { oldest: "number", newest: "number" }

describe("the calls that never change between versions", () => {
  it("include the pulse", () => {
    assert.deepStrictEqual(shapeOf(pulse), {
      args: {
        ...credentials,
        runtimeId: "string",
        bootId: "string",
        status: "booting | online | degraded | draining | offline",
        reasons: "string[]",
        "health?": "any",
        versions: { runtime: "string", openclaw: "string | null" },
        infrastructure: { dropletId: "string | null", ipAddress: "string | null", region: "string | null" },
        intervalMs: "number",
        "protocol?": "number"
      },
      returns: {
        commands: runtimeCommands,
        oldest: "number | null",
        nextDueAt: "number | null",
        rosterRevision: "number",
        now: "number",
        releasedLeases: "number",
        protocol: served
      }
    })
  })

  it("include the commands of people for a runtime", () => {
    assert.deepStrictEqual(shapeOf(commands), {
      args: { ...credentials, runtimeId: "string" },
      returns: runtimeCommands
    })
  })

  it("include the report on a command", () => {
    assert.deepStrictEqual(shapeOf(acknowledge), {
      args: {
        ...credentials,
        runtimeId: "string",
        bootId: "string",
        command: "string",
        result: "taken | progress | success | failed | rolled_back",
        "message?": "string"
      },
      returns: "null"
    })
  })

  it("include the query for the served versions", () => {
    assert.deepStrictEqual(shapeOf(protocol), { args: credentials, returns: served })
  })
})

describe("an answer with fields that this version does not know", () => {
  const more = { addedLater: { nested: [1] } }
  const change = { id: "1", kind: "upgrade" as const, runtimeVersion: "2.0.0", openclawVersion: null, requestedAt: 1 }
  const known = { paused: false, restart: { id: "2", requestedAt: 2 }, upgrade: change, underway: null }
  const answer = { commands: known, oldest: null, nextDueAt: null, rosterRevision: 1, now: 1, releasedLeases: 0 }

  it("is read as if it did not have them", () => {
    const upgrade = { ...change, ...more }
    const later = { ...known, ...more, upgrade }
    assert.deepStrictEqual(Schema.decodeSync(RuntimeCommands)(later), known)
    assert.deepStrictEqual(Schema.decodeSync(PulseAnswer)({ ...answer, ...more, commands: later }), answer)
    const versions = { oldest: 1, newest: 2 }
    assert.deepStrictEqual(Schema.decodeSync(ServedProtocols)({ ...versions, ...more }), versions)
  })
})
