import { describe, expect, it } from "vitest"
import { agentFlagNames, defaultAgentFlags, effectiveFlags } from "../../../src/domain/shared/AgentFlags.ts"

describe("an agent's flags", () => {
  it("are the defaults if nothing is set", () => {
    expect(effectiveFlags(undefined, undefined)).toEqual(defaultAgentFlags)
    expect(effectiveFlags({}, {})).toEqual(defaultAgentFlags)
  })

  it("follow the account, and the agent before the account, each flag separately", () => {
    for (const name of agentFlagNames) {
      const other = !defaultAgentFlags[name]
      expect(effectiveFlags({ [name]: other }, undefined)).toEqual({ ...defaultAgentFlags, [name]: other })
      expect(effectiveFlags({ [name]: other }, { [name]: !other })).toEqual(defaultAgentFlags)
    }
  })
})
