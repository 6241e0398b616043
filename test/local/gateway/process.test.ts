import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, describe } from "vitest"
import { launch, type Launched, launchGateway, launchModel } from "../../../local/launcher.ts"
import { gatewayConfig } from "../../openclaw/gatewayConfig.ts"

const folder = mkdtempSync(join(tmpdir(), "gateway-process-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const entry = fileURLToPath(new URL("../../../local/gateway/main.ts", import.meta.url))

const post = (gateway: Launched, body: object, key = "agent:alpha:x") =>
  fetch(`${gateway.url}/v1/responses`, {
    method: "POST",
    headers: { authorization: "Bearer t", "x-openclaw-agent-id": "alpha", "x-openclaw-session-key": key },
    body: JSON.stringify({ model: "openclaw", ...body })
  })

const requestsOf = async (model: Launched) => {
  const response = await fetch(`${model.url}/__local/requests`)
  return (await response.json()) as { count: number; requests: ReadonlyArray<any> }
}

/** Waits until the model has had that many requests. */
const untilAsked = (model: Launched, count: number) =>
  Effect.promise(() => expect.poll(() => requestsOf(model)).toMatchObject({ count }))

const script = (model: Launched, actions: ReadonlyArray<object>) =>
  Effect.promise(() =>
    fetch(`${model.url}/__local/script`, { method: "POST", body: JSON.stringify({ rules: [{ actions }] }) })
  )

/** Runs the command to its end; output is stdout and stderr together. */
const run = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.promise(
    () =>
      new Promise<{ code: number | null; output: string }>((resolve) => {
        const child = spawn(process.execPath, [entry, ...args], {
          env: { ...process.env, ...env },
          stdio: ["ignore", "pipe", "pipe"]
        })
        let output = ""
        child.stdout.on("data", (data) => (output += String(data)))
        child.stderr.on("data", (data) => (output += String(data)))
        child.once("close", (code) => resolve({ code, output }))
      })
  )

const config = (more: object = {}): string => {
  const path = join(folder, `config-${Math.random().toString(36).slice(2)}.json`)
  const base = gatewayConfig({
    version: "2026.9.6",
    port: 18_789,
    token: "t",
    modelUrl: "http://127.0.0.1:1",
    root: folder,
    agents: ["alpha", "beta"]
  })
  writeFileSync(path, JSON.stringify({ ...base, ...more }))
  return path
}

describe("the gateway's command", () => {
  it.live("prints its version as the real gateway does", () =>
    Effect.gen(function* () {
      const { code, output } = yield* run(["--version"])
      expect([code, output.trim()]).toEqual([0, "OpenClaw 2026.9.6 (scripted)"])
    })
  )

  it.live("starts with `gateway run` from nothing but OpenClaw's variables", () =>
    Effect.gen(function* () {
      const gateway = yield* launch({
        name: "gateway",
        command: process.execPath,
        args: [entry, "gateway", "run"],
        env: {
          OPENCLAW_CONFIG_PATH: config(),
          OPENCLAW_STATE_DIR: join(folder, "state-run"),
          OPENCLAW_GATEWAY_TOKEN: "other",
          OPENCLAW_GATEWAY_PORT: "0"
        }
      })
      const refused = yield* Effect.promise(() => post(gateway, { input: "hello" }))
      expect(refused.status).toBe(401)
      const models = yield* Effect.promise(() =>
        fetch(`${gateway.url}/v1/models`, { headers: { authorization: "Bearer other" } }).then((each) => each.json())
      )
      expect((models as any).data).toHaveLength(4)
    })
  )

  const refusals: ReadonlyArray<[string, () => string, RegExp]> = [
    ["a missing configuration", () => join(folder, "absent.json"), /Missing config/],
    ["an unknown key", () => config({ bogus: 1 }), /<root>: Unrecognized key: "bogus"/],
    ["no gateway.mode", () => config({ gateway: { port: 1 } }), /gateway\.mode=local/],
    [
      "a broken file",
      () => {
        const path = config()
        writeFileSync(path, readFileSync(path, "utf8").slice(0, 50))
        return path
      },
      /missing gateway\.mode/
    ]
  ]
  for (const [name, path, message] of refusals) {
    it.live(`exits with 78 for ${name}`, () =>
      Effect.gen(function* () {
        const { code, output } = yield* run(["gateway", "run"], { OPENCLAW_CONFIG_PATH: path() })
        expect(code).toBe(78)
        expect(output).toMatch(message)
      })
    )
  }

  it.live("exits with 1 and one line if its port is in use", () =>
    Effect.gen(function* () {
      const first = yield* launchGateway()
      const { code, output } = yield* run(["--port", new URL(first.url).port])
      expect(code).toBe(1)
      expect(output.trim().split("\n")).toEqual([expect.stringContaining("EADDRINUSE")])
    })
  )

  it.live("validates a configuration like `openclaw config validate --json`", () =>
    Effect.gen(function* () {
      const good = yield* run(["config", "validate", "--json"], { OPENCLAW_CONFIG_PATH: config() })
      expect([good.code, JSON.parse(good.output)]).toMatchObject([0, { valid: true }])
      const bad = yield* run(["config", "validate", "--json"], {
        OPENCLAW_CONFIG_PATH: config({ agents: { list: [] } })
      })
      expect([bad.code, JSON.parse(bad.output)]).toMatchObject([
        1,
        { valid: false, issues: [{ path: "agents", message: 'Unrecognized key: "list"' }] }
      ])
    })
  )

  it.live("refuses unknown arguments, with its usage", () =>
    Effect.gen(function* () {
      const { code, output } = yield* run(["--bogus"])
      expect(code).toBe(1)
      expect(output).toContain("usage: ")
      expect((yield* run(["--as", "2025.1.1"])).output).toContain("2026.8.2")
      expect((yield* run(["doctor"])).output).toContain('unknown command "doctor"')
      expect((yield* run(["--time-scale", "fast"])).output).toContain("--time-scale fast is not a number")
    })
  )
})

describe("the gateway's process", () => {
  it.live("lets running turns finish after SIGTERM, ignores a second one, and exits with 0", () =>
    Effect.gen(function* () {
      const model = yield* launchModel()
      const gateway = yield* launchGateway({ args: ["--token", "t", "--model-url", `${model.url}/v1`] })
      yield* script(model, [{ delayMs: 400, text: "finished" }])
      const turn = post(gateway, { input: "hello" })
      yield* untilAsked(model, 1)
      yield* gateway.signal("SIGTERM")
      yield* Effect.promise(() =>
        expect.poll(() => fetch(`${gateway.url}/readyz`).then((each) => each.status)).toBe(503)
      )
      yield* gateway.signal("SIGTERM")
      const answer = yield* Effect.promise(() => turn.then((each) => each.json()))
      expect((answer as any).output[0].content[0].text).toBe("finished")
      expect(yield* gateway.exit).toEqual({ code: 0, signal: null })
    })
  )

  it.live("is live before it is ready", () =>
    Effect.gen(function* () {
      const gateway = yield* launchGateway({ args: ["--ready-after", "300", "--token", "t"] })
      const statusOf = (path: string) => fetch(`${gateway.url}${path}`).then((each) => each.status)
      const first = yield* Effect.promise(() =>
        Promise.all([statusOf("/healthz"), statusOf("/readyz"), statusOf("/startupz")])
      )
      expect(first).toEqual([200, 503, 503])
      yield* Effect.promise(() => expect.poll(() => statusOf("/readyz")).toBe(200))
    })
  )

  it.live("finishes a turn on its own after a SIGKILL, without the caller's tools", () =>
    Effect.gen(function* () {
      const model = yield* launchModel()
      const args = ["--token", "t", "--model-url", `${model.url}/v1`, "--state", join(folder, "state-kill")]
      yield* script(model, [{ text: "earlier" }, { hang: true }, { text: "recovered" }])
      const tools = [{ type: "function", name: "task_load", parameters: { type: "object", properties: {} } }]
      yield* Effect.scoped(
        Effect.gen(function* () {
          const gateway = yield* launchGateway({ args })
          yield* Effect.promise(() => post(gateway, { input: "first" }).then((each) => each.text()))
          const turn = post(gateway, { input: "second", tools }).catch(() => undefined)
          yield* untilAsked(model, 2)
          yield* gateway.signal("SIGKILL")
          yield* Effect.promise(() => turn)
          yield* gateway.exit
        })
      )
      const gateway = yield* launchGateway({ args: [...args, "--time-scale", "0.01"] })
      yield* untilAsked(model, 3)
      const recovery = (yield* Effect.promise(() => requestsOf(model))).requests[2]
      expect(recovery.tools).toEqual([])
      expect(recovery.messages.at(-1).content).toMatch(
        /^\[.*\] \[Queued user message .*\]\nsecond\n\n\[System\] Your previous turn was interrupted by a gateway restart/
      )
      const next = yield* Effect.promise(() => post(gateway, { input: "third" }).then((each) => each.json()))
      expect((next as any).status).toBe("completed")
      const texts = (yield* Effect.promise(() => requestsOf(model))).requests[3].messages.map((message: any) =>
        String(message.content)
      )
      expect(texts.slice(1).map((text: string) => text.replace(/^\[.*?\] /, "").split("\n")[0])).toEqual([
        "first",
        "earlier",
        "second",
        "recovered",
        "third"
      ])
    })
  )

  it.live("exits when its parent's end of stdin closes", () =>
    Effect.gen(function* () {
      const child = spawn(process.execPath, [entry, "--die-with-parent"], { stdio: ["pipe", "pipe", "inherit"] })
      const line = yield* Effect.promise(
        () => new Promise<string>((resolve) => child.stdout.once("data", (data) => resolve(String(data))))
      )
      expect(JSON.parse(line)).toMatchObject({ ready: true, name: "gateway", version: "2026.9.6" })
      const ended = new Promise((resolve) => child.once("exit", resolve))
      child.stdin.end()
      expect(yield* Effect.promise(() => ended)).toBe(0)
    })
  )
})
