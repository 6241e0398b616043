#!/usr/bin/env node
/**
 * Sends calls that are refused, at a steady rate: `node bench/flood.ts URL RATE`. It is a separate process, so that it
 * does not slow the measurement of deliveries. It prints one JSON line when it begins, and exits when stdin ends or at
 * SIGTERM, when it prints how many calls a second were refused with 401.
 */
import { Agent, request } from "node:http"

const [url, rate] = [process.argv[2] ?? "", Number(process.argv[3])]
const agent = new Agent({ keepAlive: true, maxSockets: 50 })
let refused = 0
let sent = 0
const from = performance.now()

const send = (): void => {
  const outgoing = request(
    `${url}/agent/task-load`,
    {
      method: "POST",
      agent,
      headers: {
        "content-type": "application/json",
        "content-length": 2,
        "x-openclaw-session-key": "agent:engineer:nobody",
        "x-mission-control-capability": "A".repeat(43)
      }
    },
    (response) => {
      response.resume()
      if (response.statusCode === 401) refused += 1
    }
  )
  outgoing.on("error", () => {})
  outgoing.end("{}")
}

setInterval(() => {
  // By elapsed time, so that a late timer does not lower the rate.
  for (; sent < ((performance.now() - from) / 1_000) * rate; sent++) send()
}, 10)

const end = (): void => {
  process.stdout.write(`${JSON.stringify({ refused, rate: (refused * 1_000) / (performance.now() - from) })}\n`, () =>
    process.exit(0)
  )
}
process.on("SIGTERM", end)
process.stdin.on("end", () => process.exit(0)).resume()
process.stdout.write(`${JSON.stringify({ ready: true, name: "flood", url })}\n`)
