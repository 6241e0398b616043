import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { afterAll } from "vitest"
import { launch, launchRuntime } from "../../local/launcher.ts"

const folder = mkdtempSync(join(tmpdir(), "launcher-"))
afterAll(() => rmSync(folder, { recursive: true }))

/** A program that runs in its own Node process. */
const program = (text: string): { readonly command: string; readonly args: ReadonlyArray<string> } => ({
  command: process.execPath,
  args: ["--eval", text]
})
const sayReady = `process.stdout.write(JSON.stringify({ ready: true, name: "x", url: "http://127.0.0.1:1", extra: 5 }) + "\\n");`
const stayAlive = "setInterval(() => {}, 1000);"

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
/** Waits until a process is gone, reaped by its current parent. */
const gone = async (pid: number): Promise<void> => {
  while (isAlive(pid) && !isZombie(pid)) await new Promise((resolve) => setTimeout(resolve, 10))
}
const isZombie = (pid: number): boolean => {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

describe("the launcher", () => {
  it.live("waits for the ready line and returns its content", () =>
    Effect.gen(function* () {
      const child = yield* launch({
        name: "talkative",
        ...program(`console.log("first some words"); console.log("{ not ready }"); ${sayReady} ${stayAlive}`)
      })
      assert.deepStrictEqual(child.ready, { ready: true, name: "x", url: "http://127.0.0.1:1", extra: 5 })
      assert.strictEqual(child.url, "http://127.0.0.1:1")
      assert.isTrue(isAlive(child.pid))
    })
  )

  it.live("fails at once, with the exit code and the last output, if the process exits before it is ready", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        launch({ name: "short", ...program(`console.error("no port left"); process.exit(3)`) })
      )
      assert.strictEqual(error.exitCode, 3)
      assert.strictEqual(error.message, "short ended before it was ready (exit code 3)\nno port left")
    })
  )

  it.live("fails if the command does not exist", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(launch({ name: "nothing", command: join(folder, "nothing") }))
      assert.match(error.message, /^nothing could not be started: .*ENOENT/)
    })
  )

  it.live("fails and stops the process if it is not ready in time", () =>
    Effect.gen(function* () {
      const pidFile = join(folder, "slow")
      const writes = `require("fs").writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));`
      const error = yield* Effect.flip(
        Effect.scoped(
          launch({
            name: "slow",
            ...program(`${writes} console.error("still thinking"); ${stayAlive}`),
            readyTimeout: 1_500
          })
        )
      )
      assert.strictEqual(error.message, "slow was not ready in time\nstill thinking")
      assert.isFalse(isAlive(Number(readFileSync(pidFile, "utf8"))))
    })
  )

  it.live("stops the process with SIGTERM and returns how it ended", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const child = yield* launch({
        name: "polite",
        ...program(`process.on("SIGTERM", () => { console.log("bye"); process.exit(7) }); ${sayReady} ${stayAlive}`)
      }).pipe(Scope.provide(scope))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* child.exit, { code: 7, signal: null })
      assert.match(child.output(), /bye\n$/)
      assert.match(readFileSync(child.logFile, "utf8"), /bye\n$/)
    })
  )

  it.live("kills a process that does not stop, and its children", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const grandchild = `const { pid } = require("child_process").spawn(process.execPath, ["-e", "process.on('SIGTERM', () => {}); ${stayAlive}"], { stdio: "ignore" });`
      const child = yield* launch({
        name: "stubborn",
        ...program(
          `process.on("SIGTERM", () => {}); ${grandchild} ${sayReady.replace("extra: 5", "extra: pid")} ${stayAlive}`
        ),
        stopTimeout: 100
      }).pipe(Scope.provide(scope))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* child.exit, { code: null, signal: "SIGKILL" })
      yield* Effect.promise(() => gone(Number(child.ready["extra"])))
    })
  )

  it.live("stops the process when the launch is interrupted", () =>
    Effect.gen(function* () {
      const pidFile = join(folder, "interrupted")
      const fiber = yield* Effect.forkChild(
        Effect.scoped(
          launch({
            name: "interrupted",
            ...program(`require("fs").writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); ${stayAlive}`)
          })
        )
      )
      yield* Effect.promise(async () => {
        while (!existsSync(pidFile) || readFileSync(pidFile, "utf8") === "")
          await new Promise((resolve) => setTimeout(resolve, 10))
      })
      yield* Fiber.interrupt(fiber)
      assert.isFalse(isAlive(Number(readFileSync(pidFile, "utf8"))))
    })
  )

  it.live("sends signals to the process, and none after its end", () =>
    Effect.gen(function* () {
      const child = yield* launch({ name: "signalled", ...program(`${sayReady} ${stayAlive}`) })
      yield* child.signal("SIGKILL")
      assert.deepStrictEqual(yield* child.exit, { code: null, signal: "SIGKILL" })
      yield* child.signal("SIGTERM")
    })
  )

  it.live("sets a child's environment, and removes undefined variables", () =>
    Effect.gen(function* () {
      const child = yield* launch({
        name: "environment",
        ...program(sayReady.replace("extra: 5", "extra: [process.env.COLOUR, process.env.HOME]") + stayAlive),
        env: { COLOUR: "blue", HOME: undefined }
      })
      assert.deepStrictEqual(child.ready["extra"], ["blue", null])
    })
  )

  it("leaves no orphan if the launcher is killed", async () => {
    const launcher = pathToFileURL(fileURLToPath(new URL("../../local/launcher.ts", import.meta.url))).href
    const effect = import.meta.resolve("effect")
    const entry = join(folder, "idle.mjs")
    writeFileSync(
      entry,
      `import { createServer } from "node:http"
      createServer((_, response) => response.end()).listen(process.env.HEALTH_PORT, "127.0.0.1")`
    )
    const app = fileURLToPath(new URL("plane/fixtures/app", import.meta.url))
    const parent = spawn(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        `import { Effect } from ${JSON.stringify(effect)}
         import { launchPlane, launchRuntime } from ${JSON.stringify(launcher)}
         await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
           const plane = yield* launchPlane({ args: ["--app", ${JSON.stringify(app)}] })
           const runtime = yield* launchRuntime({ entry: ${JSON.stringify(entry)} })
           console.log(plane.pid + " " + runtime.pid)
           yield* Effect.never
         })))`
      ],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    const [line] = (await once(parent.stdout, "data")) as [Buffer]
    const [plane = 0, runtime = 0] = line.toString().trim().split(" ").map(Number)
    assert.isTrue(isAlive(plane) && isAlive(runtime))
    parent.kill("SIGKILL")
    await Promise.all([gone(plane), gone(runtime)])
  })
})

describe("launching the runtime", () => {
  it.live("picks a port, and is ready when the given path answers 200", () =>
    Effect.gen(function* () {
      const entry = join(folder, "runtime.mjs")
      const asked = Promise.withResolvers<string>()
      const listener = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((request, response) => {
            asked.resolve(request.url ?? "")
            response.end()
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = listener.address() as { port: number }
      // Ready at the second request; it reports its arguments to the listener.
      writeFileSync(
        entry,
        `import { createServer } from "node:http"
         let requests = 0
         createServer((request, response) => {
           requests += 1
           response.writeHead(request.url === "/livez" && requests > 1 ? 200 : 503).end()
         }).listen(process.env.HEALTH_PORT, "127.0.0.1")
         await fetch("http://127.0.0.1:${port}/" + process.argv.slice(2).join(","))`
      )
      const runtime = yield* launchRuntime({ entry, args: ["--flag"], readyPath: "/livez" })
      assert.match(runtime.url, /^http:\/\/127\.0\.0\.1:\d+$/)
      assert.strictEqual(yield* Effect.promise(() => asked.promise), "/start,--flag")
    })
  )
})
