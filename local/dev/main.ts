#!/usr/bin/env node
/**
 * For work on the product: the local control plane, the scripted gateway and the runtime with its page. Each process
 * starts again when a file that it runs changes. The control plane keeps its data until `npm run dev` ends.
 */
import { randomBytes } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Effect, Exit, Runtime } from "effect"
import { demoTeam, makeAccount, runtimeEnv } from "../account.ts"
import { Story } from "../demo/story.ts"
import { talk } from "../demo/thread.ts"
import { freePort, launchGateway, launchPlane, launchRuntime } from "../launcher.ts"
import { personAt } from "../person.ts"
import { temporaryFolder } from "../temporaryFolder.ts"
import { reload } from "./reload.ts"

const script = fileURLToPath(new URL("script.json", import.meta.url))

const usage = `usage: npm run dev -- [options]
  --port N    port of the page; a free port by default
  --inspect   open the runtime's debugger port, 9229
  --help      print this text`

const readOptions = () => {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: "string" },
        inspect: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    })
    return values
  } catch (error) {
    process.stderr.write(`dev: ${(error as Error).message}\n${usage}\n`)
    return process.exit(64)
  }
}

const options = readOptions()
if (options.help) {
  process.stdout.write(`${usage}\n`)
  process.exit(0)
}

const program = Effect.gen(function* () {
  const story = new Story({ isQuiet: false })
  const say = (line: string) => story.say(line)
  /** Shows a process's lines, except the one with which it reports that it is ready. */
  const show = (name: string) => (line: string) => {
    if (!line.startsWith('{"ready":true')) say(`${name}: ${line}`)
  }
  const folder = yield* temporaryFolder("mission-control-dev-")
  const [planePort, gatewayPort, freePagePort] = yield* Effect.all([freePort, freePort, freePort], { concurrency: 3 })
  const pagePort = options.port ?? String(freePagePort)
  const adminKey = randomBytes(24).toString("hex")
  const planeUrl = `http://127.0.0.1:${planePort}`
  const log = (name: string) => join(folder, `${name}.log`)

  yield* Effect.all(
    [
      reload({
        name: "control plane",
        folders: ["convex", "local/plane", "src/domain/shared", "src/domain/text"],
        start: launchPlane({
          args: ["--port", `${planePort}`, "--admin-key", adminKey, "--data", join(folder, "plane.sqlite")],
          logFile: log("plane"),
          onLine: show("plane")
        }),
        say
      }),
      reload({
        name: "gateway",
        folders: ["local/gateway", "local/model", "local/dev", "src/domain/gateway"],
        start: launchGateway({
          args: [
            "--port",
            `${gatewayPort}`,
            "--agents",
            demoTeam.map(({ slug }) => slug).join(","),
            "--script",
            script
          ],
          logFile: log("gateway"),
          onLine: show("gateway")
        }),
        say
      })
    ],
    { concurrency: 2 }
  )
  const person = personAt(planeUrl, adminKey)
  const account = yield* Effect.promise(() => makeAccount(person))
  const { accountId } = account
  const env = runtimeEnv(
    account,
    planeUrl,
    { url: `http://127.0.0.1:${gatewayPort}` },
    { RUNTIME_ID: "dev", HEALTH_PORT: pagePort, LOG_FORMAT: "pretty" }
  )
  const envFile = join(folder, "runtime.env")
  const envLines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`)
  yield* Effect.sync(() => writeFileSync(envFile, envLines.join(""), { mode: 0o600 }))
  yield* reload({
    name: "runtime",
    folders: ["src"],
    start: launchRuntime({
      env,
      nodeArgs: options.inspect ? ["--inspect"] : [],
      logFile: log("runtime"),
      onLine: show("runtime")
    }),
    say
  })
  const { taskId }: { readonly taskId: string } = yield* Effect.promise(() =>
    person.mutation("app/tasks:create", { accountId, title: "Try it out" })
  )
  say(`
Page: http://127.0.0.1:${pagePort}/
Logs: ${folder}
Commands: node --env-file=${envFile} src/main.ts runs list --ended
To post a message, type it here and press Enter, for example: @engineer are you there?
Changes in src, convex and local restart the process concerned. Ctrl-C ends everything.
`)
  return yield* talk(person, { accountId, taskId }, story, (line) => Promise.resolve(line))
})

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  process.on("SIGINT", () => fiber.interruptUnsafe(fiber.id))
  process.on("SIGTERM", () => fiber.interruptUnsafe(fiber.id))
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})

runMain(Effect.scoped(program), {
  teardown: (exit, onExit) => onExit(Exit.isFailure(exit) && Exit.hasInterrupts(exit) ? 0 : 1)
})
