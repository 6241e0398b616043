/** A runtime that starts its gateway itself: a state folder with a configuration, and a scripted `openclaw`. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"

/** The scripted gateway's command line. */
export const scriptedGateway = join(import.meta.dirname, "..", "..", "local", "gateway", "main.ts")

/** The folders of a supervised gateway, and the runtime's variables for it. */
export interface GatewayHome {
  readonly folder: string
  readonly stateDir: string
  readonly configPath: string
  readonly port: number
  readonly url: string
  readonly env: Record<string, string>
  /** The id in the runtime's pid file; null if there is none. */
  readonly pid: () => number | null
  readonly writeConfig: (config: unknown) => void
  /** Writes an executable with this text, for example a faulty release, and returns its path. */
  readonly command: (name: string, text: string) => string
}

export const freePort: Effect.Effect<number> = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** A configuration of the gateway with these agents and nothing else. */
export const gatewaySettings = (slugs: ReadonlyArray<string>): object => ({
  gateway: { mode: "local", bind: "loopback", http: { endpoints: { responses: { enabled: true } } } },
  agents: { ownership: "explicit", entries: Object.fromEntries(slugs.map((slug) => [slug, {}])) },
  tools: { toolSearch: false }
})

const noted = (path: string): number | null => {
  try {
    return Number(JSON.parse(readFileSync(path, "utf8")).pid)
  } catch {
    return null
  }
}

/** Whether the process exists and is no zombie. */
export const isRunning = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return !stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")
  } catch {
    return false
  }
}

/** A home in its own folder; the end of the scope kills the processes that run from it. */
export const makeGatewayHome = (
  config: unknown,
  env: Record<string, string> = {}
): Effect.Effect<GatewayHome, never, Scope.Scope> =>
  Effect.gen(function* () {
    const port = yield* freePort
    const folder = mkdtempSync(join(tmpdir(), "mission-control-gateway-"))
    const stateDir = join(folder, "state")
    const configPath = join(stateDir, "openclaw.json")
    const pidFile = join(stateDir, "mission-control-gateway.json")
    mkdirSync(stateDir)
    const writeConfig = (settings: unknown) =>
      writeFileSync(configPath, typeof settings === "string" ? settings : JSON.stringify(settings, null, 2))
    writeConfig(config)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        const pid = noted(pidFile)
        try {
          if (pid !== null) process.kill(-pid, "SIGKILL")
        } catch {
          // It has already exited.
        }
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
      })
    )
    return {
      folder,
      stateDir,
      configPath,
      port,
      url: `http://127.0.0.1:${port}`,
      env: {
        OPENCLAW_GATEWAY_URL: "",
        OPENCLAW_GATEWAY_PATH: scriptedGateway,
        OPENCLAW_GATEWAY_PORT: String(port),
        OPENCLAW_STATE_DIR: stateDir,
        ...env
      },
      pid: () => (existsSync(pidFile) ? noted(pidFile) : null),
      writeConfig,
      command: (name, text) => {
        const path = join(folder, name)
        writeFileSync(path, text, { mode: 0o755 })
        return path
      }
    }
  })
