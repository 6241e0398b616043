#!/usr/bin/env node
/**
 * A TCP proxy, as a process, that simulates distance: `node bench/delayProxy.ts PORT MS` forwards each byte to and from
 * 127.0.0.1:PORT MS milliseconds later. The first bytes of a connection wait for another round trip, as for TCP's
 * handshake. It prints one JSON line on stdout when it listens, and exits when stdin ends.
 */
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"

const [port, delay] = process.argv.slice(2).map(Number)
if (port === undefined || delay === undefined || !(port > 0) || !(delay >= 0)) {
  process.stderr.write("usage: node bench/delayProxy.ts PORT MS\n")
  process.exit(64)
}

/** One direction. Bytes pass in their order, even if timers fire late. */
const passOn = (from: Socket, to: Socket, handshake: number): void => {
  const open = performance.now() + handshake
  const waiting: Array<{ readonly due: number; readonly step: () => void }> = []
  const proceed = (): void => {
    while (waiting[0] !== undefined && waiting[0].due <= performance.now()) waiting.shift()!.step()
    if (waiting[0] !== undefined) setTimeout(proceed, Math.max(1, Math.ceil(waiting[0].due - performance.now())))
  }
  const later = (step: () => void): void => {
    waiting.push({ due: Math.max(open, performance.now()) + delay, step })
    if (waiting.length === 1) setTimeout(proceed, Math.max(1, Math.ceil(waiting[0]!.due - performance.now())))
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
