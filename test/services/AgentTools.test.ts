import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  LeaseLost
} from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { DeliveryContext } from "../../src/domain/delivery/DeliveryContext.ts"
import { noSpending } from "../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { AgentTools, describeHttpTools } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import type { RunContext, ToolAgent } from "../../src/services/tools/AgentTool.ts"
import { allTools } from "../../src/services/tools/AllTools.ts"
import { defaultFlags, lead, sampleContext, sampleMessage, sampleTask } from "../domain/delivery/sampleContext.ts"

const fence = { run: "notification_1", session: "session_1", epoch: 3 }

/** The service token of a test's settings. */
const ownToken = `mc_service_testaccount1_${"0".repeat(64)}`

const refusedArchived = new ControlPlaneRefused({
  function: "setStatus",
  code: "conflict",
  detail: "archived already"
})

type Change = Parameters<ControlPlane["Service"]["setTaskStatus"]>

/** How long the control plane takes for a change of status. */
const LATENCY = 250

/** Tools over a control plane that notes each change of status. */
const setUp = (failure?: ControlPlaneFailure, isSlow = false) =>
  Effect.gen(function* () {
    const changes = yield* Ref.make<ReadonlyArray<Change>>([])
    const loads = yield* Ref.make<ReadonlyArray<object>>([])
    const controlPlane = Layer.mock(ControlPlane, {
      bootId: "boot",
      setTaskStatus: (...change) =>
        Effect.andThen(
          Effect.andThen(
            Ref.update(changes, (all) => [...all, change]),
            isSlow ? Effect.sleep(LATENCY) : Effect.void
          ),
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
                task: sampleTask({ id: options.taskId, description: `Not ${ownToken}, but ghp_${"aB3dE5".repeat(6)}` }),
                thread: [sampleMessage({ content: "x".repeat(10_000) })]
              })
            : Effect.fail(failure)
        )
    })
    const { executeAgentTool, offered } = yield* Effect.provide(
      AgentTools,
      AgentTools.layer.pipe(
        Layer.provide([controlPlane, Metrics.layer, Redactor.layer]),
        Layer.provide(RuntimeConfig.layerTest())
      )
    )
    const spending = yield* Ref.make(noSpending)
    const call = (name: string, parameters: unknown, context: RunContext = sampleContext()) =>
      Effect.map(
        executeAgentTool(
          { context, fence, spending },
          {
            callId: "call_1",
            name,
            arguments: typeof parameters === "string" ? parameters : JSON.stringify(parameters)
          }
        ),
        (result) => ({ ...result, answer: JSON.parse(result.json) as Record<string, unknown> })
      )
    const steps = Effect.map(Ref.get(spending), (all) => all.steps)
    return { call, changes: Ref.get(changes), executeAgentTool, loads: Ref.get(loads), offered, spending, steps }
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

const everything = sampleContext({
  agent: { ...orchestrator.agent, flags: { ...defaultFlags, canCreateTasks: true } }
})

const required: Readonly<Record<string, ReadonlyArray<string>>> = {
  task_status: ["taskId", "status"],
  task_update: ["taskId"],
  task_create: ["title"],
  document_upsert: ["title", "content", "type"],
  document_list: [],
  response_request: ["recipientSlugs", "message"],
  task_load: ["taskId"],
  get_agent_skills: [],
  task_history: ["taskId"],
  task_list: [],
  task_get: ["taskId"],
  task_thread: ["taskId"],
  task_search: ["query"],
  task_delete: ["taskId", "reason"],
  task_message: ["taskId", "content"],
  task_assign: ["taskId", "assigneeSlugs"],
  task_link_pr: ["taskId", "prNumber"]
}

describe("the tools offered", () => {
  it.effect("are flat functions with closed object schemas without combinators at the root", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      const definitions = offered(everything.agent)
      assert.sameMembers(
        definitions.map(({ name }) => name),
        allTools.map(({ name }) => name)
      )
      for (const { description, name, parameters, type } of definitions) {
        assert.strictEqual(type, "function", name)
        assert.isNotEmpty(description)
        const schema = parameters as Record<string, unknown>
        assert.strictEqual(schema["type"], "object", name)
        assert.isObject(schema["properties"], name)
        assert.deepStrictEqual(schema["required"], required[name], name)
        for (const [key, property] of Object.entries(schema["properties"] as Record<string, any>)) {
          assert.isNotEmpty(property.description, `${name}.${key}`)
          assert.isString(property.type, `${name}.${key}`)
        }
        assert.isFalse(schema["additionalProperties"], name)
        for (const combinator of ["oneOf", "anyOf", "allOf", "not", "$ref", "$defs"]) {
          assert.notProperty(schema, combinator, name)
        }
      }
    })
  )

  const always = [
    "task_status",
    "task_update",
    "response_request",
    "task_history",
    "document_upsert",
    "document_list",
    "task_load",
    "get_agent_skills"
  ]
  const orchestrators = [
    "task_list",
    "task_get",
    "task_thread",
    "task_search",
    "task_delete",
    "task_message",
    "task_assign",
    "task_link_pr"
  ]
  const { agent } = sampleContext()
  const withFlags = (flags: Partial<typeof defaultFlags>) => ({ ...agent, flags: { ...defaultFlags, ...flags } })
  const offers: ReadonlyArray<readonly [string, ToolAgent, ReadonlyArray<string>]> = [
    ["with the default flags", agent, always],
    [
      "without canModifyTaskStatus",
      withFlags({ canModifyTaskStatus: false }),
      always.filter((name) => name !== "task_status" && name !== "task_update")
    ],
    [
      "without canMentionAgents",
      withFlags({ canMentionAgents: false }),
      always.filter((name) => name !== "response_request")
    ],
    [
      "without canCreateDocuments",
      withFlags({ canCreateDocuments: false }),
      always.filter((name) => name !== "document_upsert")
    ],
    ["with canCreateTasks", withFlags({ canCreateTasks: true }), [...always, "task_create"]],
    ["to the orchestrator", orchestrator.agent, [...always, ...orchestrators]]
  ]
  for (const [when, given, names] of offers) {
    it.effect(`${when} are ${names.length}, as the contract says`, () =>
      Effect.gen(function* () {
        const { offered } = yield* setUp()
        assert.sameMembers(
          offered(given).map(({ name }) => name),
          [...names]
        )
      })
    )
  }

  it.effect("show done only to agents that may set it", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      const statuses = (given: ToolAgent) =>
        ["task_status", "task_update"].map((name) => {
          const definition = offered(given).find((tool) => tool.name === name)
          return JSON.stringify(definition?.parameters).includes('"done"')
        })
      assert.deepStrictEqual(statuses(agent), [false, false])
      assert.deepStrictEqual(statuses(withFlags({ canMarkDone: true })), [true, true])
      assert.deepStrictEqual(statuses(withFlags({ canReviewTasks: true })), [true, true])
      assert.deepStrictEqual(statuses(orchestrator.agent), [true, true])
    })
  )

  it.effect("show assignees only to the orchestrator", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      const show = (given: ToolAgent) =>
        offered(given)
          .filter(({ parameters }) => JSON.stringify(parameters).includes("assigneeSlugs"))
          .map(({ name }) => name)
      assert.deepStrictEqual(show(withFlags({ canCreateTasks: true })), [])
      assert.deepStrictEqual(show(withFlags({ canCreateTasks: true, canReviewTasks: true })), [])
      assert.deepStrictEqual(show(everything.agent), ["task_update", "task_create", "task_assign"])
    })
  )

  it.effect("are described over HTTP with address, arguments, session key and capability", () =>
    Effect.gen(function* () {
      const { offered } = yield* setUp()
      const context = sampleContext()
      const text = describeHttpTools(context, { baseUrl: "http://10.0.0.5:3000", capability: "the-capability" })
      assert.include(text, "x-openclaw-session-key: agent:engineer:testaccount1")
      assert.include(text, "x-mission-control-capability: the-capability")
      assert.include(
        text,
        "- task_status: set a task's status. POST http://10.0.0.5:3000/agent/task-status with taskId*, status*, blockedReason"
      )
      for (const { name } of offered(context.agent)) assert.include(text, `\n- ${name}: `)
      assert.notInclude(text, "task-delete")
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

  it.effect("trims ids, and treats a blank one as absent", () =>
    Effect.gen(function* () {
      const { call, changes, loads } = yield* setUp()
      yield* call("task_status", { taskId: " task_1\n", status: "review" })
      assert.deepStrictEqual(yield* changes, [[fence, { taskId: "task_1", status: "review" }]])
      yield* call("task_load", { taskId: "\ttask_9 " })
      assert.deepStrictEqual(yield* loads, [{ taskId: "task_9" }])
      assert.strictEqual((yield* call("task_load", { taskId: "  " })).code, "malformed")
    })
  )

  it.effect("answers without the runtime's own tokens, and with what people pasted", () =>
    Effect.gen(function* () {
      const { call } = yield* setUp()
      const { json } = yield* call("task_load", { taskId: "task_9" })
      assert.notInclude(json, ownToken.slice(-16))
      assert.include(json, `ghp_${"aB3dE5".repeat(6)}`)
    })
  )

  it.effect("that only reads is not an effect, and long messages are cut", () =>
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
      what: "of a tool that the agent does not have",
      name: "task_delete",
      parameters: { taskId: "task_1", reason: "not needed" },
      code: "forbidden",
      names: "task_load"
    },
    {
      what: "on a task when the run has none",
      name: "task_status",
      parameters: { taskId: "task_1", status: "review" },
      code: "forbidden",
      names: "taskId",
      context: sampleContext({ task: null })
    },
    {
      what: "with arguments that are not JSON",
      name: "task_load",
      parameters: "{taskId:",
      code: "malformed",
      names: "JSON"
    },
    {
      what: "with arguments that are a list",
      name: "task_load",
      parameters: "[1]",
      code: "malformed",
      names: "JSON object"
    },
    { what: "without arguments", name: "task_load", parameters: "", code: "malformed", names: "taskId" },
    { what: "with null arguments", name: "task_load", parameters: "null", code: "malformed", names: "JSON object" },
    {
      what: "without a required argument",
      name: "task_status",
      parameters: { taskId: "task_1" },
      code: "malformed",
      names: "status"
    },
    {
      what: "with an empty required argument",
      name: "task_load",
      parameters: { taskId: "" },
      code: "malformed",
      names: "taskId"
    },
    {
      what: "with a value that is not among the allowed",
      name: "task_status",
      parameters: { taskId: "task_1", status: "archived" },
      code: "malformed",
      names: "status"
    },
    {
      what: "with a number out of range",
      name: "task_load",
      parameters: { taskId: "task_1", messageLimit: 201 },
      code: "malformed",
      names: "messageLimit"
    },
    {
      what: "with a key that the tool does not have",
      name: "task_status",
      parameters: { taskId: "task_1", status: "review", blockedreason: "typo" },
      code: "malformed",
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

  it.effect(
    "treats empty and null optional arguments as absent, because the gateway turns null into an empty string",
    () =>
      Effect.gen(function* () {
        const { call, changes } = yield* setUp()
        yield* call("task_status", { taskId: "task_1", status: "review", blockedReason: "" })
        yield* call("task_status", { taskId: "task_1", status: "review", blockedReason: null })
        const expected = [fence, { taskId: "task_1", status: "review" }]
        assert.deepStrictEqual(yield* changes, [expected, expected] as never)
      })
  )

  it.effect("has a reason only for a block", () =>
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

  it.effect("with arguments nested too deeply for an error message is refused as malformed", () =>
    Effect.gen(function* () {
      const { call } = yield* setUp()
      const deep = `${"[".repeat(50_000)}${"]".repeat(50_000)}`
      for (const text of [deep, `{"taskId":${deep}}`, `{"taskId":"task_1","x":${deep}}`]) {
        const result = yield* call("task_load", text)
        assert.strictEqual(result.answer["code"], "malformed")
        assert.strictEqual(result.answer["tool"], "task_load")
        assert.isBelow(result.json.length, 1_200)
      }
    })
  )

  it.effect("on a task that was created in this run is allowed", () =>
    Effect.gen(function* () {
      const { changes, executeAgentTool, spending } = yield* setUp()
      const parameters = JSON.stringify({ taskId: "task_2", status: "review" })
      const call = { callId: "call_1", name: "task_status", arguments: parameters }
      const run = { context: sampleContext(), fence, spending, createdTaskIds: new Set(["task_2"]) }
      assert.isTrue((yield* executeAgentTool(run, call)).success)
      assert.lengthOf(yield* changes, 1)
    })
  )

  it.effect("on a task that an earlier attempt may have created is decided by the control plane", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      const after = (tool: string) =>
        sampleContext({ earlier: { attempts: 1, lastError: null, effects: [{ tool, summary: "", at: 0 }] } })
      const parameters = { taskId: "task_2", status: "review" }
      assert.isTrue((yield* call("task_status", parameters, after("task_create"))).success)
      assert.strictEqual((yield* call("task_status", parameters, after("task_message"))).code, "forbidden")
      assert.lengthOf(yield* changes, 1)
    })
  )

  it.effect("in a heartbeat may act on the tasks shown, and never sets done", () =>
    Effect.gen(function* () {
      const { call } = yield* setUp()
      const { agent } = sampleContext()
      const heartbeat: RunContext = {
        ...sampleContext({ task: null, agent: { ...agent, flags: { ...defaultFlags, canMarkDone: true } } }),
        heartbeat: { taskIds: ["task_5"] }
      }
      assert.isTrue((yield* call("task_status", { taskId: "task_5", status: "review" }, heartbeat)).success)
      assert.strictEqual(
        (yield* call("task_status", { taskId: "task_5", status: "done" }, heartbeat)).code,
        "forbidden"
      )
      assert.strictEqual(
        (yield* call("task_status", { taskId: "task_6", status: "review" }, heartbeat)).code,
        "forbidden"
      )
    })
  )

  it.effect("writes no secret of this process into text for people", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      const token = `mc_service_testaccount1_${"0".repeat(64)}`
      yield* call("task_status", { taskId: "task_1", status: "blocked", blockedReason: `the token is ${token}` })
      assert.notInclude(JSON.stringify(yield* changes), "0".repeat(16))
      assert.include(JSON.stringify(yield* changes), "<redacted>")
    })
  )

  it.effect("does not treat an address in one argument and a mention in the next as an address with a password", () =>
    Effect.gen(function* () {
      const { call, changes } = yield* setUp()
      const reason = "@qa knows"
      const text = JSON.stringify({ taskId: "http://task_1", status: "blocked", blockedReason: reason })
      // Compact JSON puts a colon between them, as a URL does before its password.
      assert.match(text, /:\/\/task_1","status":"blocked","blockedReason":"@/)
      assert.strictEqual((yield* call("task_status", text)).code, "forbidden")
      const result = yield* call("task_status", text.replace("http://task_1", "task_1"))
      assert.isTrue(result.success)
      assert.strictEqual((yield* changes)[0]?.[1].blockedReason, reason)
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
      const { call } = yield* setUp(refusedArchived)
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

  it.effect.each([
    ["null", undefined, "task_status", "task_status", LATENCY, null],
    ["its refusal", refusedArchived, "task_status", "task_status", LATENCY, "conflict"],
    ["a lost lease", new LeaseLost({ function: "setStatus" }), "task_status", "task_status", LATENCY, "LeaseLost"],
    ["a made-up name", undefined, "sudo", "unknown", 0, "forbidden"]
  ] as const)("is noted as a step with its duration and as error: %s", ([, failure, name, tool, durationMs, error]) =>
    Effect.gen(function* () {
      const { call, steps } = yield* setUp(failure, true)
      const fiber = yield* Effect.forkChild(Effect.exit(call(name, { taskId: "task_1", status: "review" })))
      yield* TestClock.adjust(LATENCY)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* steps, [{ kind: "tool", tool, startMs: 0, durationMs, error }])
    })
  )

  it.effect("whose lease is lost, or whose control plane is down, ends the turn", () =>
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
