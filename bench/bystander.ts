#!/usr/bin/env node
/**
 * A process that only answers every call with 401. It shows what a flood of calls costs the machine, without its cost
 * to the runtime. It prints one JSON line on stdout when it listens, and exits when stdin ends.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const refusal = JSON.stringify({ tool: "task_load", success: false, code: "unauthenticated", error: "refused" })
const server = createServer((request, response) => {
  request.resume()
  response.writeHead(401, { "content-type": "application/json", "content-length": Buffer.byteLength(refusal) })
  response.end(refusal)
})
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(`${JSON.stringify({ ready: true, name: "bystander", url: `http://127.0.0.1:${port}` })}\n`)
})
process.stdin.on("end", () => process.exit(0)).resume()
