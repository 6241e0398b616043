import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import { personAt } from "../../local/person.ts"
import { receiveOtlp } from "../otlpReceiver.ts"
import { eventually } from "../process/setup.ts"
import type { Message, NotificationRow } from "../process/setup.ts"
import { playScript, setting, sharedGateway } from "./sharedGateway.ts"

const taskId = { taskId: "task id: ([A-Za-z0-9]+)" }
const script: Script = {
  rules: [
    { matchSystem: "You are Alpha One", match: '"status":"in_progress"', actions: [{ text: "I have taken it." }] },
    {
      matchSystem: "You are Alpha One",
      match: '"tool":"task_load"',
      capture: taskId,
      actions: [{ toolCalls: [{ name: "task_status", args: { taskId: "{{taskId}}", status: "in_progress" } }] }]
    },
    {
      matchSystem: "You are Alpha One",
      match: "mentioned you",
      capture: taskId,
      actions: [{ toolCalls: [{ name: "task_load", args: { taskId: "{{taskId}}" } }] }]
    }
  ]
}

describe("the runtime with a real gateway", () => {
  it.live(
    "answers a person's message with two tool rounds, the task in progress, a reply and one trace, and is offline after Ctrl-C",
    () =>
      Effect.gen(function* () {
        const receiver = yield* receiveOtlp
        yield* playScript(script)
        const plane = yield* launchPlane({})
        const person = personAt(plane.url, plane.adminKey)
        // The plane's ids repeat, and the tests share a gateway. Another account id gives this test its own session.
        yield* Effect.promise(() => person.mutation("app/accounts:create", { name: "Not used" }))
        const account = yield* Effect.promise(() =>
          makeAccount(person, [{ slug: "alpha", name: "Alpha One", role: "builds" }])
        )
        const { accountId, agents } = account
        const task = yield* Effect.promise(() =>
          person.mutation("app/tasks:create", {
            accountId,
            title: "Fix the login button",
            assigneeIds: [agents["alpha"]!]
          })
        )
        yield* Effect.promise(() =>
          person.mutation("app/messages:post", { accountId, taskId: task.taskId, content: "@alpha can you take this?" })
        )
        const runtime = yield* launchRuntime({
          env: {
            ...runtimeEnv(account, plane.url, sharedGateway()),
            OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
            OTEL_BSP_SCHEDULE_DELAY: "50"
          }
        })
        const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
          person.query("app/messages:list", { accountId, taskId: task.taskId })
        )
        yield* eventually(messages, (thread) => thread.some(({ content }) => content === "I have taken it."))
        const { task: after } = yield* Effect.promise(() =>
          person.query("app/tasks:get", { accountId, taskId: task.taskId })
        )
        assert.strictEqual(after.status, "in_progress")
        const notifications: Effect.Effect<ReadonlyArray<NotificationRow>> = Effect.promise(() =>
          person.query("app/notifications:list", { accountId })
        ).pipe(Effect.map((all: ReadonlyArray<NotificationRow>) => all.filter((row) => row.recipientType === "agent")))
        const rows = yield* eventually(notifications, (all) => all.every(({ state }) => state === "delivered"))
        const mention = rows.find(({ type }) => type === "mention")!
        assert.strictEqual(mention.outcome, "replied")
        const tools = runtime
          .output()
          .split("\n")
          .filter((line) => line.includes('"tool called"'))
          .map((line) => JSON.parse(line))
        assert.deepStrictEqual(
          tools.slice(0, 2).map(({ success, tool }) => [tool, success]),
          [
            ["task_load", true],
            ["task_status", true]
          ]
        )
        yield* runtime.signal("SIGINT")
        assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })

        // The exiting process has sent the last spans.
        const { traceId } = mention as NotificationRow & { readonly traceId: string }
        const spans = receiver
          .spans()
          .filter((span) => span.traceId === traceId)
          .toSorted((a, b) => (a.startNanos < b.startNanos ? -1 : 1))
        const root = spans.find(({ parentSpanId }) => parentSpanId === undefined)!
        assert.deepStrictEqual(spans.map(({ name }) => name).toSorted(), [
          "ControlPlane.claim",
          "ControlPlane.complete",
          "RunExecution.execute",
          "execute_tool task_load",
          "execute_tool task_status",
          "invoke_agent Alpha One",
          "invoke_agent Alpha One",
          "invoke_agent Alpha One"
        ])
        for (const span of spans) {
          if (span !== root) assert.strictEqual(span.parentSpanId, root.spanId, span.name)
          assert.notStrictEqual(span.status.code, "2", span.name)
          assert.notProperty(span.attributes, "error.type")
        }
        const rounds = spans.filter(({ name }) => name.startsWith("invoke_agent"))
        const sum = (name: string) => rounds.reduce((total, { attributes }) => total + Number(attributes[name]), 0)
        const agent = {
          "gen_ai.agent.id": agents["alpha"],
          "gen_ai.agent.name": "Alpha One",
          "gen_ai.conversation.id": `agent:alpha:${accountId}`
        }
        assert.deepInclude(root.attributes, {
          ...agent,
          "gen_ai.usage.input_tokens": sum("gen_ai.usage.input_tokens"),
          "gen_ai.usage.output_tokens": sum("gen_ai.usage.output_tokens"),
          "mission_control.notification.id": mention.id,
          "mission_control.notification.type": "mention",
          "mission_control.task.id": task.taskId,
          "mission_control.hops": 0,
          "mission_control.attempt": 1,
          "mission_control.rounds": 3,
          "mission_control.tool_calls": 2,
          "mission_control.outcome": "replied",
          "mission_control.gateway.version": setting("OPENCLAW_TEST_VERSION")
        })
        assert.isAbove(sum("gen_ai.usage.input_tokens"), 0)
        assert.isAbove(sum("gen_ai.usage.output_tokens"), 0)
        assert.isAtLeast(Number(root.attributes["mission_control.queue.wait_ms"]), 0)
        assert.strictEqual(root.resource["mission_control.account.id"], accountId)
        assert.isString(root.resource["mission_control.version"])
        for (const { attributes } of rounds) {
          assert.deepInclude(attributes, { ...agent, "gen_ai.operation.name": "invoke_agent" })
          assert.match(String(attributes["gen_ai.response.id"]), /^resp_/)
        }
        assert.deepStrictEqual(
          rounds.map(({ attributes }) => attributes["gen_ai.response.finish_reasons"]),
          [["tool_calls"], ["tool_calls"], ["stop"]]
        )
        const calls = new Set<unknown>()
        for (const tool of ["task_load", "task_status"]) {
          const span = spans.find(({ name }) => name === `execute_tool ${tool}`)!
          assert.deepInclude(span.attributes, {
            ...agent,
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "mission_control.tool.transport": "gateway"
          })
          assert.isString(span.attributes["gen_ai.tool.call.id"])
          calls.add(span.attributes["gen_ai.tool.call.id"])
        }
        assert.strictEqual(calls.size, 2)
        const [presence] = yield* Effect.promise(() => person.query("app/runtimes:list", { accountId }))
        assert.strictEqual(presence.status, "offline")
      }).pipe(Effect.scoped)
  )
})
