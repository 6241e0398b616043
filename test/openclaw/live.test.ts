/** The demonstration with the real gateway and a scripted provider. */
import { once } from "node:events"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import type { Rule } from "../../local/model/script.ts"
import { type ModelServer, startModel } from "../../local/model/server.ts"
import { catalogPrice } from "../../local/openclaw/catalogPrice.ts"
import { installedOpenClaw, pinnedVersion } from "../../local/openclaw/install.ts"
import { demo, ended, endDemos, until } from "../local/demo/runDemo.ts"
import { setting } from "./sharedGateway.ts"

const isPinned = setting("OPENCLAW_TEST_VERSION") === pinnedVersion
const check: Rule = { match: "Reply with OK.", actions: [{ text: "OK" }] }
const tokens = { usage: { input: 50_000, output: 200 } }

let folder = ""
let model: ModelServer

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mission-control-demo-"))
  model = await startModel()
})
afterEach(async () => {
  endDemos()
  await model.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** The live demonstration in its own folder, with this script; its address is that of the provider. */
const live = (rules: ReadonlyArray<Rule>, args: ReadonlyArray<string> = [], url = model.url) => {
  model.model.add({ replace: true, fallback: { text: "NO_ACTION" }, rules })
  // The release logs nothing if it detects this test runner.
  const env = { TMPDIR: folder, VITEST: undefined, ACME_API_KEY: "secret-1" }
  return demo(["--live", "--model", "acme/fast", "--base-url", `${url}/v1`, ...args], env)
}

const environmentOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8")
  } catch {
    return ""
  }
}

/** The processes that the demonstration started and that still run. */
const leftOver = (): ReadonlyArray<string> =>
  readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && environmentOf(pid).includes(`\0TMPDIR=${folder}`))

/** Forwards to the model, and collects the keys of the requests. */
const startKeyRecorder = async () => {
  const keys = new Set<string | undefined>()
  const server = createServer((incoming, answer) => {
    keys.add(incoming.headers.authorization)
    const { headers, method, url } = incoming
    const forwarded = request(`${model.url}${url}`, { method, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(answer)
    })
    incoming.pipe(forwarded)
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, keys, stop: () => server.close() }
}

describe.runIf(isPinned)("the demonstration with the real gateway", () => {
  it("has a real agent create a task for a typed message, shows the cost, and leaves no process or file", async () => {
    const provider = await startKeyRecorder()
    const create = { title: "Help page", status: "in_progress", assigneeSlugs: ["squad-lead"] }
    const run = live(
      [
        check,
        {
          matchSystem: "You are Squad Lead",
          match: "add a help page",
          actions: [
            { toolCalls: [{ name: "task_create", args: create }], ...tokens },
            { text: "I created the task.", ...tokens }
          ]
        },
        { match: "assigned this task to you", repeat: true, actions: [{ text: "It is done already." }] }
      ],
      [],
      provider.url
    )
    await until(() => run.out().includes("Type a message") || run.child.exitCode !== null)
    assert.include(run.out(), "Budget: $1.00. The price of acme/fast is not known: the budget counts $3 ", run.err())
    run.child.stdin?.write("add a help page\n")
    await until(() => run.out().includes("Squad Lead: I created the task."))
    assert.include(run.out(), "Pat: @squad-lead add a help page")
    assert.include(run.out(), "    Squad Lead is working ...")
    assert.include(run.out(), "    squad-lead calls task_create: ok")
    assert.include(run.out(), "    new task: Help page")
    run.child.kill("SIGINT")
    assert.strictEqual(await ended(run), 0, run.err())
    const [, cost] =
      /Spent: [1-9]\d* turns?, [\d,]+ input and \d+ output tokens, \$(\d\.\d\d) of the budget of \$1\.00\./.exec(
        run.out()
      ) ?? []
    assert.isAbove(Number(cost), 0.3, run.out())
    assert.deepStrictEqual([...provider.keys], ["Bearer secret-1"])
    assert.notInclude(run.out(), "secret-1")
    assert.deepStrictEqual(readdirSync(folder), [])
    assert.deepStrictEqual(leftOver(), [])
    provider.stop()
  }, 400_000)

  it("ends with one line if the provider refuses the key in the first turn", async () => {
    const refuses = { match: "are you there", repeat: true, actions: [{ status: 401 }] }
    const run = live([check, refuses])
    await until(() => run.out().includes("Type a message") || run.child.exitCode !== null)
    run.child.stdin?.write("are you there?\n")
    assert.strictEqual(await ended(run), 1, run.out())
    assert.match(run.err(), /^demo: acme refuses the key in ACME_API_KEY \(HTTP 401: .*\). Set .*\n$/)
    assert.deepStrictEqual(leftOver(), [])
  }, 400_000)

  it("ends with one line if its port is in use", async () => {
    const run = live([check], ["--port", new URL(model.url).port])
    assert.strictEqual(await ended(run), 1, run.out())
    assert.match(run.err(), /^demo: .*cannot listen on 127\.0\.0\.1:\d+.*--port.*\n$/)
    assert.deepStrictEqual(readdirSync(folder), [])
    assert.deepStrictEqual(leftOver(), [])
  }, 120_000)

  it("stops the gateway if it is killed with -9", async () => {
    const run = live([check])
    await until(() => run.out().includes("Type a message") || run.child.exitCode !== null)
    assert.isAbove(leftOver().length, 3, run.err())
    run.child.kill("SIGKILL")
    await until(() => leftOver().length === 0)
  }, 400_000)

  it("plays the scenario of the scripted one with --gateway openclaw", async () => {
    const run = demo(["--once", "--json", "--gateway", "openclaw"], { TMPDIR: folder, VITEST: undefined })
    assert.strictEqual(await ended(run), 0, run.err())
    const { gateway, notifications, thread } = JSON.parse(run.out())
    assert.strictEqual(gateway, "openclaw")
    assert.deepStrictEqual(
      thread.map((message: { author: string }) => message.author),
      ["Pat", "Squad Lead", "Engineer", "QA"]
    )
    assert.strictEqual(notifications.dead, 0)
    assert.deepStrictEqual(leftOver(), [])
  }, 400_000)

  it("knows the prices of the models that it uses by default", () => {
    const { folder: installed = "" } = installedOpenClaw(pinnedVersion) ?? {}
    for (const [provider, name] of Object.entries({ anthropic: "claude-sonnet-5", openai: "gpt-5.6-luna" })) {
      assert.isAbove(catalogPrice(installed, provider, name)?.output ?? 0, 0, name)
    }
    assert.isUndefined(catalogPrice(installed, "anthropic", "no-such-model"))
    assert.isUndefined(catalogPrice(installed, "acme", "fast"))
  })
})
