import { createServer } from "node:http"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { httpAccessIn, serveActingModel } from "../actingModel.ts"
import { receiveOtlp } from "../otlpReceiver.ts"
import type { ReceivedSpan, OtlpReceiver } from "../otlpReceiver.ts"
import { creatingTeam, eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const question = "@engineer what of the heron's nest?"
const answer = "The heron moved out in spring."
const title = "Renew the heron's certificate"

const makesATask = {
  fallback: { text: "NO_ACTION" },
  rules: [
    { matchSystem: "You are Engineer", match: '"tool":"task_create"', actions: [{ text: answer }] },
    {
      matchSystem: "You are Engineer",
      match: "mentioned you",
      repeat: true,
      actions: [{ toolCalls: [{ name: "task_create", args: { title } }] }]
    }
  ]
}

/** Spans are sent at once, so that no test waits for a batch. */
const sending = (receiver: OtlpReceiver): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
  OTEL_BSP_SCHEDULE_DELAY: "50"
})

type Row = { readonly id: string; readonly type: string; readonly state: string; readonly traceId: string | null }

const mentions = (setup: Setup): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.map(setup.notifications, (rows) =>
    (rows as ReadonlyArray<any>).filter(({ recipientName, type }) => type === "mention" && recipientName === "Engineer")
  )

const rootsOf = (spans: ReadonlyArray<ReceivedSpan>, name: string) =>
  spans.filter((span) => span.name === name && span.parentSpanId === undefined)

/** The spans of the root's trace, once the receiver has it. */
const traceOf = (receiver: OtlpReceiver, isIt: (root: ReceivedSpan) => boolean) =>
  Effect.map(
    eventually(
      Effect.sync(() => receiver.spans().find((span) => span.parentSpanId === undefined && isIt(span))),
      (root) => root !== undefined
    ),
    (root) => ({ root: root!, spans: receiver.spans().filter(({ traceId }) => traceId === root!.traceId) })
  )

const namesOf = (spans: ReadonlyArray<ReceivedSpan>) => spans.map(({ name }) => name).toSorted()

// One at a time: a receiver of traces also gets the spans that the other receivers of its process get.
describe("traces", () => {
  it.live("show a delivery from claim to reply in one connected trace, and the process's start and end", () =>
    Effect.gen(function* () {
      const receiver = yield* receiveOtlp
      const setup = yield* makeSetup({ team: creatingTeam })
      yield* setup.script(makesATask)
      const runtime = yield* setup.startRuntime({ ...sending(receiver), OTEL_RESOURCE_ATTRIBUTES: "place=pond%20side" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, question)
      const [row] = yield* eventually(mentions(setup), (rows) => rows[0]?.state === "delivered")
      const { root, spans } = yield* traceOf(
        receiver,
        ({ attributes, name }) =>
          name === "RunExecution.execute" && attributes["mission_control.notification.id"] === row!.id
      )
      assert.deepStrictEqual(namesOf(spans), [
        "ControlPlane.claim",
        "ControlPlane.complete",
        "RunExecution.execute",
        "execute_tool task_create",
        "invoke_agent Engineer",
        "invoke_agent Engineer"
      ])
      for (const span of spans) {
        if (span !== root) assert.strictEqual(span.parentSpanId, root.spanId, span.name)
        assert.isTrue(span.startNanos >= root.startNanos && span.endNanos <= root.endNanos, span.name)
        assert.notStrictEqual(span.status.code, "2", span.name)
      }

      const { accountId, agents } = setup.account
      const sessionKey = `agent:engineer:${accountId}`
      const session = root.attributes["mission_control.session"]
      assert.match(String(session), /^[0-9a-f]{12}$/)
      const { "mission_control.gateway.version": gatewayVersion, "mission_control.queue.wait_ms": waited } =
        root.attributes
      assert.isString(gatewayVersion)
      assert.isAtLeast(Number(waited), 0)
      const rounds = spans.filter(({ name }) => name.startsWith("invoke_agent"))
      const sum = (name: string) => rounds.reduce((total, { attributes }) => total + Number(attributes[name]), 0)
      assert.deepInclude(root.attributes, {
        "mission_control.run.id": row!.id,
        "mission_control.run.kind": "notification",
        "mission_control.notification.type": "mention",
        "mission_control.task.id": taskId,
        "mission_control.event.count": 1,
        "mission_control.hops": 0,
        "mission_control.attempt": 1,
        "mission_control.failures": 0,
        "mission_control.silences": 0,
        "mission_control.rounds": 2,
        "mission_control.tool_calls": 1,
        "mission_control.outcome": "replied",
        "gen_ai.agent.id": agents["engineer"],
        "gen_ai.agent.name": "Engineer",
        "gen_ai.conversation.id": sessionKey,
        "gen_ai.usage.input_tokens": sum("gen_ai.usage.input_tokens"),
        "gen_ai.usage.output_tokens": sum("gen_ai.usage.output_tokens")
      })
      assert.isAbove(sum("gen_ai.usage.input_tokens"), 0)
      assert.isString(root.resource["mission_control.version"])
      const resource = {
        "service.name": "mission-control-runtime",
        "mission_control.account.id": accountId,
        "mission_control.runtime.id": "test",
        place: "pond side"
      }
      assert.deepInclude(root.resource, resource)
      for (const { attributes } of rounds) {
        assert.deepInclude(attributes, {
          "gen_ai.operation.name": "invoke_agent",
          "gen_ai.provider.name": "openclaw",
          "gen_ai.agent.id": agents["engineer"],
          "gen_ai.agent.name": "Engineer",
          "gen_ai.conversation.id": sessionKey,
          "gen_ai.request.model": "openclaw/engineer",
          "mission_control.run.id": row!.id
        })
        assert.match(String(attributes["gen_ai.response.id"]), /^resp_/)
      }
      assert.sameDeepMembers(
        rounds.map(({ attributes }) => attributes["gen_ai.response.finish_reasons"]),
        [["tool_calls"], ["stop"]]
      )
      const tool = spans.find(({ name }) => name === "execute_tool task_create")!
      assert.deepInclude(tool.attributes, {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "task_create",
        "gen_ai.tool.type": "function",
        "gen_ai.conversation.id": sessionKey,
        "mission_control.tool.transport": "gateway"
      })
      assert.isNotEmpty(String(tool.attributes["gen_ai.tool.call.id"]))

      // It identifies the delivery at the gateway, in the control plane and in the log.
      assert.strictEqual(row!.traceId, root.traceId)
      const requests = (yield* setup.requests) as ReadonlyArray<any>
      assert.sameMembers(
        requests.flatMap(({ agent, traceparent }) =>
          agent === "engineer" && String(traceparent).includes(root.traceId) ? [traceparent] : []
        ),
        rounds.map(({ spanId }) => `00-${root.traceId}-${spanId}-01`)
      )
      const lines = runtime
        .output()
        .split("\n")
        .filter((line) => line.includes(row!.id))
        .map((line) => JSON.parse(line))
      assert.includeMembers(
        lines.map(({ message }) => message),
        ["tool called", "delivery replied"]
      )
      for (const line of lines) {
        assert.deepInclude(line, {
          notification: row!.id,
          agent: "engineer",
          session,
          attempt: 1,
          traceId: root.traceId
        })
      }

      // The last spans are sent before the process exits.
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const all = receiver.spans()
      for (const name of ["Runtime.boot", "AgentSync.pushed", "Runtime.drain", "Presence.offline"]) {
        assert.isNotEmpty(rootsOf(all, name), name)
      }
      const [drain] = rootsOf(all, "Runtime.drain")
      assert.strictEqual(drain!.attributes["mission_control.stop.reason"], "signal")
      assert.isNumber(drain!.attributes["mission_control.stop.live_turns"])
      // So are the last log lines. They are the lines of the log, with the ids of the span that was active.
      const sent = receiver.lines()
      const ofRun = sent.filter(({ attributes }) => attributes["notification"] === row!.id)
      assert.deepStrictEqual(
        ofRun.map(({ body }) => body),
        lines.map(({ message }) => message)
      )
      for (const line of ofRun) {
        assert.deepInclude(line, { traceId: root.traceId, severity: "INFO" })
        assert.deepInclude(line.attributes, { agent: "engineer", session, attempt: 1 })
        assert.deepInclude(line.resource, resource)
      }
      const called = ofRun.find(({ body }) => body === "tool called")
      assert.strictEqual(called?.spanId, tool.spanId)
      assert.isTrue(sent.some(({ body }) => String(body).startsWith("ready")))
      // No spans of Effect itself, of probes or of scrapes, although the launcher has called /readyz many times.
      assert.isEmpty(
        all.filter(({ name }) => /^http|^GET|^POST|DeliveryLoop|Turns|Gateway\.send|LiveRuns|Probes/.test(name))
      )
      for (const words of [question, answer, title, "heron"]) assert.notInclude(receiver.text(), words)
      assert.lengthOf(
        runtime
          .output()
          .split("\n")
          .filter((line) => line.includes(`traces go to ${receiver.url}/v1/traces`)),
        1
      )
    }).pipe(Effect.scoped)
  )

  it.live("link each attempt to the previous one, released or failed", () =>
    Effect.gen(function* () {
      const receiver = yield* receiveOtlp
      const setup = yield* makeSetup({ team: creatingTeam })
      yield* setup.script({ fallback: { text: answer } })
      const refusal = { contentType: "application/json", body: JSON.stringify({ error: { message: "no, thank you" } }) }
      for (const status of [503, 400]) yield* setup.fault({ kind: "answer", status, ...refusal })
      yield* setup.startRuntime({ ...sending(receiver), DELIVERY_BACKOFF_BASE_MS: "1000" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, question)
      const [row] = yield* eventually(mentions(setup), (rows) => rows[0]?.state === "delivered")
      const isOfRow = ({ attributes }: ReceivedSpan) => attributes["mission_control.run.id"] === row!.id
      const roots = yield* eventually(
        Effect.sync(() => rootsOf(receiver.spans(), "RunExecution.execute").filter(isOfRow)),
        (found) => found.length === 3
      )
      const [first, second, third] = roots.toSorted((a, b) => (a.startNanos < b.startNanos ? -1 : 1))
      assert.deepStrictEqual(first!.links, [])
      assert.deepStrictEqual(second!.links, [{ traceId: first!.traceId, spanId: first!.spanId }])
      assert.deepStrictEqual(third!.links, [{ traceId: second!.traceId, spanId: second!.spanId }])
      assert.strictEqual(new Set(roots.map(({ traceId }) => traceId)).size, 3)
      assert.deepStrictEqual(
        [first!, second!, third!].map(({ attributes, status }) => [
          attributes["mission_control.outcome"],
          attributes["error.type"],
          status.code
        ]),
        [
          ["retrying", "GatewayUnreachable", "2"],
          ["retrying", "TurnRefused", "2"],
          ["replied", undefined, "0"]
        ]
      )
      const rounds = receiver
        .spans()
        .filter(({ name, traceId }) => name.startsWith("invoke_agent") && traceId === second!.traceId)
      assert.deepStrictEqual(
        rounds.map(({ attributes }) => attributes["error.type"]),
        ["TurnRefused"]
      )
      assert.strictEqual(row!.traceId, third!.traceId)
    }).pipe(Effect.scoped)
  )

  it.live("connect calls of an agent's endpoint to its run, and contain texts only if that is enabled", () =>
    Effect.gen(function* () {
      const receiver = yield* receiveOtlp
      const modelUrl = yield* serveActingModel(async ({ system, user }) => {
        if (!system.includes("You are Engineer")) return "NO_ACTION"
        await httpAccessIn(user).call("/agent/task-create", { title })
        await httpAccessIn(user).call("/agent/task-load", { taskId: "nowhere" })
        return answer
      })
      const setup = yield* makeSetup({ team: creatingTeam, gatewayArgs: ["--model-url", modelUrl] })
      yield* setup.startRuntime({
        ...sending(receiver),
        OPENCLAW_CLIENT_TOOLS_ENABLED: "false",
        TRACE_CONTENT: "true"
      })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, question)
      const [row] = yield* eventually(mentions(setup), (rows) => rows[0]?.state === "delivered")
      const { root, spans } = yield* traceOf(
        receiver,
        ({ attributes }) => attributes["mission_control.notification.id"] === row!.id
      )
      const calls = spans.filter(({ name }) => name === "AgentEndpoints.call")
      assert.lengthOf(calls, 2)
      for (const call of calls) assert.strictEqual(call.parentSpanId, root.spanId)
      const tools = spans.filter(({ name }) => name.startsWith("execute_tool"))
      assert.sameMembers(
        tools.map(({ parentSpanId }) => parentSpanId),
        calls.map(({ spanId }) => spanId)
      )
      const [create, load] = ["task_create", "task_load"].map((name) => spans.find((span) => span.name.endsWith(name))!)
      assert.deepInclude(create!.attributes, {
        "mission_control.tool.transport": "http",
        "gen_ai.tool.call.id": "http"
      })
      assert.include(String(create!.attributes["gen_ai.tool.call.arguments"]), title)
      assert.include(String(create!.attributes["gen_ai.tool.call.result"]), '"success":true')
      assert.strictEqual(load!.attributes["error.type"], "not_found")
      const [round] = spans.filter(({ name }) => name.startsWith("invoke_agent"))
      assert.include(String(round!.attributes["gen_ai.input.messages"]), question)
      assert.include(String(round!.attributes["gen_ai.output.messages"]), answer)
      assert.include(String(round!.attributes["gen_ai.system_instructions"]), "You are Engineer")
      // The run's capability is there for the agent only.
      assert.include(String(round!.attributes["gen_ai.input.messages"]), "x-mission-control-capability: <redacted>")
    }).pipe(Effect.scoped)
  )
})

/** Accepts connections and never answers. */
const deafServer = Effect.map(
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<Server>((resolve) => {
          const server = createServer(() => {})
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
    ),
    (server) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  ),
  (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
)

const fromSource = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

describe("OpenTelemetry", () => {
  it.live(
    "is loaded only if traces or logs are sent, and delays the exit by at most three seconds if the receiver does not answer",
    () =>
      Effect.gen(function* () {
        const deaf = yield* deafServer
        const setup = yield* makeSetup({ team: creatingTeam })
        const outputOf = (env: Record<string, string>) =>
          Effect.gen(function* () {
            const watched = { NODE_OPTIONS: `--import=${new URL("fixtures/printLoads.ts", import.meta.url).href}` }
            // Runs from source, where the path of each loaded file names its package.
            const runtime = yield* setup.startRuntime({ ...watched, ...env }, { entry: fromSource })
            yield* runtime.signal("SIGTERM")
            assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
            const lines = runtime.output().split("\n")
            assert.include(lines, "loads are printed")
            return lines
          }).pipe(Effect.scoped)
        const isLoad = (line: string) => line.startsWith("loads file:")

        const off = yield* outputOf({})
        assert.isEmpty(off.filter(isLoad))
        assert.isEmpty(off.filter((line) => line.includes("traces")))

        const on = yield* outputOf({
          OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${deaf}/somewhere`,
          OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: `${deaf}/somewhere/else`
        })
        assert.isNotEmpty(on.filter(isLoad))
        const at = (words: string) => on.findIndex((line) => line.includes(words))
        assert.isAtLeast(at(`traces go to ${deaf}/somewhere`), 0)
        // Everything else has already ended.
        assert.isAbove(at("the last spans were not sent"), at('"offline"'))
        assert.isAbove(at("the last log lines were not sent"), at('"offline"'))
      }).pipe(Effect.scoped)
  )
})
