import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { httpAccessIn, serveActingModel } from "../actingModel.ts"
import { creatingTeam, eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const title = "Renew the certificate"

/** Asks for the task in every attempt, in the same words, and replies with the tool's answer. */
const makesATask = {
  fallback: { text: "NO_ACTION" },
  rules: [
    { matchSystem: "You are Engineer", match: '"repeated":true', actions: [{ text: "It was made before." }] },
    { matchSystem: "You are Engineer", match: '"repeated":false', actions: [{ text: "Made." }] },
    {
      matchSystem: "You are Engineer",
      match: "mentioned you",
      repeat: true,
      actions: [{ toolCalls: [{ name: "task_create", args: { title } }] }]
    }
  ]
}

const tasksOf = (setup: Setup): Effect.Effect<ReadonlyArray<{ readonly title: string }>> =>
  Effect.promise(() => setup.person.query("app/tasks:list", { accountId: setup.account.accountId })).pipe(
    Effect.map((tasks) => tasks.filter((task: { readonly title: string }) => task.title === title))
  )

const replies = (setup: Setup, taskId: string) =>
  eventually(
    Effect.map(setup.messages(taskId), (messages) =>
      messages
        .filter(({ author, kind }) => author.name === "Engineer" && kind === "reply")
        .map(({ content }) => content)
    ),
    (contents) => contents.length > 0
  )

describe("an effect of a tool", () => {
  it.live("happens once if the runtime is killed between the effect and its answer", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup({ team: creatingTeam })
      yield* setup.script(makesATask)
      const first = yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      // The plane creates the task, and the runtime never gets the answer.
      yield* setup.planeFault({ kind: "delay", path: "service/tasks:create", milliseconds: 60_000, count: 1 })
      yield* setup.post(taskId, "@engineer please make a task of it.")
      yield* eventually(tasksOf(setup), (tasks) => tasks.length === 1)
      yield* first.signal("SIGKILL")
      yield* first.exit
      yield* setup.startRuntime()
      assert.deepStrictEqual(yield* replies(setup, taskId), ["It was made before."])
      assert.lengthOf(yield* tasksOf(setup), 1)
    }).pipe(Effect.scoped)
  )

  it.live("happens once if its answer is lost", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup({ team: creatingTeam })
      yield* setup.script(makesATask)
      yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      yield* setup.planeFault({ kind: "drop", path: "service/tasks:create", count: 2 })
      yield* setup.post(taskId, "@engineer please make a task of it.")
      assert.deepStrictEqual(yield* replies(setup, taskId), ["It was made before."])
      assert.lengthOf(yield* tasksOf(setup), 1)
      const row = (yield* setup.notifications).find(({ type }) => type === "mention")
      assert.strictEqual(row?.attempts, 1)
    }).pipe(Effect.scoped)
  )

  it.live("over HTTP happens once if the runtime is killed between the effect and its answer", () =>
    Effect.gen(function* () {
      const answers: Array<unknown> = []
      const modelUrl = yield* serveActingModel(async ({ system, user }) => {
        if (!system.includes("You are Engineer")) return "NO_ACTION"
        const { body } = await httpAccessIn(user).call("/agent/task-create", { title })
        answers.push(body.repeated)
        return "Made."
      })
      const setup = yield* makeSetup({ team: creatingTeam, gatewayArgs: ["--model-url", modelUrl] })
      const env = { OPENCLAW_CLIENT_TOOLS_ENABLED: "false" }
      const first = yield* setup.startRuntime(env)
      const taskId = yield* setup.newTask()
      yield* setup.planeFault({ kind: "delay", path: "service/tasks:create", milliseconds: 60_000, count: 1 })
      yield* setup.post(taskId, "@engineer please make a task of it.")
      yield* eventually(tasksOf(setup), (tasks) => tasks.length === 1)
      yield* first.signal("SIGKILL")
      yield* first.exit
      yield* setup.startRuntime(env)
      assert.deepStrictEqual(yield* replies(setup, taskId), ["Made."])
      assert.lengthOf(yield* tasksOf(setup), 1)
      assert.deepStrictEqual(answers, [true])
    }).pipe(Effect.scoped)
  )
})

/** The first line of a server's answer to these bytes; "" if it closes the connection without an answer. */
const speak = (url: string, bytes: string): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    const { port } = new URL(url)
    const socket = connect(Number(port), "127.0.0.1")
    let heard = ""
    socket.setEncoding("utf8")
    socket.on("data", (data: string) => {
      heard += data
      if (heard.includes("\r\n\r\n")) resume(Effect.succeed(heard.split("\r\n")[0] ?? ""))
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(heard.split("\r\n")[0] ?? "")))
    socket.write(bytes)
    return Effect.sync(() => socket.destroy())
  })

const request = (path: string, headers: Record<string, string>, body = "{}") =>
  [
    `POST ${path} HTTP/1.1`,
    ...Object.entries({ host: "localhost", "content-length": String(body.length), ...headers }).map(
      ([key, value]) => `${key}: ${value}`
    ),
    "",
    body
  ].join("\r\n")

describe("the runtime's process under attack", () => {
  it.live("answers each attack with its code, stays live and ready, and delivers", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup({ team: creatingTeam })
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Still here." }] }] })
      const runtime = yield* setup.startRuntime()
      const json = { "content-type": "application/json" }
      const key = { "x-openclaw-session-key": `agent:engineer:${setup.account.accountId.toLowerCase()}` }
      const attacks: ReadonlyArray<readonly [string, RegExp]> = [
        ["GET // HTTP/1.1\r\nhost: localhost\r\n\r\n", / 404 /],
        ["GET //evil.example/x HTTP/1.1\r\nhost: localhost\r\n\r\n", / 404 /],
        ["GET /%ff%fe HTTP/1.1\r\nhost: localhost\r\n\r\n", / 40[04] /],
        ["GET http:// HTTP/1.1\r\nhost: localhost\r\n\r\n", / 40[04] |^$/],
        ["\u0000\u0001\u0002\r\n\r\n", / 400 /],
        [`GET /${"a".repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`, / (431|404|414) /],
        ["POST /agent/task-load HTTP/1.1\r\n\r\n", / 400 /],
        [request("/agent/task-load", { ...json, host: "evil.example" }), / 403 /],
        [request("/agent/task-load", { ...json, origin: "https://evil.example" }), / 403 /],
        [request("/agent/task-load", { "content-type": "text/plain" }), / 415 /],
        [request("/agent/task-load", json), / 401 /],
        [request("/agent/task-load", { ...json, ...key }), / 401 /],
        [request("/agent/task-load", { ...json, ...key, "x-mission-control-capability": "A".repeat(43) }), / 401 /],
        [request("/agent/task-load", { ...json, ...key }, "[".repeat(200_000)), / 401 /],
        [request("/agent/task-load", { ...json, "content-length": "99999999999999" }), / 401 /],
        [request("/agent/task-load", { ...json, "content-length": "-1" }), / 400 /],
        [request("/agent/task-load", { ...json, "transfer-encoding": "chunked" }, "zz\r\n"), / 40[01] /],
        ["GET /openapi.json HTTP/1.1\r\nhost: evil.example\r\n\r\n", / 403 /],
        ["PUT /agent/task-load HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n", / 405 /]
      ]
      for (const [bytes, expected] of attacks) {
        assert.match(yield* speak(runtime.url, bytes), expected, bytes.slice(0, 120))
      }
      yield* Effect.forEach(
        Array.from({ length: 500 }),
        () => speak(runtime.url, request("/agent/task-load", { ...json, ...key, connection: "close" })),
        { concurrency: 50 }
      ).pipe(Effect.map((lines) => assert.isTrue(lines.every((line) => line.includes(" 401 ")))))
      const ready = yield* Effect.promise(() => fetch(`${runtime.url}/readyz`))
      assert.strictEqual(ready.status, 200)
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      assert.deepStrictEqual(yield* replies(setup, taskId), ["Still here."])
    }).pipe(Effect.scoped)
  )
})
