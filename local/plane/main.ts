import { Console } from "node:console"
import { randomBytes } from "node:crypto"
import { type AddressInfo } from "node:net"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { loadApp } from "./app.ts"
import { runCrons } from "./crons.ts"
import { Engine } from "./engine.ts"
import { Faults } from "./faults.ts"
import { makeHttpServer } from "./httpServer.ts"
import { RequestLog } from "./requestLog.ts"
import { Scheduler } from "./scheduler.ts"
import { SyncServer } from "./syncServer.ts"

// Stdout carries one line, the ready line; what functions print goes beside it. Set before convex-test keeps the console.
globalThis.console = new Console(process.stderr, process.stderr)

const usage = `The embedded control plane: serves a convex/ folder with Convex's protocols on 127.0.0.1. For development and tests only.

  node local/plane/main.ts [options]

  --app DIR                 the folder with the functions (convex)
  --port N                  0 picks a free one (0)
  --admin-key KEY           random when absent
  --transaction-timeout MS  a transaction that holds the plane longer ends the process with code 70 (10000)
  --die-with-parent         ends when stdin ends
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
        "transaction-timeout": { type: "string", default: "10000" },
        "die-with-parent": { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

const values = options()
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}

const adminKey = values["admin-key"] ?? `local|${randomBytes(24).toString("hex")}`
const app = await loadApp(resolve(values.app))
const faults = new Faults()
const requests = new RequestLog()
const engine = new Engine({
  app,
  isConflicted: (path) => faults.take(["conflict"], path, undefined) !== undefined,
  transactionTimeout: Number(values["transaction-timeout"]),
  onStuck: (path) => {
    log(`${path} has held its transaction for ${values["transaction-timeout"]} ms and does not end: the plane gives up`)
    process.exit(70)
  },
  log
})
const scheduler = new Scheduler(engine)
const sync = new SyncServer(engine, faults, requests, adminKey)
const server = makeHttpServer({ engine, faults, sync, adminKey })
sync.attach(server)

server.once("error", (error: NodeJS.ErrnoException) =>
  fail(error.code === "EADDRINUSE" ? `port ${values.port} is in use` : `cannot listen: ${error.message}`)
)
server.listen(Number(values.port), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo
  const crons = runCrons(app, engine, log)
  const stop = (): void => {
    crons.close()
    scheduler.close()
    sync.close()
    server.close()
    server.closeAllConnections()
    process.exit(0)
  }
  process.once("SIGTERM", stop).once("SIGINT", stop)
  process.stdout.write(`${JSON.stringify({ ready: true, name: "plane", url: `http://127.0.0.1:${port}`, adminKey })}\n`)
})

if (values["die-with-parent"]) {
  const end = (): never => process.exit(0)
  process.stdin.on("end", end).on("close", end).on("error", end).resume()
}
