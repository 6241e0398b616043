import { timingSafeEqual } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { ChatModel } from "../model/chat.ts"
import type { Script } from "../model/script.ts"
import { ScriptedModel } from "../model/scriptedModel.ts"
import { ChatClient } from "./chatClient.ts"
import { defaultConfig, type GatewayConfig, readConfig, watchConfig } from "./config.ts"
import { serveControl } from "./control.ts"
import { EventSocket } from "./eventSocket.ts"
import { Faults } from "./faults.ts"
import { isMethodAllowed, json, plain, unauthorized, unavailable } from "./httpAnswers.ts"
import { serveModels } from "./models.ts"
import { ownMemory } from "./ownMemory.ts"
import { probeAt, serveProbe } from "./probes.ts"
import { Provider } from "./provider.ts"
import { releaseOf, type Release } from "./release.ts"
import { RequestRecords } from "./requestRecords.ts"
import { Responses } from "./responses.ts"
import { Runs } from "./runs.ts"
import { serveHistory } from "./sessionHistory.ts"
import { Sessions } from "./sessions.ts"

export interface GatewayOptions {
  /** A free port by default, unless the config file has one. */
  readonly port?: number | undefined
  /** Bearer token. Requests need none if neither this nor the config file has one. */
  readonly token?: string | undefined
  readonly agents?: ReadonlyArray<string> | undefined
  /** Path of a configuration file in OpenClaw's form, which the gateway reads again whenever it changes. */
  readonly config?: string | undefined
  /** The release whose answers the gateway copies; 2026.9.6 by default. */
  readonly version?: string | undefined
  /** Base URL of the provider, ending in `/v1`. Without it a scripted model in this process answers. */
  readonly modelUrl?: string | undefined
  readonly script?: Script | undefined
  /** Folder for sessions. Without it they are in memory, and no turn is recovered. */
  readonly stateDir?: string | undefined
  /** Multiplies the provider's retry waits and cooldown, the recovery delay and the drain budget; 1 by default. */
  readonly timeScale?: number | undefined
  readonly maxConcurrent?: number | undefined
  readonly toolSearch?: boolean | undefined
  /** Milliseconds during which the gateway is live but not ready. */
  readonly readyAfterMs?: number | undefined
  /** Receives a line for each reload of the configuration. */
  readonly log?: ((line: string) => void) | undefined
}

export interface GatewayStats {
  readonly version: string
  readonly agents: ReadonlyArray<string>
  readonly requests: number
  readonly turns: number
  readonly active: number
  readonly waiting: number
  readonly peak: number
  readonly sessions: number
  readonly faults: number
  readonly draining: boolean
  readonly rssBytes: number
  /** Memory of this process alone, as `ownMemory` counts it. */
  readonly ownBytes: number
}

const drainSeconds = 315

/** A gateway that answers like OpenClaw's, with a script for its agents. */
export class ScriptedGateway implements AsyncDisposable {
  /** The scripted model in this process; undefined if a provider over HTTP answers. */
  readonly model: ScriptedModel | undefined
  readonly faults = new Faults()
  readonly records = new RequestRecords()
  readonly #options: GatewayOptions
  readonly #release: Release
  readonly #server: Server
  readonly #sessions: Sessions
  readonly #runs: Runs
  readonly #responses: Responses
  readonly #events: EventSocket
  readonly #stopping = new AbortController()
  readonly #startedAt = performance.now()
  #config: GatewayConfig
  #unwatch: (() => void) | undefined
  #port = 0
  #open = 0
  #ready = false
  #draining = false
  #drained: Promise<void> | undefined
  #idle: (() => void) | undefined

  private constructor(options: GatewayOptions) {
    const release = releaseOf(options.version ?? "2026.9.6")
    if (release === undefined) throw new Error(`unknown version ${options.version}`)
    this.#options = options
    this.#release = release
    this.#config = this.#withOptions(options.config === undefined ? defaultConfig : readConfig(options.config))
    this.model = options.modelUrl === undefined ? new ScriptedModel(options.script) : undefined
    const model: ChatModel = this.model ?? new ChatClient(options.modelUrl ?? "")
    this.#sessions = new Sessions(options.stateDir)
    const provider = new Provider(model, release, this.#timeScale)
    this.#events = new EventSocket({
      release,
      token: () => this.#config.token,
      abort: (sessionKey) => this.#runs.stop(sessionKey),
      activeSessions: (agent) => this.#runs.activeSessions(agent)
    })
    this.#runs = new Runs(
      provider,
      this.#sessions,
      release,
      () => this.#config.maxConcurrent,
      (sessionKey, event, payload) => this.#events.emit(sessionKey, event, payload)
    )
    this.#responses = new Responses({
      release,
      runs: this.#runs,
      faults: this.faults,
      records: this.records,
      config: () => this.#config,
      stopping: this.#stopping.signal
    })
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        process.stderr.write(`gateway: ${error instanceof Error ? error.stack : String(error)}\n`)
        if (response.headersSent) response.destroy()
        else plain(response, 500, "Internal Server Error")
      })
    })
    this.#events.attach(this.#server)
  }

  /** Starts on loopback; rejects with ConfigRefused for a bad configuration and with EADDRINUSE for a port in use. */
  static async start(options: GatewayOptions = {}): Promise<ScriptedGateway> {
    const gateway = new ScriptedGateway(options)
    await gateway.#listen(options.port ?? gateway.#config.port ?? 0)
    gateway.#port = (gateway.#server.address() as AddressInfo).port
    if (options.config !== undefined) {
      gateway.#unwatch = watchConfig(
        options.config,
        (config) => {
          gateway.#config = gateway.#withOptions(config)
          options.log?.("config hot reload applied")
        },
        (reason) => options.log?.(`config reload skipped (invalid config): ${reason}`)
      )
    }
    gateway.#becomeReady(options.readyAfterMs ?? 0).catch(() => undefined)
    gateway.#runs.recover(gateway.#timeScale, gateway.#stopping.signal).catch(() => undefined)
    return gateway
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get token(): string | undefined {
    return this.#config.token
  }

  stats(): GatewayStats {
    return {
      version: this.#release.version,
      agents: this.#config.agents,
      requests: this.records.count,
      turns: this.#runs.total,
      active: this.#runs.active,
      waiting: this.#runs.waiting,
      peak: this.#runs.peak,
      sessions: this.#sessions.size,
      faults: this.faults.size,
      draining: this.#draining,
      rssBytes: process.memoryUsage.rss(),
      ownBytes: ownMemory()
    }
  }

  /** Admits no more requests, waits for active runs up to the drain budget, and stops. A second call joins the first. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  /** Aborts all runs and closes all connections at once. */
  async stop(): Promise<void> {
    this.#draining = true
    this.#unwatch?.()
    this.#stopping.abort(new Error("gateway stopped"))
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    this.#events.close()
    await closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** Sends an event for each followed session to its clients. */
  emitToAll(event: string, payload: object): void {
    this.#events.emitToAll(event, payload)
  }

  /** Closes the port for a while, so that connections are refused, and opens the same one again. */
  refuseFor(ms: number): void {
    this.#server.close()
    this.#server.closeAllConnections()
    this.#events.cut()
    sleep(ms, undefined, { signal: this.#stopping.signal }).then(
      () => this.#listen(this.#port),
      () => undefined
    )
  }

  async #drain(): Promise<void> {
    this.#draining = true
    if (this.#open > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#idle = resolve
      const budget = setTimeout(resolve, drainSeconds * 1000 * this.#timeScale)
      await promise
      clearTimeout(budget)
    }
    await this.stop()
  }

  get #timeScale(): number {
    return this.#options.timeScale ?? 1
  }

  #withOptions(config: GatewayConfig): GatewayConfig {
    return {
      ...config,
      agents: this.#options.agents ?? config.agents,
      token: this.#options.token ?? config.token,
      maxConcurrent: this.#options.maxConcurrent ?? config.maxConcurrent,
      toolSearch: this.#options.toolSearch ?? config.toolSearch
    }
  }

  async #becomeReady(afterMs: number): Promise<void> {
    if (afterMs > 0) await sleep(afterMs, undefined, { signal: this.#stopping.signal })
    this.#ready = true
  }

  async #listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(port, "127.0.0.1", () => {
        this.#server.removeListener("error", reject)
        resolve()
      })
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/"
    if (path === "/v1/responses") return await this.#serveResponses(request, response)
    if (path.startsWith("/__local/")) return await serveControl(path, this, request, response)
    response.setHeader("X-Content-Type-Options", "nosniff")
    response.setHeader("Referrer-Policy", "no-referrer")
    if (path === "/v1/models" || path.startsWith("/v1/models/")) {
      if (!this.#config.responses) return plain(response, 404, "Not Found")
      if (!isMethodAllowed(request, response, ["GET", "HEAD"])) return
      if (!this.#isAuthorized(request)) return json(response, 401, unauthorized)
      return serveModels(path, this.#config.agents, response)
    }
    if (/^\/sessions\/[^/]+\/history$/.test(path)) {
      if (request.method !== "GET") return plain(response, 405, "Method Not Allowed")
      if (!this.#isAuthorized(request)) return json(response, 401, unauthorized)
      return serveHistory(path, this.#sessions, response)
    }
    const probe = probeAt(path)
    if (probe === undefined) return plain(response, 404, "Not Found")
    const state = {
      version: this.#release.version,
      uptimeMs: Math.round(performance.now() - this.#startedAt),
      isReady: this.#ready,
      isDraining: this.#draining
    }
    serveProbe(probe, state, request, response)
  }

  async #serveResponses(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#config.responses) return plain(response, 404, "Not Found")
    if (this.#draining || !this.#ready) return unavailable(response)
    if (!isMethodAllowed(request, response, ["POST"])) return
    if (!this.#isAuthorized(request)) return json(response, 401, unauthorized)
    this.#open += 1
    response.once("close", () => {
      this.#open -= 1
      if (this.#open === 0) this.#idle?.()
    })
    await this.#responses.serve(request, response)
  }

  #isAuthorized(request: IncomingMessage): boolean {
    const token = this.#config.token
    if (token === undefined) return true
    const given = Buffer.from(request.headers.authorization ?? "")
    const wanted = Buffer.from(`Bearer ${token}`)
    return given.length === wanted.length && timingSafeEqual(given, wanted)
  }
}
