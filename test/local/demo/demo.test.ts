import { once } from "node:events"
import { createServer } from "node:net"
import { afterEach, assert, describe, it } from "vitest"
import { demo, ended, endDemos, until } from "./runDemo.ts"

const isServed = (url: string): Promise<boolean> =>
  fetch(url).then(
    () => true,
    () => false
  )

/** The addresses that the demo prints. */
const urlsIn = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/http:\/\/127\.0\.0\.1:\d+/g)].map(([url]) => url)

afterEach(endDemos)

describe("the demonstration", () => {
  it("lets the newcomer ask for the status and for work, and asks back", async () => {
    const run = demo()
    const type = async (line: string, answer: string) => {
      run.child.stdin?.write(`${line}\n`)
      await until(() => run.out().includes(answer))
    }
    await until(() => run.out().includes("Type a message to the team"))
    await type("what is the status?", "Squad Lead: The login button works again")
    await type("@engineer add a help page", 'Engineer: I created the task "Add a help page"')
    assert.include(run.out(), "engineer calls task_create: ok")
    await type("hello", "Squad Lead: What exactly should be different")
    run.child.kill("SIGINT")
    assert.strictEqual(await ended(run), 0, run.err())
    assert.notMatch(run.out(), /refused|retrying/)
  }, 60_000)

  it("plays the scenario and prints one JSON object", async () => {
    const run = demo(["--once", "--json"])
    assert.strictEqual(await ended(run), 0, run.err())
    const summary = JSON.parse(run.out())
    assert.deepStrictEqual(Object.keys(summary), [
      "thread",
      "toolCalls",
      "notifications",
      "runtimeStatus",
      "gateway",
      "elapsedMs"
    ])
    assert.deepStrictEqual(
      summary.thread.map((message: { author: string }) => message.author),
      ["Pat", "Squad Lead", "Engineer", "QA"]
    )
    assert.deepStrictEqual(summary.toolCalls, [
      { tool: "task_status", success: true },
      { tool: "task_status", success: true },
      { tool: "task_load", success: true },
      { tool: "task_status", success: true }
    ])
    assert.strictEqual(summary.notifications.waiting, 0)
    assert.strictEqual(summary.notifications.dead, 0)
    assert.isAbove(summary.notifications.delivered, 2)
    assert.strictEqual(summary.runtimeStatus, "offline")
    assert.strictEqual(summary.gateway, "scripted")
  })

  it("keeps running until Ctrl-C, prints the address of /health, and then shows the runtime offline", async () => {
    const run = demo()
    await until(() => run.out().includes("/health") || run.child.exitCode !== null)
    const urls = urlsIn(run.out())
    const health = urls.at(-1)
    assert.isTrue(await isServed(`${health}/health`))
    run.child.kill("SIGINT")
    assert.strictEqual(await ended(run), 0, run.err())
    assert.include(run.out(), "The runtime is offline (exit 0)")
    for (const url of urls) assert.isFalse(await isServed(url), `${url} is still served`)
  })

  it("leaves no process behind if it is killed with -9", async () => {
    const run = demo()
    await until(() => run.out().includes("/health") || run.child.exitCode !== null)
    const urls = urlsIn(run.out())
    assert.isAtLeast(urls.length, 3)
    run.child.kill("SIGKILL")
    await until(async () => (await Promise.all(urls.map(isServed))).every((served) => !served))
  })

  it("exits with one line and a code other than 0 if its port is in use", async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const run = demo(["--once", "--port", String(port)])
    assert.strictEqual(await ended(run), 1)
    server.close()
    assert.include(run.err(), `cannot listen on 127.0.0.1:${port}`)
    assert.notMatch(run.err(), /\n\s+at /)
    for (const url of urlsIn(run.out())) assert.isFalse(await isServed(url), `${url} is still served`)
  })

  it.each([
    ["--gateway", "clawdbot"],
    ["--port", "0"],
    ["--bogus", ""],
    ["--budget", "1"]
  ])("refuses %s %s with a line that names the allowed values", async (option, value) => {
    const run = demo([option, value].filter((text) => text !== ""))
    assert.strictEqual(await ended(run), 64)
    assert.include(run.err(), option)
    assert.notMatch(run.err(), /\n\s+at /)
  })
})
