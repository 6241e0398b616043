/**
 * A TCP proxy between the runtime and the control plane that records when calls and pushes pass, and delays nothing.
 */
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { Effect } from "effect"
import type { Scope } from "effect"
import { now } from "./load.ts"

/** A call or push that passed, in milliseconds since the epoch; a push has no path. */
export type Passed = {
  readonly at: number
  readonly what: "sent" | "answered" | "pushed"
  readonly path: string
}

export type Tap = {
  readonly url: string
  /** All calls and pushes since `passed` was last emptied, in order. */
  readonly passed: Array<Passed>
}

/** Records the calls of one HTTP connection, or the pushes of a WebSocket. */
const watch = (near: Socket, far: Socket, passed: Array<Passed>): void => {
  let isSocket = false
  let underWay: string | undefined
  near.on("data", (bytes) => {
    const text = bytes.toString("latin1")
    isSocket ||= /^GET [^\n]*\/sync /.test(text)
    const path = isSocket ? undefined : /"path":"([^"]+)"/.exec(text)?.[1]
    if (path !== undefined) {
      underWay = path
      passed.push({ at: now(), what: "sent", path })
    }
  })
  far.on("data", (bytes) => {
    if (underWay !== undefined) passed.push({ at: now(), what: "answered", path: underWay })
    underWay = undefined
    if (isSocket && bytes.includes('"QueryUpdated"')) passed.push({ at: now(), what: "pushed", path: "" })
  })
}

/** Opens the proxy in front of this URL; the scope closes it. */
export const tapTo = (url: string): Effect.Effect<Tap, never, Scope.Scope> =>
  Effect.gen(function* () {
    const passed: Array<Passed> = []
    const port = Number(new URL(url).port)
    const sockets = new Set<Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const made = createServer({ noDelay: true }, (near) => {
          const far = connect({ port, host: "127.0.0.1", noDelay: true })
          for (const socket of [near, far]) {
            sockets.add(socket)
            socket.on("error", () => {})
            socket.on("close", () => {
              sockets.delete(socket)
              near.destroy()
              far.destroy()
            })
          }
          watch(near, far, passed)
          near.pipe(far)
          far.pipe(near)
        })
        await new Promise<void>((resolve) => made.listen(0, "127.0.0.1", resolve))
        return made
      }),
      (made) =>
        Effect.sync(() => {
          made.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, passed }
  })
