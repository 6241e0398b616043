import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { planProfiles } from "../../src/domain/gateway/ProfilePlan.ts"
import { instructionsFor } from "../../src/domain/prompt/Instructions.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { AgentTools } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { sampleContext } from "../domain/delivery/sampleContext.ts"

/** The files of a workspace that the gateway puts into each request. */
const injected = ["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md"]

/** The characters of ours that come before the history in every request of the sample's engineer, by where they are. */
const fixedPart = (gateway: object) =>
  Effect.gen(function* () {
    const { offered } = yield* AgentTools
    const { account, agent, fenceMark } = sampleContext()
    const texts = {
      agentsMd: readFileSync(join(import.meta.dirname, "../../docs/runtime/AGENTS.md"), "utf8"),
      heartbeatMd: "",
      worktreeScript: "",
      tools: ""
    }
    const { id, name, role, slug } = agent
    const profile = { id, name, role, slug, model: null, soul: "", identity: "", userText: "", skillSlugs: [] }
    const { files } = planProfiles({ revision: 1, agents: [profile], skills: [] }, texts, { ...gateway })
    const workspace = files.filter(({ path }) => injected.includes(path[1] ?? ""))
    return {
      tools: JSON.stringify(offered(agent)).length,
      instructions: instructionsFor({ account, agent, fenceMark }, false).length,
      workspace: workspace.reduce((sum, { content }) => sum + content.length, 0)
    }
  }).pipe(
    Effect.provide(
      AgentTools.layer.pipe(
        Layer.provide([Layer.mock(ControlPlane, { bootId: "boot" }), Metrics.layer, Redactor.layer]),
        Layer.provide(RuntimeConfig.layerTest())
      )
    )
  )

describe("our fixed part of an agent's requests", () => {
  it.effect.each([
    { who: "may run commands", gateway: {}, most: 11_500 },
    { who: "may run none", gateway: { tools: { deny: ["exec"] } }, most: 9_800 }
  ])("has at most $most characters for one that $who", ({ gateway, most }) =>
    Effect.gen(function* () {
      const { instructions, tools, workspace } = yield* fixedPart(gateway)
      assert.isAtMost(tools + instructions + workspace, most)
    })
  )
})
