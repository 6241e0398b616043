#!/usr/bin/env node
/**
 * The scripted model provider as a process. It prints one JSON line on stdout when it is ready, and everything else on
 * stderr.
 */
import { parseArgs } from "node:util"
import { readScript } from "./script.ts"
import { startModel } from "./server.ts"

const usage = `usage: node local/model/main.ts [--port N] [--script FILE.json] [--die-with-parent]`

const fail = (message: string): never => {
  process.stderr.write(`model: ${message}\n`)
  process.exit(1)
}

const readArguments = () => {
  try {
    return parseArgs({
      options: {
        port: { type: "string", default: "0" },
        script: { type: "string" },
        "die-with-parent": { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return fail(`${(error as Error).message}\n${usage}`)
  }
}

const values = readArguments()
if (values.help) {
  process.stderr.write(`${usage}\n`)
  process.exit(0)
}
const port = Number(values.port)
if (!Number.isInteger(port) || port < 0 || port > 65_535) fail(`--port ${values.port} is not a port`)

try {
  const script = values.script === undefined ? {} : readScript(values.script)
  const server = await startModel({ port, script })
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0))
  if (values["die-with-parent"]) process.stdin.on("end", () => process.exit(0)).resume()
  process.stdout.write(`${JSON.stringify({ ready: true, name: "model", url: server.url, pid: process.pid })}\n`)
} catch (error) {
  const inUse = (error as NodeJS.ErrnoException).code === "EADDRINUSE"
  fail(inUse ? `port ${port} is already in use` : (error as Error).message)
}
