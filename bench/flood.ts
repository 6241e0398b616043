#!/usr/bin/env node
/**
 * Refused calls at a steady rate, from a process of their own, so that who measures deliveries is not slowed by who
 * disturbs them: `node bench/flood.ts URL RATE`. One JSON line when it begins; ends with its stdin or at SIGTERM, and
 * then prints how many calls a second were refused with 401.
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
  // By the time that has passed: a late timer must not lower the rate.
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
