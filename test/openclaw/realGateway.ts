import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { gatewayConfig } from "./gatewayConfig.ts"

export interface RealGatewayOptions {
  readonly version: string
  /** Path of openclaw.mjs. */
  readonly command: string
  readonly modelUrl: string
  /** Folder for all files that the gateway writes. */
  readonly root: string
  /** Agent ids; alpha and beta by default. */
  readonly agents?: ReadonlyArray<string>
  /** The built-in tools that agents get; none by default. */
  readonly builtIns?: ReadonlyArray<string>
  /** The model's context window in tokens; 128,000 by default. */
  readonly contextWindow?: number
}

const readyBudgetMs = 120_000
const stopGraceMs = 10_000
const defaultAgents = ["alpha", "beta"]

/** An OpenClaw gateway with its own configuration, state and home. */
export class RealGateway {
  readonly url: string
  readonly token = "contract-token"
  readonly stateDir: string
  readonly configPath: string
  readonly logPath: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  private constructor(child: ChildProcess, options: RealGatewayOptions, port: number) {
    this.#child = child
    this.#exited = once(child, "exit")
    this.url = `http://127.0.0.1:${port}`
    this.stateDir = join(options.root, "state")
    this.configPath = join(options.root, "openclaw.json")
    this.logPath = join(options.root, "gateway.out")
  }

  /** Starts the gateway, waits until it is ready and lets each agent run once; rejects with the end of its log. */
  static async start(options: RealGatewayOptions): Promise<RealGateway> {
    const { root, agents = defaultAgents } = options
    const port = await freePort()
    for (const folder of ["home", "state", "workspaces"]) mkdirSync(join(root, folder), { recursive: true })
    const config = gatewayConfig({ ...options, port, token: "contract-token", agents })
    writeFileSync(join(root, "openclaw.json"), JSON.stringify(config, null, 2))
    const child = spawn(process.execPath, [options.command, "gateway", "run"], {
      cwd: root,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        HOME: join(root, "home"),
        OPENCLAW_STATE_DIR: join(root, "state"),
        OPENCLAW_CONFIG_PATH: join(root, "openclaw.json"),
        OPENCLAW_OFFLINE: "1",
        OPENCLAW_NO_AUTO_UPDATE: "1",
        OPENCLAW_DISABLE_BONJOUR: "1",
        NO_COLOR: "1"
      }
    })
    const gateway = new RealGateway(child, options, port)
    const log = createWriteStream(gateway.logPath)
    child.stdout?.pipe(log)
    child.stderr?.pipe(log)
    try {
      await gateway.#untilReady()
      for (const agent of agents) await gateway.#warmUp(agent)
    } catch (error) {
      await gateway.stop()
      const tail = readFileSync(gateway.logPath, "utf8").split("\n").slice(-20).join("\n")
      throw new Error(`the gateway did not start: ${(error as Error).message}\n${tail}`, { cause: error })
    }
    return gateway
  }

  /** SIGTERM, and after ten seconds SIGKILL for its whole process group. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGTERM")
      await Promise.race([this.#exited, sleep(stopGraceMs, undefined, { ref: false })])
    }
    this.kill()
  }

  /** SIGKILL for the process group, even if its leader has exited. */
  kill(): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGKILL")
    } catch {
      // The group has no process left.
    }
  }

  async #untilReady(): Promise<void> {
    const deadline = performance.now() + readyBudgetMs
    while (performance.now() < deadline) {
      if (this.#child.exitCode !== null) throw new Error(`it ended with code ${this.#child.exitCode}`)
      try {
        const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(5_000) })
        const body = (await answer.json()) as { readonly ready?: unknown }
        if (body.ready === true) return
      } catch {
        // Not listening yet.
      }
      await sleep(250)
    }
    throw new Error(`it was not ready after ${readyBudgetMs / 1000} s`)
  }

  /** The first turns of a process take seconds, so they run before any test. */
  async #warmUp(agent: string): Promise<void> {
    const answer = await fetch(`${this.url}/v1/responses`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.token}`,
        "content-type": "application/json",
        "x-openclaw-agent-id": agent,
        "x-openclaw-session-key": `agent:${agent}:warm-up`
      },
      body: JSON.stringify({ model: "openclaw", input: "warm up" }),
      signal: AbortSignal.timeout(90_000)
    })
    if (answer.status !== 200) throw new Error(`warm-up of ${agent} answered ${answer.status}: ${await answer.text()}`)
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer()
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}
