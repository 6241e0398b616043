import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Ref } from "effect"
import { ControlPlaneRefused, ControlPlaneUnavailable, LeaseLost } from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import type { DeliveryContext } from "../../src/domain/DeliveryContext.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { AgentTools, buildHttpCapabilityLabels } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { defaultFlags, lead, sampleContext, sampleMessage, sampleTask } from "../domain/sampleContext.ts"

const fence = { session: "session_1", epoch: 3 }

type Change = Parameters<ControlPlane["Service"]["setTaskStatus"]>

/** Tools over a control plane that notes each change of status. */
const setUp = (failure?: ControlPlaneFailure) =>
  Effect.gen(function* () {
    const changes = yield* Ref.make<ReadonlyArray<Change>>([])
    const loads = yield* Ref.make<ReadonlyArray<object>>([])
    const controlPlane = Layer.mock(ControlPlane, {
      bootId: "boot",
      setTaskStatus: (...change) =>
        Effect.andThen(
          Ref.update(changes, (all) => [...all, change]),
          failure === undefined
            ? Effect.succeed({
                taskId: change[1].taskId,
                status: change[1].status as "review",
                previousStatus: "in_progress" as const,
                changed: true,
                path: ["review" as const]
              })
            : Effect.fail(failure)
        ),
      loadTask: (options) =>
        Effect.andThen(
          Ref.update(loads, (all) => [...all, options]),
          failure === undefined
            ? Effect.succeed({
                task: sampleTask({ id: options.taskId }),
                thread: [sampleMessage({ content: "x".repeat(10_000) })]
              })
            : Effect.fail(failure)
        )
    })
    const { executeAgentTool, offered } = yield* Effect.provide(
      AgentTools,
      AgentTools.layer.pipe(Layer.provide([controlPlane, Metrics.layer]))
    )
    const call = (name: string, parameters: unknown, context: DeliveryContext = sampleContext()) =>
      Effect.map(
        executeAgentTool(
          { context, fence },
          {
            callId: "call_1",
            name,
            arguments: typeof parameters === "string" ? parameters : JSON.stringify(parameters)
          }
        ),
        (result) => ({ ...result, answer: JSON.parse(result.json) as Record<string, unknown> })
      )
    return { call, changes: Ref.get(changes), loads: Ref.get(loads), offered }
  })

const orchestrator = sampleContext({
  agent: {
    id: lead.id ?? "",
    slug: "squad-lead",
    name: "Squad Lead",
    role: "Lead",
    isOrchestrator: true,
    flags: defaultFlags
  }
})

describe("the tools offered", () => {
  it.effect("are flat functions with closed object schemas without combinators at the root", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      const definitions = offered(sampleContext())
      assert.sameMembers(
        definitions.map(({ name }) => name),
        ["task_status", "task_load"]
      )
      for (const { description, name, parameters, type } of definitions) {
        assert.strictEqual(type, "function", name)
        assert.isNotEmpty(description)
        const schema = parameters as Record<string, unknown>
        assert.strictEqual(schema["type"], "object", name)
        assert.isObject(schema["properties"], name)
        assert.deepStrictEqual(schema["required"], name === "task_status" ? ["taskId", "status"] : ["taskId"])
        assert.isFalse(schema["additionalProperties"], name)
        for (const combinator of ["oneOf", "anyOf", "allOf", "not", "$ref", "$defs"]) {
          assert.notProperty(schema, combinator, name)
        }
      }
    })
  )

  it.effect("do not set the status without a task or the flag, but always read", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      const names = (context: DeliveryContext) => offered(context).map(({ name }) => name)
      assert.deepStrictEqual(names(sampleContext({ task: null })), ["task_load"])
      const { agent } = sampleContext()
      assert.deepStrictEqual(
        names(sampleContext({ agent: { ...agent, flags: { ...defaultFlags, canModifyTaskStatus: false } } })),
        ["task_load"]
      )
    })
  )

  it.effect("are the ones whose capabilities the prompt lists", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      for (const context of [sampleContext(), sampleContext({ task: null }), orchestrator]) {
        assert.deepStrictEqual(
          buildHttpCapabilityLabels(context).map((label) => label.split(":")[0]),
          offered(context).map(({ name }) => name)
        )
      }
    })
  )
})

describe("a call", () => {
  it.effect("answers with its tool, success and what it found, under the fence of the run", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      const result = yield* call("task_status", { taskId: "task_1", status: "review" })
      assert.deepStrictEqual(result.answer, {
        tool: "task_status",
        success: true,
        taskId: "task_1",
        status: "review",
        previousStatus: "in_progress",
        changed: true
      })
      assert.isTrue(result.isEffect)
      assert.deepStrictEqual(yield* changes, [[fence, { taskId: "task_1", status: "review" }]])
    })
  )

  it.effect("that only reads is no effect, and long messages are cut", () =>
    Effect.gen(function* () {
      const { call, loads } = yield* setUp()
      const result = yield* call("task_load", { taskId: "task_9", messageLimit: 5 })
      assert.isFalse(result.isEffect)
      assert.isTrue(result.success)
      assert.deepStrictEqual(yield* loads, [{ taskId: "task_9", messageLimit: 5 }])
      assert.isBelow(result.json.length, 6_000)
    })
  )

  const refusals: ReadonlyArray<{
    readonly what: string
    readonly name: string
    readonly parameters: unknown
    readonly code: string
    readonly names: string
    readonly context?: DeliveryContext
  }> = [
    { what: "of an unknown tool", name: "exec", parameters: {}, code: "forbidden", names: "task_load" },
    {
      what: "of a tool that is not offered here",
      name: "task_status",
      parameters: { taskId: "task_1", status: "review" },
      code: "forbidden",
      names: "task_load",
      context: sampleContext({ task: null })
    },
    {
      what: "with arguments that are not JSON",
      name: "task_load",
      parameters: "{taskId:",
      code: "invalid",
      names: "JSON"
    },
    {
      what: "with arguments that are a list",
      name: "task_load",
      parameters: "[1]",
      code: "invalid",
      names: "JSON object"
    },
    { what: "without arguments", name: "task_load", parameters: "", code: "invalid", names: "taskId" },
    { what: "with null arguments", name: "task_load", parameters: "null", code: "invalid", names: "JSON object" },
    {
      what: "without a required argument",
      name: "task_status",
      parameters: { taskId: "task_1" },
      code: "invalid",
      names: "status"
    },
    {
      what: "with an empty required argument",
      name: "task_load",
      parameters: { taskId: "" },
      code: "invalid",
      names: "taskId"
    },
    {
      what: "with a value that is not among the allowed",
      name: "task_status",
      parameters: { taskId: "task_1", status: "archived" },
      code: "invalid",
      names: "status"
    },
    {
      what: "with a number out of range",
      name: "task_load",
      parameters: { taskId: "task_1", messageLimit: 201 },
      code: "invalid",
      names: "messageLimit"
    },
    {
      what: "with a key that the tool does not have",
      name: "task_status",
      parameters: { taskId: "task_1", status: "review", blockedreason: "typo" },
      code: "invalid",
      names: "blockedreason"
    },
    {
      what: "that blocks without a reason",
      name: "task_status",
      parameters: { taskId: "task_1", status: "blocked", blockedReason: "   " },
      code: "invalid",
      names: "blockedReason"
    },
    {
      what: "on another task than the notification's",
      name: "task_status",
      parameters: { taskId: "task_2", status: "review" },
      code: "forbidden",
      names: "task_1"
    },
    {
      what: "that sets done without the right to",
      name: "task_status",
      parameters: { taskId: "task_1", status: "done" },
      code: "forbidden",
      names: "done"
    }
  ]
  for (const { code, context, name, names, parameters, what } of refusals) {
    it.effect(`${what} is refused with ${code}, and the answer says ${names}`, () =>
      Effect.gen(function* () {
        const { call, changes } = yield* setUp()
        const result = yield* call(name, parameters, context)
        assert.isFalse(result.success)
        assert.isFalse(result.isEffect)
        assert.strictEqual(result.answer["tool"], name)
        assert.isFalse(result.answer["success"])
        assert.strictEqual(result.answer["code"], code)
        assert.include(String(result.answer["error"]), names)
        assert.deepStrictEqual(yield* changes, [])
      })
    )
  }

  it.effect("takes empty and null optional arguments as absent, since the gateway makes one of the other", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      yield* call("task_status", { taskId: "task_1", status: "review", blockedReason: "" })
      yield* call("task_status", { taskId: "task_1", status: "review", blockedReason: null })
      const expected = [fence, { taskId: "task_1", status: "review" }]
      assert.deepStrictEqual(yield* changes, [expected, expected] as never)
    })
  )

  it.effect("carries the reason of a block, and of nothing else", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      yield* call("task_status", { taskId: "task_1", status: "blocked", blockedReason: " no access " })
      yield* call("task_status", { taskId: "task_1", status: "review", blockedReason: "no access" })
      assert.deepStrictEqual(
        (yield* changes).map(([, change]) => change),
        [
          { taskId: "task_1", status: "blocked", blockedReason: "no access" },
          { taskId: "task_1", status: "review" }
        ]
      )
    })
  )

  it.effect("of the orchestrator may act on any task and set done", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      const result = yield* call("task_status", { taskId: "task_2", status: "done" }, orchestrator)
      assert.isTrue(result.success)
      assert.lengthOf(yield* changes, 1)
    })
  )

  it.effect("that the control plane refuses is a result with its code", () =>
    Effect.gen(function* () {
      const refused = new ControlPlaneRefused({ function: "setStatus", code: "conflict", detail: "archived already" })
      const { call } = yield* setUp(refused)
      const result = yield* call("task_status", { taskId: "task_1", status: "review" })
      assert.deepStrictEqual(result.answer, {
        tool: "task_status",
        success: false,
        code: "conflict",
        error: "archived already"
      })
      assert.isFalse(result.isEffect)
    })
  )

  it.effect("whose lease is lost, or whose control plane is away, ends the turn", () =>
    Effect.gen(function* () {
      for (const failure of [
        new LeaseLost({ function: "setStatus" }),
        new ControlPlaneUnavailable({ function: "setStatus", detail: "ECONNREFUSED" })
      ]) {
        const { call } = yield* setUp(failure)
        const outcome = yield* Effect.flip(call("task_status", { taskId: "task_1", status: "review" }))
        assert.deepStrictEqual(outcome, failure)
      }
    })
  )
})
