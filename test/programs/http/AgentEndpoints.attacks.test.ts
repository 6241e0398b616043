import { request } from "node:http"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted, Ref, Result, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { DeliveryContext } from "../../../src/domain/delivery/DeliveryContext.ts"
import { fenceOf } from "../../../src/domain/delivery/Run.ts"
import { CAPABILITY_HEADER, SESSION_KEY_HEADER } from "../../../src/domain/http/Capability.ts"
import { loopback, parseAddressList } from "../../../src/domain/settings/AddressList.ts"
import { noSpending } from "../../../src/domain/usage/Spending.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import type { LiveRun } from "../../../src/services/LiveRuns.ts"
import { allTools } from "../../../src/services/tools/AllTools.ts"
import { sampleContext, sampleRun, sampleTask } from "../../domain/delivery/sampleContext.ts"
import { makeToolSide } from "./toolHouse.ts"

const path = "/agent/task-load"
const good = { taskId: "task_1" }

/** The endpoints over a control plane that counts what reaches it. */
const setUp = (settings: Partial<Settings> = {}) =>
  Effect.gen(function* () {
    const loads = yield* Ref.make(0)
    const controlPlane = Layer.mock(ControlPlane, {
      bootId: "boot",
      loadTask: () =>
        Effect.as(
          Ref.update(loads, (count) => count + 1),
          { task: sampleTask(), thread: [] }
        ),
      getTask: () => Effect.die(new Error("a bug")),
      createTask: () => Effect.succeed({ taskId: "task_new", status: "inbox" as const, repeated: false })
    })
    const side = yield* makeToolSide(settings, controlPlane)
    const run = yield* side.liveRuns.open({
      context: sampleContext(),
      fence: fenceOf(sampleRun()),
      spending: Ref.makeUnsafe(noSpending)
    })
    const status = (headers: Record<string, string>, body: unknown = good) =>
      Effect.map(
        side.http(path, {
          method: "POST",
          headers: { "content-type": "application/json", ...headers },
          body: typeof body === "string" ? body : JSON.stringify(body)
        }),
        (answer) => answer.status
      )
    return { ...side, loads: Ref.get(loads), run, status }
  })

const credentials = (sessionKey: string, capability: string) => ({
  [SESSION_KEY_HEADER]: sessionKey,
  [CAPABILITY_HEADER]: capability
})

const capabilityOf = (run: LiveRun) => Redacted.value(run.capability)

/** A request as no well-behaved client sends it: any Host, any target, any body. */
const raw = (
  port: number,
  options: {
    readonly target?: string
    readonly method?: string
    readonly headers: Record<string, string>
    readonly body?: ReadonlyArray<string>
  }
) =>
  Effect.callback<{ readonly status: number; readonly headers: Record<string, unknown>; readonly text: string }>(
    (resume) => {
      const outgoing = request(
        {
          host: "127.0.0.1",
          port,
          path: options.target ?? path,
          method: options.method ?? "POST",
          headers: options.headers,
          setHost: false,
          agent: false
        },
        (response) => {
          let text = ""
          response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk))
          // A server that answers before it has read everything may cut the line.
          const done = () =>
            resume(Effect.succeed({ status: response.statusCode ?? 0, headers: response.headers, text }))
          response.on("end", done)
          response.on("error", done)
        }
      )
      outgoing.on("error", () => {})
      for (const chunk of options.body ?? [JSON.stringify(good)]) outgoing.write(chunk)
      outgoing.end()
      return Effect.sync(() => outgoing.destroy())
    }
  )

describe("the caller", () => {
  it.effect("is an agent in a live run, known by session key and capability", () =>
    Effect.gen(function* () {
      const { loads, run, status } = yield* setUp()
      assert.strictEqual(yield* status(credentials(run.context.sessionKey, capabilityOf(run))), 200)
      assert.strictEqual(yield* loads, 1)
    })
  )

  const forgeries: ReadonlyArray<readonly [string, (run: LiveRun) => Record<string, string>]> = [
    ["nothing", () => ({})],
    ["no capability", ({ context }) => ({ [SESSION_KEY_HEADER]: context.sessionKey })],
    ["no session key", (run) => ({ [CAPABILITY_HEADER]: capabilityOf(run) })],
    ["an empty capability", ({ context }) => credentials(context.sessionKey, "")],
    ["a forged capability", ({ context }) => credentials(context.sessionKey, "A".repeat(43))],
    ["a capability cut short", (run) => credentials(run.context.sessionKey, capabilityOf(run).slice(0, -1))],
    ["a capability with more behind it", (run) => credentials(run.context.sessionKey, `${capabilityOf(run)}A`)],
    [
      "the capability twice",
      (run) => credentials(run.context.sessionKey, `${capabilityOf(run)}, ${capabilityOf(run)}`)
    ],
    ["a session that has no run", (run) => credentials("agent:qa:testaccount1", capabilityOf(run))],
    ["the session in another case", (run) => credentials(run.context.sessionKey.toUpperCase(), capabilityOf(run))],
    ["a key that is none", (run) => credentials("__proto__", capabilityOf(run))],
    ["what stands in for no capability", () => credentials("agent:nobody:testaccount1", "-".repeat(43))]
  ]
  for (const [what, make] of forgeries) {
    it.effect(`with ${what} is refused with 401 and without the control plane`, () =>
      Effect.gen(function* () {
        const { loads, run, status } = yield* setUp()
        assert.strictEqual(yield* status(make(run)), 401)
        assert.strictEqual(yield* loads, 0)
      })
    )
  }

  it.effect("is refused with the capability of another agent, task, epoch or process", () =>
    Effect.gen(function* () {
      const { liveRuns, run, status } = yield* setUp()
      const { context } = run
      const open = (changes: Partial<DeliveryContext>, epoch = 3) =>
        liveRuns.open({
          context: { ...context, ...changes },
          fence: { run: "notification_1", session: "session_x", epoch },
          spending: run.spending
        })
      const others = [
        yield* open({ sessionKey: "agent:qa:testaccount1", agent: { ...context.agent, id: "agent_qa", slug: "qa" } }),
        yield* open({ sessionKey: `${context.sessionKey}:task:task_2`, task: sampleTask({ id: "task_2" }) })
      ]
      const elsewhere = yield* setUp()
      for (const other of [...others, elsewhere.run]) {
        assert.strictEqual(yield* status(credentials(context.sessionKey, capabilityOf(other))), 401)
      }
      // The session is claimed anew: the same agent, task and notification under the next epoch.
      const next = yield* open({}, 4)
      assert.strictEqual(yield* status(credentials(context.sessionKey, capabilityOf(run))), 401)
      assert.strictEqual(yield* status(credentials(context.sessionKey, capabilityOf(next))), 200)
    })
  )

  it.effect("is refused after the run has ended, by its end or its scope", () =>
    Effect.gen(function* () {
      const { liveRuns, run, status } = yield* setUp()
      const headers = credentials(run.context.sessionKey, capabilityOf(run))
      yield* run.end
      assert.strictEqual(yield* status(headers), 401)
      const scope = yield* Scope.make()
      const next = yield* Scope.provide(liveRuns.open(run), scope)
      assert.strictEqual(yield* status(headers), 200)
      // The end of the first run must not end the second.
      yield* run.end
      assert.strictEqual(yield* status(credentials(next.context.sessionKey, capabilityOf(next))), 200)
      yield* Scope.close(scope, { _tag: "Success", value: undefined } as never)
      assert.strictEqual(yield* status(headers), 401)
    })
  )

  it.effect("with AGENT_HTTP_AUTH=session-key needs the key of a session that has a live run here", () =>
    Effect.gen(function* () {
      const { run, status } = yield* setUp({ agentHttpAuth: "session-key" })
      assert.strictEqual(yield* status({ [SESSION_KEY_HEADER]: run.context.sessionKey }), 200)
      assert.strictEqual(yield* status({ [SESSION_KEY_HEADER]: "agent:qa:testaccount1" }), 401)
      assert.strictEqual(yield* status({}), 401)
      yield* run.end
      assert.strictEqual(yield* status({ [SESSION_KEY_HEADER]: run.context.sessionKey }), 401)
    })
  )

  it.effect("has a secret that the redactor removes from every text, also after the run has ended", () =>
    Effect.gen(function* () {
      const { liveRuns, redactor, run } = yield* setUp()
      assert.strictEqual(redactor.redact(`with ${capabilityOf(run)}, it says`), "with <redacted>, it says")
      const later = yield* Effect.scoped(
        liveRuns.open({
          context: sampleContext({ sessionKey: "agent:qa:testaccount1" }),
          fence: { ...run.fence, epoch: 9 },
          spending: run.spending
        })
      )
      assert.strictEqual(redactor.redact(capabilityOf(later)), "<redacted>")
    })
  )
})

describe("the address of a caller", () => {
  const mine = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:0:0:1"]
  const listed = ["10.20.0.1", "10.20.255.254", "::ffff:10.20.3.4", "fd00::1", "fdff:1::2"]
  const foreign = [
    "10.21.0.1",
    "10.19.255.255",
    "::ffff:10.21.0.1",
    "192.168.1.1",
    "172.17.0.1",
    "169.254.169.254",
    "8.8.8.8",
    "0.0.0.0",
    "255.255.255.255",
    "128.0.0.1",
    "126.255.255.255",
    "::",
    "::2",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "fe80::1%eth0",
    "fc00::1",
    "2001:db8::1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.01",
    "localhost",
    "127.0.0.1:1234",
    "[::1]",
    "127.0.0.1, 8.8.8.8",
    "unknown",
    "1"
  ]
  it.effect(
    `is this machine and what AGENT_HTTP_ALLOW lists, tried with ${mine.length + listed.length + foreign.length} addresses`,
    () =>
      Effect.gen(function* () {
        const { run, status } = yield* setUp({
          agentHttpAllow: Result.getOrThrow(parseAddressList("10.20.0.0/16,fd00::/8"))
        })
        const from = (address: string) =>
          status({
            ...credentials(run.context.sessionKey, capabilityOf(run)),
            "x-test-remote-address": address
          })
        assert.isAtLeast(mine.length + listed.length + foreign.length, 40)
        for (const address of [...mine, ...listed]) assert.strictEqual(yield* from(address), 200, address)
        for (const address of foreign) assert.strictEqual(yield* from(address), 403, address)
      })
  )

  it.effect("is the socket's, whatever proxies write", () =>
    Effect.gen(function* () {
      const { http, run, status } = yield* setUp()
      const headers = credentials(run.context.sessionKey, capabilityOf(run))
      assert.strictEqual(yield* status({ ...headers, "x-forwarded-for": "8.8.8.8", forwarded: "for=8.8.8.8" }), 200)
      const away = { "x-test-remote-address": "8.8.8.8", "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1" }
      assert.strictEqual(yield* status({ ...headers, ...away }), 403)
      assert.strictEqual((yield* http("/openapi.json", { headers: away })).status, 403)
    })
  )

  it.effect("must use a host name of the process: another Host is refused, with any port", () =>
    Effect.gen(function* () {
      const { headersOf, port, run } = yield* setUp({
        agentHttpAllow: loopback,
        taskStatusBaseUrl: "http://Runtime.Internal:3100"
      })
      const under = (host: string, target = path) =>
        Effect.map(raw(port, { target, headers: { ...headersOf(run), host } }), ({ status }) => status)
      for (const host of ["localhost", `127.0.0.1:${port}`, "[::1]:80", "runtime.internal:3100", "RUNTIME.internal."]) {
        assert.strictEqual(yield* under(host), 200, host)
      }
      const others = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "a b",
        "localhost@evil",
        ""
      ]
      for (const host of others) assert.strictEqual(yield* under(host), 403, host)
      // The authority of an absolute target counts before the Host header.
      assert.strictEqual(yield* under("localhost", `http://evil.example${path}`), 403)
    })
  )

  it.effect("must not be a web page's: any Origin is refused", () =>
    Effect.gen(function* () {
      const { run, status, url } = yield* setUp()
      const headers = credentials(run.context.sessionKey, capabilityOf(run))
      for (const origin of ["https://evil.example", "null", url]) {
        assert.strictEqual(yield* status({ ...headers, origin }), 403, origin)
      }
    })
  )
})

describe("a request", () => {
  it.effect("with another method is answered 405 with Allow: POST, before any other check", () =>
    Effect.gen(function* () {
      const { http } = yield* setUp()
      for (const { name, path: each } of allTools) {
        for (const method of ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
          const answer = yield* http(each, { method, headers: { origin: "null", "x-test-remote-address": "8.8.8.8" } })
          assert.strictEqual(answer.status, 405, `${method} ${each}`)
          assert.strictEqual(answer.headers.get("allow"), "POST")
          assert.include(answer.body, { tool: name, success: false, code: "method_not_allowed" })
        }
      }
    })
  )

  it.effect("is checked in the contract's order: address, host, origin, type, session, size, format, policy", () =>
    Effect.gen(function* () {
      const { http, run } = yield* setUp()
      const steps: ReadonlyArray<readonly [number, string, Record<string, string>]> = [
        [403, "this address", { "x-test-remote-address": "8.8.8.8" }],
        [403, "web pages", { origin: "https://evil.example" }],
        [415, "content-type", { "content-type": "text/plain" }],
        [401, "session key", { [SESSION_KEY_HEADER]: "agent:qa:testaccount1" }],
        [413, "larger", {}]
      ]
      const huge = "x".repeat(300_000)
      for (const [index, [status, words]] of steps.entries()) {
        // Everything from here on is wrong too; the first of it is what is said.
        const wrong = Object.assign({}, ...steps.slice(index).map(([, , headers]) => headers)) as Record<string, string>
        const answer = yield* http(path, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            ...credentials(run.context.sessionKey, capabilityOf(run)),
            ...wrong
          },
          body: huge
        })
        assert.strictEqual(answer.status, status)
        assert.include(answer.body.error, words)
      }
    })
  )

  it.effect("with another media type than JSON is refused with 415", () =>
    Effect.gen(function* () {
      const { loads, run, status } = yield* setUp()
      const headers = credentials(run.context.sessionKey, capabilityOf(run))
      for (const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "multipart/form-data"
      ]) {
        assert.strictEqual(yield* status({ ...headers, "content-type": type }), 415, type)
      }
      assert.strictEqual(yield* loads, 0)
      assert.strictEqual(yield* status({ ...headers, "content-type": "application/json; charset=utf-8" }), 200)
    })
  )

  it.effect("of 10 MB is refused with 413, with a content length or in chunks", () =>
    Effect.gen(function* () {
      const { headersOf, loads, port, run, status } = yield* setUp()
      const headers = { ...headersOf(run), host: "localhost" }
      const chunk = "x".repeat(1024 * 1024)
      const told = yield* raw(port, {
        headers: { ...headers, "content-length": String(10 * chunk.length) },
        body: Array(10).fill(chunk)
      })
      assert.strictEqual(told.status, 413)
      const chunked = yield* raw(port, {
        headers: { ...headers, "transfer-encoding": "chunked" },
        body: Array(10).fill(chunk)
      })
      assert.strictEqual(chunked.status, 413)
      assert.strictEqual(yield* loads, 0)
      // The largest that fits is read, and then refused for what it says.
      const fits = JSON.stringify({ taskId: "task_1", x: "y".repeat(256 * 1024 - 30) })
      assert.strictEqual(yield* status(credentials(run.context.sessionKey, capabilityOf(run)), fits), 400)
    })
  )

  it.effect("whose body does not arrive is refused with 408", () =>
    Effect.gen(function* () {
      const { headersOf, port, run } = yield* setUp()
      const head = Object.entries({ ...headersOf(run), host: "localhost", "content-length": "1000" })
      const answered = yield* Deferred.make<string>()
      const socket = connect(port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      socket.on("data", (data) => Deferred.doneUnsafe(answered, Effect.succeed(data.toString())))
      socket.write(
        `POST ${path} HTTP/1.1\r\n${head.map(([key, value]) => `${key}: ${value}`).join("\r\n")}\r\n\r\n{"task`
      )
      // The request may still be on its way: the clock runs until the answer is there.
      const ticking = yield* Effect.forkChild(
        Effect.repeat(
          Effect.andThen(
            TestClock.adjust("2 seconds"),
            Effect.promise(() => new Promise((done) => setImmediate(done)))
          ),
          Schedule.forever
        )
      )
      const answer = yield* Deferred.await(answered)
      yield* Fiber.interrupt(ticking)
      assert.include(answer, "HTTP/1.1 408")
      assert.include(answer, '"code":"timeout"')
    })
  )

  const forms: ReadonlyArray<readonly [string, string]> = [
    ["is empty", ""],
    ["is blank", "  "],
    ["is broken JSON", '{"taskId":'],
    ["is a list", "[]"],
    ["is a number", "7"],
    ["is null", "null"],
    ["has a numeric id", '{"taskId":7}'],
    ["has an object for an id", '{"taskId":{"$ne":null}}'],
    ["has a list for an id", '{"taskId":["task_1"]}'],
    ["has a key too many", '{"taskId":"task_1","constructor":1}'],
    ["has __proto__ for a key", '{"taskId":"task_1","__proto__":{"messageLimit":1}}'],
    ["has a number beyond all numbers", '{"taskId":"task_1","messageLimit":1e999}'],
    ["repeats a key, whose last value counts", '{"taskId":"task_1","taskId":7}'],
    ["is nested a hundred thousand deep", `{"taskId":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["is nested deep where no key is known", `{"taskId":"task_1","x":${'{"a":'.repeat(30_000)}1${"}".repeat(30_000)}}`],
    ["is not UTF-8 text of JSON", "\uFFFD\uFFFD"]
  ]
  for (const [what, body] of forms) {
    it.effect(`whose body ${what} is refused with 400, and the next one is served`, () =>
      Effect.gen(function* () {
        const { loads, post, run } = yield* setUp()
        const answer = yield* post(path, run, body)
        assert.strictEqual(answer.status, 400)
        assert.include(answer.body, { tool: "task_load", success: false, code: "malformed" })
        assert.strictEqual(yield* loads, 0)
        assert.strictEqual((yield* post(path, run, good)).status, 200)
      })
    )
  }

  it.effect("that repeats a key with good values is served once, by the last of them", () =>
    Effect.gen(function* () {
      const { loads, post, run } = yield* setUp()
      assert.strictEqual((yield* post(path, run, '{"taskId":7,"taskId":"task_1"}')).status, 200)
      assert.strictEqual(yield* loads, 1)
    })
  )

  it.effect("for an unknown path is answered 404, slashes and dots included", () =>
    Effect.gen(function* () {
      const { headersOf, port, run } = yield* setUp()
      const headers = { ...headersOf(run), host: "localhost" }
      for (const target of [
        "//",
        "/",
        "/agent",
        "/agent/",
        "/agent/exec",
        "/%2e%2e/agent/task-load",
        "/agent/%00",
        "*"
      ]) {
        assert.strictEqual((yield* raw(port, { target, method: "GET", headers, body: [] })).status, 404, target)
      }
      assert.strictEqual((yield* raw(port, { headers })).status, 200)
    })
  )

  it.effect("that causes a defect is answered 500 without its cause, and the next one is served", () =>
    Effect.gen(function* () {
      const { liveRuns, post, run } = yield* setUp()
      const { context, fence, spending } = run
      const lead = yield* liveRuns.open({
        context: { ...context, agent: { ...context.agent, isOrchestrator: true } },
        fence,
        spending
      })
      const answer = yield* post("/agent/task-get", lead, good)
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(answer.body.code, "internal")
      assert.notInclude(JSON.stringify(answer.body), "a bug")
      assert.strictEqual((yield* post(path, lead, good)).status, 200)
    })
  )

  it.effect("with an effect belongs to the run, as does what it created, and the run's timeline shows it", () =>
    Effect.gen(function* () {
      const { liveRuns, post, run } = yield* setUp()
      const { context, fence, spending } = run
      const flags = { ...context.agent.flags, canCreateTasks: true }
      const maker = yield* liveRuns.open({
        context: { ...context, agent: { ...context.agent, flags } },
        fence,
        spending
      })
      assert.strictEqual((yield* post(path, maker, good)).status, 200)
      assert.deepStrictEqual(maker.httpEffects, [])
      assert.strictEqual((yield* post("/agent/task-create", maker, { title: "New" })).status, 200)
      assert.deepStrictEqual(maker.httpEffects, ["task_create"])
      assert.deepStrictEqual([...maker.createdTaskIds], ["task_new"])
      const { steps } = yield* Ref.get(spending)
      assert.deepStrictEqual(
        steps.map((step) => step.kind === "tool" && [step.tool, step.error]),
        [
          ["task_load", null],
          ["task_create", null]
        ]
      )
    })
  )
})

describe("the OpenAPI document", () => {
  it.effect("has every tool with the parameters of its function tool, and is for the same callers", () =>
    Effect.gen(function* () {
      const { agentTools, http } = yield* setUp()
      const { body, headers, status } = yield* http("/openapi.json")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("cache-control"), "no-store")
      assert.strictEqual(Object.keys(body.paths).length, allTools.length)
      const { agent } = sampleContext()
      const everything = sampleContext({
        agent: { ...agent, isOrchestrator: true, flags: { ...agent.flags, canCreateTasks: true } }
      })
      const offered = agentTools.offered(everything.agent)
      assert.strictEqual(offered.length, allTools.length)
      for (const tool of allTools) {
        const operation = body.paths[tool.path].post
        assert.strictEqual(operation.operationId, tool.name)
        assert.sameMembers(
          ["200", "400", "401", "403", "404", "405", "408", "409", "413", "415", "422", "429", "500", "503"],
          Object.keys(operation.responses)
        )
        const payload = operation.requestBody.content["application/json"].schema
        const parameters = offered.find(({ name }) => name === tool.name)?.parameters as {
          properties: object
          required: Array<string>
        }
        assert.deepStrictEqual(Object.keys(payload.properties ?? {}), Object.keys(parameters.properties), tool.name)
        assert.deepStrictEqual(payload.required ?? [], parameters.required, tool.name)
        assert.isFalse(payload.additionalProperties)
      }
      assert.strictEqual((yield* http("/openapi.json", { headers: { origin: "https://evil.example" } })).status, 403)
    })
  )
})
