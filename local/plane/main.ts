import { Console } from "node:console"
import { randomBytes } from "node:crypto"
import { type AddressInfo } from "node:net"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { loadApp, loadAuthConfig } from "./app.ts"
import { Authorization } from "./authorization.ts"
import { seededConflicts } from "./conflicts.ts"
import { runCrons } from "./crons.ts"
import { DurableFile } from "./durableFile.ts"
import { Engine } from "./engine.ts"
import { Faults } from "./faults.ts"
import { makeHttpServer } from "./httpServer.ts"
import { RequestLog } from "./requestLog.ts"
import { Scheduler } from "./scheduler.ts"
import { SignInTokens } from "./signInTokens.ts"
import { SyncServer } from "./syncServer.ts"

// Stdout has the ready line only, so the functions' output goes to stderr. Set before convex-test stores the console.
globalThis.console = new Console(process.stderr, process.stderr)

const usage = `The local control plane: serves a convex/ folder with Convex's protocols on 127.0.0.1, for development and tests.

  node local/plane/main.ts [options]

  --app DIR                 folder with the functions (convex)
  --port N                  0 is a free port (0)
  --admin-key KEY           random by default
  --auth-config FILE        the sign-in providers whose tokens are accepted (auth.config.ts in the folder, if any)
  --data FILE               stores every commit in this file, and loads it at the start
  --history                 also stores the calls of mutations in a new data file, for npm run simulate -- --history
  --conflicts RATE          share of mutations, 0 to 1, that lose a conflict and are retried (0)
  --mutation-ms MS          runs mutations concurrently, each this long, with the conflicts of a deployment
  --seed N                  selects which mutations lose (1)
  --ping-interval MS        time between pings of an open socket (15000)
  --transaction-timeout MS  exits with code 70 if a transaction takes longer (10000)
  --die-with-parent         exits when stdin ends
`

const log = (line: string): void => void process.stderr.write(`${line}\n`)

const fail = (line: string): never => {
  log(line)
  process.exit(1)
}

const options = () => {
  try {
    return parseArgs({
      options: {
        app: { type: "string", default: fileURLToPath(new URL("../../convex", import.meta.url)) },
        port: { type: "string", default: "0" },
        "admin-key": { type: "string" },
        "auth-config": { type: "string" },
        data: { type: "string" },
        history: { type: "boolean", default: false },
        conflicts: { type: "string", default: "0" },
        "mutation-ms": { type: "string" },
        seed: { type: "string", default: "1" },
        "ping-interval": { type: "string", default: "15000" },
        "transaction-timeout": { type: "string", default: "10000" },
        "die-with-parent": { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return fail(`${error instanceof Error ? error.message : String(error)}. See npm run plane -- --help.`)
  }
}

const values = options()
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}

const numberOf = (
  name: "port" | "conflicts" | "mutation-ms" | "seed" | "ping-interval" | "transaction-timeout",
  maximum: number
): number => {
  const value = Number(values[name])
  return values[name] !== "" && value >= 0 && value <= maximum
    ? value
    : fail(`--${name} is ${values[name]}: it must be a number from 0 to ${maximum}`)
}

const openFile = (file: string): DurableFile => {
  try {
    return new DurableFile(file, values.history)
  } catch (error) {
    return fail(`cannot use ${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const port = numberOf("port", 65_535)
const transactionTimeout = numberOf("transaction-timeout", 2 ** 31 - 1)
const loses = seededConflicts(numberOf("conflicts", 1), numberOf("seed", 2 ** 32 - 1))
const adminKey = values["admin-key"] ?? `local|${randomBytes(24).toString("hex")}`
const app = await loadApp(resolve(values.app)).catch((error: Error) =>
  fail(`cannot load ${values.app}: ${error.stack ?? error.message}`)
)
const authConfig = await loadAuthConfig(app, values["auth-config"]).catch((error: Error) =>
  fail(`cannot load the sign-in providers: ${error.stack ?? error.message}`)
)
const authorization = new Authorization(adminKey, new SignInTokens(authConfig))
if (values.history && values.data === undefined) fail("--history is stored in the data file: give --data FILE")
const file = values.data === undefined ? undefined : openFile(values.data)
const faults = new Faults()
const requests = new RequestLog()
const engine = new Engine({
  app,
  ...(file === undefined ? {} : { persist: (commit) => file.write(commit), hasHistory: () => file.hasHistory }),
  isConflicted: (path) => faults.take(["conflict"], path, undefined) !== undefined || loses(path),
  ...(values["mutation-ms"] === undefined ? {} : { optimistic: { mutationMs: numberOf("mutation-ms", 60_000) } }),
  transactionTimeout,
  onStuck: (path) => {
    log(`${path} has held its transaction for ${transactionTimeout} ms. The local control plane exits with code 70.`)
    process.exit(70)
  },
  log
})
const begin = performance.now()
const restored = file?.restore()
if (restored !== undefined) {
  engine.resume(restored)
  for (const { session, id, ...answered } of restored.requests) requests.remember(session, id, answered)
}
const restoreMilliseconds = Math.round(performance.now() - begin)
const scheduler = new Scheduler(engine)
const sync = new SyncServer(engine, faults, requests, authorization, numberOf("ping-interval", 2 ** 31 - 1))
const server = makeHttpServer({ engine, faults, sync, authorization })
sync.attach(server)

server.once("error", (error: NodeJS.ErrnoException) =>
  fail(
    error.code === "EADDRINUSE"
      ? `Port ${port} is in use. Choose another with --port.`
      : `cannot listen: ${error.message}`
  )
)
server.listen(port, "127.0.0.1", () => {
  void scheduler.resume()
  const crons = runCrons(app, engine)
  const stop = (): void => {
    crons.close()
    scheduler.close()
    sync.close()
    server.close()
    server.closeAllConnections()
    file?.close()
    process.exit(0)
  }
  process.once("SIGTERM", stop).once("SIGINT", stop)
  const ready = {
    ready: true,
    name: "plane",
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    adminKey,
    pid: process.pid,
    ...(restored === undefined ? {} : { restored: restored.documents.length, restoreMilliseconds })
  }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
})

if (values["die-with-parent"]) {
  const end = (): never => process.exit(0)
  process.stdin.on("end", end).on("close", end).on("error", end).resume()
}
