import { beforeAll, describe, expect, it } from "vitest"
import { installedOpenClaw } from "../../local/openclaw/install.ts"
import { compareProtocol, readProtocol } from "./protocolSchema.ts"
import type { ProtocolModule } from "./protocolSchema.ts"
import { setting } from "./sharedGateway.ts"

type Schema = { readonly required: ReadonlyArray<string>; readonly properties: Readonly<Record<string, object>> }

describe("the published protocol", () => {
  let protocol: ProtocolModule

  beforeAll(async () => {
    const installed = installedOpenClaw(setting("OPENCLAW_TEST_VERSION"))
    expect(installed).toBeDefined()
    protocol = await readProtocol(installed!)
  })

  it("contains what the runtime uses", () => {
    const { broken, other } = compareProtocol(protocol)
    for (const line of other) process.stdout.write(`OpenClaw's protocol: ${line}, which the runtime does not use\n`)
    expect(broken).toEqual([])
  })

  /** The comparison if the schema of agents' events were different. */
  const compareWith = (change: (schema: Schema) => Schema) =>
    compareProtocol({ ...protocol, AgentEventSchema: change(protocol["AgentEventSchema"] as Schema) })

  it("is broken without a field that the runtime reads", () => {
    const { broken } = compareWith(({ properties, required }) => ({
      required,
      properties: Object.fromEntries(Object.entries(properties).filter(([name]) => name !== "runId"))
    }))
    expect(broken).toEqual(["AgentEvent.runId is gone"])
  })

  it("is broken if a field has another type, or is not always there", () => {
    const { broken } = compareWith(({ properties, required }) => ({
      required: required.filter((name) => name !== "stream"),
      properties: { ...properties, runId: { type: "integer" } }
    }))
    expect(broken).toEqual(["AgentEvent.runId is integer instead of string", "AgentEvent.stream is not always there"])
  })

  it("names a new field without being broken", () => {
    const changed = compareWith((schema) => ({ ...schema, properties: { ...schema.properties, mood: {} } }))
    expect(changed.broken).toEqual([])
    expect(changed.other).toContain("AgentEvent.mood is new")
  })

  it("is broken if it refuses what the runtime sends, or the runtime's version", () => {
    const refuse = Object.assign(() => false, { errors: ["no caps"] })
    const { broken } = compareProtocol({ ...protocol, validateConnectParams: refuse, MIN_CLIENT_PROTOCOL_VERSION: 5 })
    expect(broken).toHaveLength(2)
    expect(broken[0]).toMatch(/versions 5 to \d+ instead of 4/)
    expect(broken[1]).toBe('ConnectParams refuses what the runtime sends: ["no caps"]')
  })
})
