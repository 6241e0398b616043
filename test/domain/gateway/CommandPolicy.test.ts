import { assert, describe, it } from "@effect/vitest"
import { mayRunCommands } from "../../../src/domain/gateway/CommandPolicy.ts"

/** A configuration with this tool policy for all, and this one for the engineer. */
const configuration = (tools: unknown, own?: unknown) => ({
  tools,
  agents: { entries: { engineer: { workspace: "/work", ...(own === undefined ? {} : { tools: own }) } } }
})

describe("an agent may run commands", () => {
  it.each<[string, unknown, unknown?]>([
    ["without a policy", undefined],
    ["with other tools denied", { deny: ["browser", "group:web"] }],
    ["with the profile for coding", { profile: "coding" }],
    ["with a profile of its own that has commands", { profile: "minimal" }, { profile: "full" }],
    ["with commands added to a profile without them", { profile: "messaging", alsoAllow: ["exec"] }],
    ["with commands allowed by name", { allow: ["read", "exec"] }],
    ["with commands allowed by their group", { allow: ["group:runtime"] }],
    ["with a pattern that may mean commands", { allow: ["ex*"] }],
    ["with an empty list of allowed tools", { allow: [] }],
    ["with a policy of an unknown form", { deny: "exec", allow: 3, profile: ["minimal"] }]
  ])("%s", (_, tools, own) => {
    assert.isTrue(mayRunCommands(configuration(tools, own), "engineer"))
  })

  it("regardless of another agent's policy", () => {
    const denied = { agents: { entries: { qa: { tools: { deny: ["*"] } } } } }
    assert.isTrue(mayRunCommands(denied, "engineer"))
    assert.isFalse(mayRunCommands(denied, "qa"))
    assert.isTrue(mayRunCommands({ agents: { entries: [] } }, "engineer"))
    assert.isTrue(mayRunCommands({}, "constructor"))
  })
})

describe("an agent may not run commands", () => {
  it.each<[string, unknown, unknown?]>([
    ["where every tool is denied", { deny: ["*"] }],
    ["where commands are denied", { deny: ["Exec "] }],
    ["where commands are denied by their other name", { deny: ["bash"] }],
    ["where commands are denied by their group", { deny: ["group:runtime"] }],
    ["where they are denied to it alone", { profile: "full" }, { deny: ["exec"] }],
    ["where only other tools are allowed", { allow: ["read", "group:fs"] }],
    ["where only other tools are allowed to it", undefined, { allow: ["read"] }],
    ["with a profile without them", { profile: "minimal" }],
    ["with a profile of its own without them", { profile: "coding" }, { profile: "messaging" }],
    ["where they are allowed and denied", { allow: ["exec"], deny: ["exec"] }]
  ])("%s", (_, tools, own) => {
    assert.isFalse(mayRunCommands(configuration(tools, own), "engineer"))
  })
})
