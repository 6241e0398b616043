import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, SubscriptionRef } from "effect"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import type { PushState } from "../../../src/layers/ConvexClient.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { previewDelivery } from "../../../src/programs/delivery/DeliveryPreview.ts"
import { AgentTools } from "../../../src/services/AgentTools.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { quality, sampleContext, sampleEvent, sampleTask } from "../../domain/delivery/sampleContext.ts"

/** The preview over a control plane that has this answer to the context and dies of any write. */
const previewOf = (answer: object, settings: Parameters<typeof RuntimeConfig.layerTest>[0] = {}) =>
  Effect.gen(function* () {
    const queries: Array<string> = []
    const push = yield* SubscriptionRef.make<PushState>({ isConnected: false, lastMessageAt: null })
    const convex = Layer.mock(ConvexClient, {
      push,
      query: (path) =>
        Effect.sync(() => {
          queries.push(path)
          return [{ id: "n1", ...answer }]
        }),
      mutation: (path) => Effect.die(`wrote by ${path}`)
    })
    const preview = yield* Effect.provide(
      previewDelivery("n1"),
      AgentTools.layer.pipe(
        Layer.provideMerge(ControlPlane.layer),
        Layer.provide([convex, NodeCrypto.layerSecureRandom]),
        Layer.provideMerge(Layer.mergeAll(Metrics.layer, Redactor.layer)),
        Layer.provideMerge(RuntimeConfig.layerTest(settings))
      )
    )
    return { preview, queries }
  })

describe("the preview of a delivery", () => {
  it.effect("makes one query, writes nothing, and shows verdict, session, endpoint, tools and prompt", () =>
    Effect.gen(function* () {
      const context = sampleContext()
      const { preview, queries } = yield* previewOf({ context })
      assert.deepStrictEqual(queries, ["service/notifications:context"])
      if ("broken" in preview) return assert.fail(preview.broken)
      assert.strictEqual(preview.sessionKey, context.sessionKey)
      assert.strictEqual(preview.endpoint, "POST http://127.0.0.1:18789/v1/responses")
      assert.deepStrictEqual(
        preview.verdicts.map(({ actor, event, shouldDeliver, type }) => [event, type, actor, shouldDeliver]),
        [[0, "thread_update", "Pat Person", true]]
      )
      assert.isAbove(preview.tools.length, 0)
      assert.isNotEmpty(preview.prompt?.instructions)
      assert.isNotEmpty(preview.prompt?.input)
    })
  )

  it.effect("shows the verdict on every event, and no prompt if none is accepted", () =>
    Effect.gen(function* () {
      const events = [sampleEvent({ actor: quality }), sampleEvent({ index: 1, type: "mention" })]
      const { preview } = yield* previewOf({ context: sampleContext({ events, recipientIsAssignee: false }) })
      if ("broken" in preview) return assert.fail(preview.broken)
      assert.deepStrictEqual(
        preview.verdicts.map(({ shouldDeliver }) => shouldDeliver),
        [false, true]
      )
      assert.isTrue(preview.isAnswerOwed)
      const archived = yield* previewOf({ context: sampleContext({ task: sampleTask({ status: "archived" }) }) })
      assert.isNull("broken" in archived.preview ? "broken" : archived.preview.prompt)
    })
  )

  it.effect("shows no capability if the tools are called over HTTP", () =>
    Effect.gen(function* () {
      const { preview } = yield* previewOf({ context: sampleContext() }, { clientToolsEnabled: false })
      if ("broken" in preview) return assert.fail(preview.broken)
      assert.deepStrictEqual(preview.tools, [])
      assert.include(preview.prompt?.input ?? "", "of-the-run")
    })
  )

  it.effect("reports a broken context instead of failing", () =>
    Effect.gen(function* () {
      const { preview } = yield* previewOf({ broken: "task_missing" })
      assert.deepStrictEqual(preview, { id: "n1", broken: "task_missing" })
    })
  )
})
