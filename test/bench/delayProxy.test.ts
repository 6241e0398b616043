import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { launch } from "../../local/launcher.ts"

const proxy = fileURLToPath(new URL("../../bench/delayProxy.ts", import.meta.url))

const echo = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer((request, response) => void request.pipe(response))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return server
  }),
  (server) => Effect.sync(() => server.close().closeAllConnections())
).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

describe("the delay proxy", () => {
  it.live("forwards every byte in order, and not before its delay", () =>
    Effect.gen(function* () {
      const port = yield* echo
      const far = yield* launch({ name: "proxy", command: process.execPath, args: [proxy, String(port), "40"] })
      const text = Array.from({ length: 50_000 }, (_, index) => `${index} `).join("")
      const answered = Effect.promise(async () => {
        const from = performance.now()
        const response = await fetch(far.url, { method: "POST", body: text })
        return { text: await response.text(), took: performance.now() - from }
      })
      const first = yield* answered
      const second = yield* answered
      assert.strictEqual(first.text, text)
      assert.strictEqual(second.text, text)
      // Timers may fire a millisecond early. The first request of a connection also waits for its handshake.
      assert.isAtLeast(first.took, 4 * 39)
      assert.isAtLeast(second.took, 2 * 39)
    }).pipe(Effect.scoped)
  )
})
