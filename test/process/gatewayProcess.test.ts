import { readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type { Action, Script } from "../../local/model/script.ts"
import { serveActingModel } from "../actingModel.ts"
import { eventually, makeSetup } from "./setup.ts"
import { gatewaySettings, isRunning, makeGatewayHome, scriptedGateway } from "./supervisedGateway.ts"
import type { GatewayHome } from "./supervisedGateway.ts"

const settings = gatewaySettings(["squad-lead", "engineer", "qa"])

const withScript = (home: GatewayHome, script: Script): Record<string, string> => {
  const file = join(home.folder, "script.json")
  writeFileSync(file, JSON.stringify(script))
  return { ...home.env, OPENCLAW_GATEWAY_ARGS: `gateway run --script ${file}` }
}

const answering: Script = { rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Here I am." }] }] }

const readyz = (url: string): Effect.Effect<{ readonly status: number; readonly body: string }> =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/readyz`)
    return { status: response.status, body: await response.text() }
  })

const said = (name: string) => (messages: ReadonlyArray<{ readonly author: { readonly name: string } }>) =>
  messages.filter(({ author }) => author.name === name).length

const turns = (home: GatewayHome): Effect.Effect<number> =>
  Effect.promise(async () => {
    const response = await fetch(`${home.url}/__local/requests`).catch(() => undefined)
    return response === undefined ? 0 : ((await response.json()) as { readonly count: number }).count
  })

describe("the gateway that the runtime starts", () => {
  it.live(
    "gets its token through the environment only, answers turns, writes to the runtime's log, and ends with the runtime",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const home = yield* makeGatewayHome(settings)
        const runtime = yield* setup.startRuntime(withScript(home, answering))
        const pid = home.pid() ?? 0
        assert.isTrue(isRunning(pid))
        const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0")
        const token = environment.find((line) => line.startsWith("OPENCLAW_GATEWAY_TOKEN="))?.split("=")[1] ?? ""
        assert.match(token, /^[0-9a-f]{64}$/)
        assert.notInclude(readFileSync(`/proc/${pid}/cmdline`, "utf8"), token)
        assert.notInclude(environment.join("\n"), setup.account.serviceToken)
        const taskId = yield* setup.newTask()
        yield* setup.post(taskId, "@engineer are you there?")
        yield* eventually(setup.messages(taskId), (messages) => said("Engineer")(messages) === 1)
        const health = yield* setup.health(runtime)
        assert.strictEqual(health["gateway"].restarts, 0)
        assert.strictEqual(health["versions"].openclaw, "2026.9.6")
        yield* runtime.signal("SIGTERM")
        assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
        assert.isFalse(isRunning(pid))
        assert.isNull(home.pid())
        assert.include(runtime.output(), '"source":"openclaw"')
        assert.notInclude(runtime.output(), token)
      }).pipe(Effect.scoped)
  )

  it.live("finishes a turn that another client started, before the runtime restarts", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings)
      const asked = yield* Deferred.make<void>()
      const answer = Promise.withResolvers<string>()
      const modelUrl = yield* serveActingModel(({ user }) => {
        if (!user.includes("a question of another client")) return Promise.resolve("NO_ACTION")
        Deferred.doneUnsafe(asked, Effect.void)
        return answer.promise
      })
      const token = "a-token-that-is-given"
      const runtime = yield* setup.startRuntime({
        ...home.env,
        OPENCLAW_GATEWAY_ARGS: `gateway run --model-url ${modelUrl}`,
        OPENCLAW_GATEWAY_TOKEN: token
      })
      const pid = home.pid() ?? 0
      const turn = yield* Effect.forkScoped(
        Effect.promise(async () => {
          const response = await fetch(`${home.url}/v1/responses`, {
            method: "POST",
            headers: {
              authorization: `Bearer ${token}`,
              "content-type": "application/json",
              "x-openclaw-agent-id": "qa",
              "x-openclaw-session-key": "agent:qa:another"
            },
            body: JSON.stringify({ model: "openclaw", input: "a question of another client" })
          })
          return { status: response.status, text: await response.text() }
        })
      )
      yield* Deferred.await(asked)
      const { accountId } = setup.account
      yield* Effect.promise(() => setup.person.mutation("app/runtimes:restart", { accountId }))
      yield* eventually(readyz(home.url), ({ body }) => body.includes("gateway-draining"))
      // The gateway is stopped within the drain, not after the runtime has reported its end.
      yield* eventually(setup.runtimeStatus, (status) => status === "draining")
      answer.resolve("The answer.")
      const { status, text } = yield* Fiber.join(turn)
      assert.strictEqual(status, 200)
      assert.include(text, "The answer.")
      assert.deepStrictEqual(yield* runtime.exit, { code: 75, signal: null })
      assert.isFalse(isRunning(pid))
      assert.isNull(home.pid())
    }).pipe(Effect.scoped)
  )

  it.live("is started again if it is killed during a turn, and the delivery ends once", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings)
      const hanging: Script = { rules: [{ match: "mentioned you", actions: [{ hang: true }] }] }
      const env = withScript(home, hanging)
      const runtime = yield* setup.startRuntime({ ...env, DELIVERY_BACKOFF_BASE_MS: "1000" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      yield* eventually(turns(home), (count) => count === 1)
      // The new gateway has another script, in which the same turn ends.
      withScript(home, answering)
      const first = home.pid() ?? 0
      process.kill(first, "SIGKILL")
      const messages = yield* eventually(setup.messages(taskId), (messages) => said("Engineer")(messages) > 0)
      assert.strictEqual(said("Engineer")(messages), 1)
      assert.notStrictEqual(home.pid(), first)
      const health = yield* setup.health(runtime)
      assert.strictEqual(health["gateway"].restarts, 1)
      const mention = (yield* setup.notifications).find(({ type }) => type === "mention")
      assert.strictEqual(mention?.outcome, "replied")
    }).pipe(Effect.scoped)
  )

  it.live(
    "counts no silence of the agent if it is killed three times in a row, with a 500 after each start",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const home = yield* makeGatewayHome(settings)
        // The gateway calls a silent model again, and then answers "internal error".
        // It also continues the killed turn on its own, without the runtime's instructions, which uses no rule of this script.
        const thenPlays = (action: Action): Script => ({
          rules: [{ matchSystem: "You are Engineer", actions: [{ empty: true }, { empty: true }, action] }]
        })
        const env = withScript(home, thenPlays({ hang: true }))
        const runtime = yield* setup.startRuntime({
          ...env,
          DELIVERY_BACKOFF_BASE_MS: "1000",
          NO_RESPONSE_LIMIT: "1",
          // The events would report that the model was silent.
          OPENCLAW_GATEWAY_EVENTS: "false"
        })
        const taskId = yield* setup.newTask()
        yield* setup.post(taskId, "@engineer are you there?")
        for (const next of [thenPlays({ hang: true }), thenPlays({ hang: true }), thenPlays({ text: "Here I am." })]) {
          const pid = home.pid() ?? 0
          yield* eventually(turns(home), (count) => count === 2)
          withScript(home, next)
          process.kill(pid, "SIGKILL")
          yield* eventually(Effect.sync(home.pid), (now) => now !== null && now !== pid)
        }
        const messages = yield* eventually(setup.messages(taskId), (messages) => said("Engineer")(messages) > 0)
        assert.deepStrictEqual(
          messages.filter(({ author }) => author.name === "Engineer").map(({ content }) => content),
          ["Here I am."]
        )
        assert.strictEqual((yield* setup.health(runtime))["gateway"].restarts, 3)
      }).pipe(Effect.scoped),
    120_000
  )

  it.live("is stopped by the next runtime, with another token, if a killed one left it behind", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings)
      const env = withScript(home, answering)
      const killed = yield* setup.startRuntime(env)
      const orphan = home.pid() ?? 0
      yield* killed.signal("SIGKILL")
      yield* killed.exit
      assert.isTrue(isRunning(orphan))
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      const runtime = yield* setup.startRuntime(env)
      assert.isFalse(isRunning(orphan))
      assert.notStrictEqual(home.pid(), orphan)
      assert.include(runtime.output(), `stopping the gateway that an earlier run left behind (pid ${orphan})`)
      const messages = yield* eventually(setup.messages(taskId), (messages) => said("Engineer")(messages) > 0)
      assert.strictEqual(said("Engineer")(messages), 1)
    }).pipe(Effect.scoped)
  )

  it.live(
    "is adopted by the next runtime with the same token if a killed one left it behind, and then ends with it",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const home = yield* makeGatewayHome(settings)
        const env = { ...withScript(home, answering), OPENCLAW_GATEWAY_TOKEN: "a-token-that-is-given" }
        const killed = yield* setup.startRuntime(env)
        const orphan = home.pid() ?? 0
        yield* killed.signal("SIGKILL")
        yield* killed.exit
        const runtime = yield* setup.startRuntime(env)
        assert.isTrue(isRunning(orphan))
        assert.strictEqual(home.pid(), orphan)
        const taskId = yield* setup.newTask()
        yield* setup.post(taskId, "@engineer are you there?")
        yield* eventually(setup.messages(taskId), (messages) => said("Engineer")(messages) === 1)
        yield* runtime.signal("SIGTERM")
        assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
        assert.isFalse(isRunning(orphan))
        assert.isNull(home.pid())
      }).pipe(Effect.scoped)
  )

  it.live(
    "is not started repeatedly with a broken configuration: 503 with its own reason, until the file is fixed",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const home = yield* makeGatewayHome({ ...settings, bogus: 1 })
        const runtime = yield* setup.startRuntime(withScript(home, answering), { readyPath: "/livez" })
        const broken = yield* eventually(readyz(runtime.url), ({ body }) => body.includes("bogus"))
        assert.strictEqual(broken.status, 503)
        assert.notInclude(runtime.output(), "restarting it")
        home.writeConfig(settings)
        yield* eventually(readyz(runtime.url), ({ status }) => status === 200)
        assert.strictEqual((yield* setup.health(runtime))["gateway"].restarts, 0)
      }).pipe(Effect.scoped)
  )

  it.live("is started again after exit code 78 because another gateway owns its folder", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings)
      const command = home.command(
        "openclaw",
        [
          "#!/bin/sh",
          `if [ "$1" = --version ]; then echo 'OpenClaw 2026.9.6 (abc)'; exit 0; fi`,
          `if [ ! -e ${home.folder}/tried ]; then touch ${home.folder}/tried; echo 'state dir is owned by another live gateway' >&2; exit 78; fi`,
          `exec ${scriptedGateway} "$@"`
        ].join("\n")
      )
      const runtime = yield* setup.startRuntime({ ...withScript(home, answering), OPENCLAW_GATEWAY_PATH: command })
      assert.strictEqual((yield* setup.health(runtime))["gateway"].restarts, 1)
      assert.include(runtime.output(), "owned by another live gateway")
    }).pipe(Effect.scoped)
  )

  it.live("is not started if its release is refused, and /readyz names the tested releases", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings)
      const command = home.command("openclaw", "#!/bin/sh\necho 'OpenClaw 2026.4.20 (115f05d)'\n")
      const runtime = yield* setup.startRuntime(
        { ...home.env, OPENCLAW_GATEWAY_PATH: command },
        { readyPath: "/livez" }
      )
      const { body, status } = yield* eventually(readyz(runtime.url), ({ body }) =>
        body.includes("2026.4.20 is refused")
      )
      assert.strictEqual(status, 503)
      assert.include(body, "2026.8.2 to 2026.9.6")
      assert.isNull(home.pid())
    }).pipe(Effect.scoped)
  )

  it.live("leaves the runtime live if its command is missing, and names the variable to set", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings, { OPENCLAW_GATEWAY_PATH: "/nonexistent/openclaw" })
      const runtime = yield* setup.startRuntime(home.env, { readyPath: "/livez" })
      const { status } = yield* eventually(readyz(runtime.url), ({ body }) => body.includes("OPENCLAW_GATEWAY_PATH"))
      assert.strictEqual(status, 503)
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
    }).pipe(Effect.scoped)
  )

  it.live("waits while another process has its port, and then starts", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(settings)
      // Answers every request with a page, as the control UI of old releases does.
      const squatter = createServer((_request, response) => response.end("<html>hello</html>"))
      yield* Effect.callback<void>((resume) => {
        squatter.listen(home.port, "127.0.0.1", () => resume(Effect.void))
      })
      const runtime = yield* setup.startRuntime(withScript(home, answering), { readyPath: "/livez" })
      const { status } = yield* eventually(readyz(runtime.url), ({ body }) =>
        body.includes(`port ${home.port} is in use`)
      )
      assert.strictEqual(status, 503)
      squatter.close()
      squatter.closeAllConnections()
      yield* eventually(readyz(runtime.url), ({ status }) => status === 200)
    }).pipe(Effect.scoped)
  )
})
