import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { ConvexHttpClient } from "convex/browser"
import { Effect } from "effect"
import { assert, describe, it } from "vitest"
import { api, appFolder, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const entry = fileURLToPath(new URL("../../../local/plane/main.ts", import.meta.url))
const message = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => assert.fail("it should have failed"),
    (error: Error) => error.message
  )

describe("the plane's process", () => {
  it("prints one ready line on stdout, and nothing that functions print", async () => {
    const child = spawn(process.execPath, [entry, "--app", appFolder, "--die-with-parent"], {
      stdio: ["pipe", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
    child.stdout!.on("data", (chunk: Buffer) => (stdout += chunk.toString()))
    await once(child.stdout!, "data")
    const { url, ...ready } = JSON.parse(stdout)
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.deepEqual([ready.ready, ready.name, ready.pid], [true, "plane", child.pid])
    assert.isString(ready.adminKey)
    await new ConvexHttpClient(url, { skipConvexDeploymentUrlCheck: true }).query(api["people"]!["prints"]!, {})
    const ended = once(child, "close")
    child.kill()
    await ended
    assert.equal(stdout.trimEnd().split("\n").length, 1)
    assert.include(stderr, "printed by a function")
  })

  it("uses the given admin key", async () => {
    const plane = await served.start(["--admin-key", "local|chosen"])
    assert.equal(plane.adminKey, "local|chosen")
    assert.isNumber(await served.admin(undefined, plane).query(api["items"]!["hidden"]!, {}))
  })

  it("exits with code 0 on SIGTERM and SIGINT", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const plane = await served.start([])
      const ending = await Effect.runPromise(Effect.andThen(plane.signal(signal), plane.exit))
      assert.deepEqual(ending, { code: 0, signal: null })
    }
  })

  it("exits with code 1 and one line if its port is in use", async () => {
    const other = createServer().listen(0, "127.0.0.1")
    await once(other, "listening")
    const { port } = other.address() as { port: number }
    assert.match(
      await message(served.start(["--port", String(port)])),
      new RegExp(`exit code 1\\)\\nPort ${port} is in use\\. Choose another with --port\\.$`)
    )
    other.close()
  })

  it("exits with code 1 and one line if an option is invalid", async () => {
    assert.match(
      await message(served.start(["--conflicts", "2"])),
      /exit code 1\)\n--conflicts is 2: it must be a number from 0 to 1$/
    )
    assert.match(await message(served.start(["--colour", "red"])), /exit code 1\)\nUnknown option '--colour'/)
    assert.match(
      await message(served.start(["--app", "/nowhere/at/all"])),
      /exit code 1\)\ncannot load \/nowhere\/at\/all/
    )
  })

  it("exits when its parent's pipe closes", async () => {
    const child = spawn(process.execPath, [entry, "--app", appFolder, "--die-with-parent"], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    await once(child.stdout!, "data")
    const ended = once(child, "exit")
    child.stdin!.destroy()
    await ended
    assert.equal(child.exitCode, 0)
  })

  it("exits with code 70 and a message if a transaction never ends", async () => {
    const plane = await served.start(["--transaction-timeout", "200"])
    const stuck = served.http(plane).mutation(api["failures"]!["never"]!, {})
    const [ending] = await Promise.all([Effect.runPromise(plane.exit), message(stuck)])
    assert.equal(ending.code, 70)
    assert.include(plane.output(), "failures:never has held its transaction for 200 ms")
  })
})
