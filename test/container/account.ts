/** What an account of docker-compose.runtime.yml finds on its host: its folder, and addresses of this machine. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"

const USER = 10_001

/** A folder for FILES with these secrets, which the scope removes. */
export const accountFolder = (
  secrets: Readonly<Record<"service-token" | "gateway-token", string>>
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "mission-control-account-"))
      chmodSync(folder, 0o755)
      for (const name of ["secrets", "upgrade"]) {
        mkdirSync(join(folder, name))
        chownSync(join(folder, name), USER, USER)
      }
      for (const [name, text] of Object.entries(secrets)) {
        writeFileSync(join(folder, "secrets", name), text, { mode: 0o600 })
        chownSync(join(folder, "secrets", name), USER, USER)
      }
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )

/** Lets containers reach a server that listens only on this machine's loopback; the result is its URL for them. */
export const openTo = (url: string, bridge: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const server = createServer((socket) => {
        const other = connect(Number(new URL(url).port), "127.0.0.1")
        socket.on("error", () => other.destroy()).pipe(other)
        other.on("error", () => socket.destroy()).pipe(socket)
      })
      server.once("error", (error) => resume(Effect.die(error)))
      server.listen(0, bridge, () =>
        resume(Effect.succeed({ port: (server.address() as AddressInfo).port, close: () => void server.close() }))
      )
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ port }) => `http://${bridge}:${port}`))
