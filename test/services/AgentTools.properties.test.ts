import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Ref, Schema } from "effect"
import { ControlPlaneRefused } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { noSpending } from "../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { AgentTools } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { allTools } from "../../src/services/tools/AllTools.ts"
import { defaultFlags, sampleContext } from "../domain/delivery/sampleContext.ts"

/** Refuses whatever reaches it, so that a call can be told from one that was refused before. */
const refusing = Layer.effect(
  ControlPlane,
  Effect.succeed(
    new Proxy({} as ControlPlane["Service"], {
      get: () => () => Effect.fail(new ControlPlaneRefused({ function: "test", code: "limit", detail: "reached" }))
    })
  )
)

const tools = AgentTools.layer.pipe(
  Layer.provide([refusing, Metrics.layer, Redactor.layer]),
  Layer.provide(RuntimeConfig.layerTest())
)

const { agent } = sampleContext()
const context = sampleContext({
  agent: { ...agent, isOrchestrator: true, flags: { ...defaultFlags, canCreateTasks: true } }
})

const call = (name: string, text: string) =>
  Effect.gen(function* () {
    const { executeAgentTool } = yield* AgentTools
    const result = yield* executeAgentTool(
      {
        context,
        fence: { run: "notification_1", session: "session_1", epoch: 1 },
        spending: Ref.makeUnsafe(noSpending)
      },
      { callId: "call_1", name, arguments: text }
    )
    const answer = JSON.parse(result.json)
    assert.strictEqual(answer.tool, name)
    assert.isFalse(answer.success)
    assert.strictEqual(answer.code, result.code)
    assert.isString(answer.error)
    return String(answer.code)
  })

layer(tools)("whatever the arguments, the result names its tool:", (it) => {
  for (const tool of allTools) {
    const parameters: Schema.Codec<unknown, unknown> = tool.parameters as never

    it.effect.prop(`${tool.name} with arguments of its schema`, [parameters], ([value]) =>
      Effect.gen(function* () {
        const encoded = yield* Schema.encodeEffect(parameters)(value)
        // By its shape it is right, so only its values can be refused, here or by the control plane.
        assert.include(["limit", "invalid", "malformed"], yield* call(tool.name, JSON.stringify(encoded)))
      })
    )

    it.effect.prop(`${tool.name} with any JSON at all`, [Schema.Json], ([value]) =>
      Effect.gen(function* () {
        assert.include(["limit", "invalid", "malformed"], yield* call(tool.name, JSON.stringify(value)))
      })
    )

    it.effect.prop(`${tool.name} with any text`, [Schema.String], ([text]) =>
      Effect.gen(function* () {
        assert.include(["limit", "invalid", "malformed"], yield* call(tool.name, text))
      })
    )
  }
})
