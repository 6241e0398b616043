#!/usr/bin/env node
/**
 * A TCP proxy that makes a peer far away, as a process: `node bench/delayProxy.ts PORT MS` passes on to 127.0.0.1:PORT
 * what comes, each byte MS milliseconds later, in both directions. The first bytes of a connection wait for another two
 * ways, as for TCP's handshake. One JSON line on stdout when it listens; ends with its stdin.
 */
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"

const [port, delay] = process.argv.slice(2).map(Number)
if (port === undefined || delay === undefined || !(port > 0) || !(delay >= 0)) {
  process.stderr.write("usage: node bench/delayProxy.ts PORT MS\n")
  process.exit(64)
}

/** Timers of one length fire in the order they were set, so that bytes stay in order. */
const passOn = (from: Socket, to: Socket, handshake: number): void => {
  const opened = performance.now()
  const later = (step: () => void): void => {
    const left = Math.max(0, opened + handshake - performance.now())
    if (left < 1) setTimeout(step, delay)
    else setTimeout(() => setTimeout(step, delay), left)
  }
  from.on("data", (bytes) => later(() => void to.write(bytes)))
  from.on("end", () => later(() => void to.end()))
  from.on("close", () => later(() => void to.destroy()))
  from.on("error", () => {})
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
  passOn(near, far, 2 * delay)
  passOn(far, near, 0)
})
server.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  process.stdout.write(`${JSON.stringify({ ready: true, name: "proxy", url })}\n`)
})
process.stdin.on("end", () => process.exit(0)).resume()
