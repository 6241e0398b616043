import { timingSafeEqual } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { isCanarySession } from "../../src/domain/gateway/Canary.ts"
import type { ChatModel } from "../model/chat.ts"
import { readBody, serveModelControl } from "../model/control.ts"
import type { Script } from "../model/script.ts"
import { ScriptedModel } from "../model/scriptedModel.ts"
import { completedResource, EventStream, failedResource, newIdentity, type ResponseIdentity } from "./answer.ts"
import { ChatClient } from "./chatClient.ts"
import { defaultConfig, type GatewayConfig, readConfig, watchConfig } from "./config.ts"
import { type Fault, Faults, parseFault } from "./faults.ts"
import { promptOf } from "./prompt.ts"
import { Provider } from "./provider.ts"
import { releaseOf, type Release } from "./release.ts"
import { type ClientTool, parseRequestBody, type RequestBody } from "./requestBody.ts"
import { Runs } from "./runs.ts"
import { resolveKey, selectAgent, selectSession } from "./selection.ts"
import { Sessions } from "./sessions.ts"
import { applyToolChoice, hasNameConflict, satisfiesToolChoice, type ToolChoice } from "./toolChoice.ts"
import { internalError, type TurnEnd, TurnFailed } from "./turnEnd.ts"

export interface GatewayOptions {
  /** 0, a free port, unless given here or in the config file. */
  readonly port?: number | undefined
  /** Bearer token; none is asked for when neither this nor the config file has one. */
  readonly token?: string | undefined
  readonly agents?: ReadonlyArray<string> | undefined
  /** Path of a configuration file in OpenClaw's form, read again whenever it changes. */
  readonly config?: string | undefined
  /** The release to answer like; 2026.9.6 unless given. */
  readonly version?: string | undefined
  /** Base URL of the provider, ending in `/v1`; without it a scripted model in this process answers. */
  readonly modelUrl?: string | undefined
  readonly script?: Script | undefined
  /** Folder for sessions; without it they live in memory and no turn is recovered. */
  readonly stateDir?: string | undefined
  /** Multiplies the provider's retry waits, its cooldown, the recovery delay and the drain budget; 1 is as slow as the real gateway. */
  readonly timeScale?: number | undefined
  readonly maxConcurrent?: number | undefined
  readonly toolSearch?: boolean | undefined
  /** Milliseconds during which the gateway is live but not ready. */
  readonly readyAfterMs?: number | undefined
  /** Where the gateway tells what happens to its configuration; nowhere unless given. */
  readonly log?: ((line: string) => void) | undefined
}

/** One request to /v1/responses as the gateway saw it. */
export interface GatewayRequest {
  readonly id: number
  /** When its body had been read, epoch milliseconds with fractions. */
  readonly at: number
  readonly agent: string
  readonly session: string
  readonly model: string
  readonly input: RequestBody["input"]
  readonly instructions: string | undefined
  readonly tools: ReadonlyArray<string>
  readonly stream: boolean
  readonly traceparent: string | undefined
  /** The HTTP status answered; 0 while open, when the caller left, or when a fault broke the connection. */
  status: number
  ended: "open" | "answered" | "closed-early" | "fault"
  /** When its connection closed, as `at`; 0 before. */
  closedAt: number
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
  /** Without the pages of the node binary, which all node processes share; like rssBytes where the system does not tell. */
  readonly ownBytes: number
}

const maxBodyBytes = 20 * 1024 * 1024
const keptRequests = 250
const keptArrivals = 20_000
const keptResponses = 500
const drainSeconds = 315

/** A gateway that answers like OpenClaw's, with a script for its agents. */
export class ScriptedGateway implements AsyncDisposable {
  /** The scripted model in this process; undefined when a provider over HTTP answers. */
  readonly model: ScriptedModel | undefined
  readonly faults = new Faults()
  readonly requests: Array<GatewayRequest> = []
  /** When a request of which agent came: what a load of thousands is timed by, without their texts. */
  readonly arrivals: Array<Pick<GatewayRequest, "at" | "agent">> = []
  readonly #options: GatewayOptions
  readonly #release: Release
  readonly #server: Server
  readonly #sessions: Sessions
  readonly #runs: Runs
  readonly #stopping = new AbortController()
  readonly #responses = new Map<string, { readonly scope: string; readonly sessionKey: string }>()
  readonly #startedAt = performance.now()
  #config: GatewayConfig
  #unwatch: (() => void) | undefined
  #port = 0
  #count = 0
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
    this.#runs = new Runs(provider, this.#sessions, release, () => this.#config.maxConcurrent)
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        process.stderr.write(`gateway: ${error instanceof Error ? error.stack : String(error)}\n`)
        if (response.headersSent) response.destroy()
        else plain(response, 500, "Internal Server Error")
      })
    })
  }

  /** Starts on loopback; rejects with ConfigRefused for a bad configuration and EADDRINUSE for a taken port. */
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
      requests: this.#count,
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

  /** Stops admitting, waits for the runs under way up to the drain budget, then stops; asked again, it is the same drain. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  /** Breaks off every run and closes every connection at once. */
  async stop(): Promise<void> {
    this.#draining = true
    this.#unwatch?.()
    this.#stopping.abort(new Error("gateway stopped"))
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
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

  /** Tool Search is itself a tool: a policy that denies every tool leaves the client's in sight. */
  get #hidesTools(): boolean {
    return !this.#config.deniesAll && (this.#config.toolSearch ?? this.#release.toolSearch)
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
    if (path.startsWith("/__local/")) return await this.#serveControl(path, request, response)
    response.setHeader("X-Content-Type-Options", "nosniff")
    response.setHeader("Referrer-Policy", "no-referrer")
    if (path === "/v1/models" || path.startsWith("/v1/models/")) return this.#serveModels(path, request, response)
    if (/^\/sessions\/[^/]+\/history$/.test(path)) return this.#serveHistory(path, request, response)
    const probe = probes.get(path)
    if (probe !== undefined) return this.#serveProbe(probe, request, response)
    plain(response, 404, "Not Found")
  }

  #serveProbe(probe: Probe, request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD")
      return plain(response, 405, "Method Not Allowed")
    }
    response.setHeader("Cache-Control", "no-store")
    const uptimeMs = Math.round(performance.now() - this.#startedAt)
    const { version } = this.#release
    switch (probe) {
      case "live":
        return json(response, 200, { ok: true, status: "live" })
      case "startup":
        if (this.#draining) return json(response, 503, { ok: false, status: "draining", version, uptimeMs })
        if (!this.#ready) return json(response, 503, { ok: false, status: "starting", version, uptimeMs })
        return json(response, 200, { ok: true, status: "started", version, uptimeMs })
      case "ready": {
        const failing = this.#draining ? ["gateway-draining"] : this.#ready ? [] : ["startup-sidecars"]
        const ready = failing.length === 0
        return json(response, ready ? 200 : 503, { ready, failing, uptimeMs })
      }
    }
  }

  #serveModels(path: string, request: IncomingMessage, response: ServerResponse): void {
    if (!this.#config.responses) return plain(response, 404, "Not Found")
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD")
      return plain(response, 405, "Method Not Allowed")
    }
    if (!this.#isAuthorized(request)) return json(response, 401, unauthorized)
    const ids = ["openclaw", "openclaw/default", ...this.#config.agents.map((agent) => `openclaw/${agent}`)]
    const entry = (id: string) => ({ id, object: "model", created: 0, owned_by: "openclaw", permission: [] })
    if (path === "/v1/models") return json(response, 200, { object: "list", data: ids.map(entry) })
    const id = decodeURIComponent(path.slice("/v1/models/".length))
    if (ids.includes(id)) return json(response, 200, entry(id))
    json(response, 404, { error: { message: `Model '${id}' not found.`, type: "invalid_request_error" } })
  }

  /** The end of a session's history: its last model call. */
  #serveHistory(path: string, request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== "GET") return plain(response, 405, "Method Not Allowed")
    if (!this.#isAuthorized(request)) return json(response, 401, unauthorized)
    const sessionKey = decodeURIComponent(path.split("/")[2] ?? "")
    const session = this.#sessions.find(sessionKey)
    if (session === undefined) {
      const error = { message: `Session not found: ${sessionKey}`, type: "not_found" }
      return json(response, 404, { ok: false, error })
    }
    const input = session.lastCallTokens
    const usage = { input, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: input }
    const text = [{ type: "text", text: "" }]
    const items = input === 0 ? [] : [{ role: "assistant", content: text, stopReason: "stop", usage }]
    json(response, 200, { sessionKey, items, messages: items, hasMore: false })
  }

  async #serveResponses(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#config.responses) return plain(response, 404, "Not Found")
    if (this.#draining || !this.#ready) return unavailable(response)
    if (request.method !== "POST") {
      response.setHeader("Allow", "POST")
      return plain(response, 405, "Method Not Allowed")
    }
    if (!this.#isAuthorized(request)) return json(response, 401, unauthorized)
    this.#open += 1
    response.once("close", () => {
      this.#open -= 1
      if (this.#open === 0) this.#idle?.()
    })
    const text = await readLimited(request)
    if (text === undefined) return json(response, 413, refusal("Payload too large"))
    let input: unknown
    try {
      input = text === "" ? {} : JSON.parse(text)
    } catch (error) {
      return json(response, 400, refusal((error as Error).message))
    }
    const parsed = parseRequestBody(input, this.#release)
    if ("refused" in parsed) return json(response, 400, refusal(parsed.refused))
    await this.#serveTurn(parsed.body, request, response)
  }

  async #serveTurn(body: RequestBody, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { headers } = request
    const selected = selectAgent(headers, body.model, this.#config.agents)
    if ("refused" in selected) return json(response, 400, refusal(selected.refused))
    const prompt = promptOf(body.input, this.#release)
    const choice = applyToolChoice(body.tools ?? [], body.tool_choice)
    if (choice === undefined) return json(response, 400, refusal("invalid tool configuration"))
    const keyed = selectSession(headers, selected.agent, body.user)
    if ("refused" in keyed) return json(response, 400, refusal(keyed.refused))
    if (prompt.text === "") return json(response, 400, refusal("Missing user message in `input`."))
    const scope = `${headers.authorization}\n${selected.agent}\n${String(headers["x-openclaw-session-key"] ?? "")}`
    const earlier = this.#responses.get(body.previous_response_id ?? "")
    const sessionKey = earlier?.scope === scope ? earlier.sessionKey : keyed.sessionKey
    const target = resolveKey(sessionKey, this.#config.agents)
    const record = this.#record(body, target?.agent ?? selected.agent, target?.sessionKey ?? sessionKey, request)
    const aborted = new AbortController()
    response.once("close", () => {
      if (record.ended === "open") record.ended = "closed-early"
      record.closedAt = performance.timeOrigin + performance.now()
      aborted.abort(new Error("client disconnected"))
    })
    const fault = isCanarySession(record.session) ? undefined : this.faults.take(record.agent, record.session)
    if (fault !== undefined && (await this.#suffer(fault, record, response, aborted.signal))) return
    const identity = newIdentity(body.model)
    this.#remember(identity.id, scope, sessionKey)
    const reply = new Reply(response, identity, body.stream === true, record, fault)
    try {
      if (target === undefined) throw internalError()
      if (hasNameConflict(body.tools ?? [])) {
        throw new TurnFailed(400, "invalid_request_error", "invalid tool configuration")
      }
      const end = await this.#runs.run(
        {
          target,
          text: prompt.text,
          instructions: [body.instructions, prompt.system, choice.hint].filter(Boolean).join("\n\n"),
          workspace: this.#config.workspaces[target.agent],
          tools: choice.tools,
          toolSearch: this.#hidesTools,
          maxTokens: body.max_output_tokens
        },
        AbortSignal.any([aborted.signal, this.#stopping.signal])
      )
      reply.end(end, choice.constraint)
    } catch (error) {
      if (aborted.signal.aborted || this.#stopping.signal.aborted) return
      reply.fail(error instanceof TurnFailed ? error : internalError())
      if (!(error instanceof TurnFailed)) throw error
    }
  }

  /** True when the fault has decided the request's fate; false when the run goes on. */
  async #suffer(fault: Fault, record: GatewayRequest, response: ServerResponse, signal: AbortSignal): Promise<boolean> {
    switch (fault.kind) {
      case "delay":
        await sleep(fault.delayMs ?? 1_000, undefined, { signal }).catch(() => undefined)
        return signal.aborted
      case "lose":
      case "truncate":
        return false
      case "hang":
        record.ended = "fault"
        return true
      case "unavailable":
        settle(record, 503, "fault")
        unavailable(response)
        return true
      case "answer":
        settle(record, fault.status, "fault")
        response.writeHead(fault.status, { "Content-Type": fault.contentType }).end(fault.body)
        return true
      case "garbage":
        settle(record, 200, "fault")
        response.writeHead(200, { "Content-Type": "application/json; charset=utf-8" }).end('{"id":"resp_')
        return true
      case "reset":
      case "refuse":
        settle(record, 0, "fault")
        response.socket?.resetAndDestroy()
        return true
    }
  }

  /** Closes the port, so that connections are refused, and opens the same one again after a while. */
  #refuseFor(ms: number): void {
    this.#server.close()
    this.#server.closeAllConnections()
    sleep(ms, undefined, { signal: this.#stopping.signal }).then(
      () => this.#listen(this.#port),
      () => undefined
    )
  }

  async #serveControl(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (path === "/__local/stats") return json(response, 200, this.stats())
    if (path === "/__local/requests") {
      if (request.method === "DELETE") this.clearRequests()
      return json(response, 200, { count: this.#count, requests: this.requests })
    }
    if (path === "/__local/arrivals") {
      if (request.method === "DELETE") this.arrivals.length = 0
      return json(response, 200, { arrivals: this.arrivals })
    }
    if (path === "/__local/faults") {
      if (request.method === "DELETE") this.faults.clear()
      if (request.method !== "POST") return json(response, 200, { waiting: this.faults.size })
      try {
        const fault = parseFault(JSON.parse(await readBody(request)))
        json(response, 200, { ok: true })
        if (fault.kind === "refuse") response.once("finish", () => this.#refuseFor(fault.forMs))
        else this.faults.add(fault)
      } catch (error) {
        json(response, 400, { error: (error as Error).message })
      }
      return
    }
    if (this.model !== undefined) {
      const prefix = path === "/__local/script" ? "/__local" : "/__local/model"
      if (await serveModelControl(this.model, request, response, prefix)) return
    }
    plain(response, 404, "Not Found")
  }

  /** Forgets the recorded requests. */
  clearRequests(): void {
    this.requests.length = 0
  }

  /** Keeps what was asked. A runtime's canary is no work: it is not counted, and meets no fault. */
  #record(body: RequestBody, agent: string, session: string, request: IncomingMessage): GatewayRequest {
    const isCounted = !isCanarySession(session)
    if (isCounted) this.#count += 1
    const { traceparent } = request.headers
    const record: GatewayRequest = {
      id: this.#count,
      at: performance.timeOrigin + performance.now(),
      agent,
      session,
      model: body.model,
      input: body.input,
      instructions: body.instructions,
      tools: (body.tools ?? []).map((tool: ClientTool) => tool.name),
      stream: body.stream === true,
      traceparent: typeof traceparent === "string" ? traceparent : undefined,
      status: 0,
      ended: "open",
      closedAt: 0
    }
    if (!isCounted) return record
    this.requests.push(record)
    if (this.requests.length > keptRequests * 2) this.requests.splice(0, keptRequests)
    this.arrivals.push({ at: record.at, agent })
    if (this.arrivals.length > keptArrivals * 2) this.arrivals.splice(0, keptArrivals)
    return record
  }

  #remember(responseId: string, scope: string, sessionKey: string): void {
    this.#responses.set(responseId, { scope, sessionKey })
    if (this.#responses.size <= keptResponses) return
    const oldest = this.#responses.keys().next().value
    if (oldest !== undefined) this.#responses.delete(oldest)
  }

  #isAuthorized(request: IncomingMessage): boolean {
    const token = this.#config.token
    if (token === undefined) return true
    const given = Buffer.from(request.headers.authorization ?? "")
    const wanted = Buffer.from(`Bearer ${token}`)
    return given.length === wanted.length && timingSafeEqual(given, wanted)
  }
}

/** Writes one run's end in the form the caller asked for, and breaks it off where a fault says so. */
class Reply {
  readonly #response: ServerResponse
  readonly #identity: ResponseIdentity
  readonly #stream: EventStream | undefined
  readonly #record: GatewayRequest
  readonly #fault: Fault | undefined

  constructor(
    response: ServerResponse,
    identity: ResponseIdentity,
    stream: boolean,
    record: GatewayRequest,
    fault: Fault | undefined
  ) {
    this.#response = response
    this.#identity = identity
    this.#record = record
    this.#fault = fault
    this.#stream = stream ? new EventStream(response, identity) : undefined
    this.#stream?.open()
  }

  end(end: TurnEnd, constraint: ToolChoice["constraint"]): void {
    if (this.#breaksOff()) return
    if (!satisfiesToolChoice(constraint, end)) {
      const message =
        constraint?.name === undefined
          ? "tool_choice=required was not satisfied by the agent response"
          : `tool_choice required a ${constraint.name} tool call, but the agent did not produce one`
      return this.fail(new TurnFailed(502, "api_error", message), end.usage)
    }
    settle(this.#record, 200, "answered")
    if (this.#stream !== undefined) return this.#stream.complete(end)
    json(this.#response, 200, completedResource(this.#identity, end))
  }

  fail(failure: TurnFailed, usage?: TurnEnd["usage"]): void {
    if (this.#record.ended === "open" && this.#breaksOff()) return
    settle(this.#record, this.#stream === undefined ? failure.status : 200, "answered")
    if (this.#stream !== undefined) return this.#stream.fail(failure, usage)
    json(this.#response, failure.status, failedResource(this.#identity, failure, usage))
  }

  #breaksOff(): boolean {
    if (this.#fault?.kind === "lose") {
      settle(this.#record, 0, "fault")
      this.#response.socket?.resetAndDestroy()
      return true
    }
    if (this.#fault?.kind === "truncate") {
      settle(this.#record, 0, "fault")
      if (!this.#response.headersSent) {
        this.#response.writeHead(200, { "Content-Type": "application/json; charset=utf-8", "Content-Length": 1_000 })
      }
      this.#response.write('{"id":"resp_', () => this.#response.socket?.resetAndDestroy())
      return true
    }
    return false
  }
}

type Probe = "live" | "ready" | "startup"

const probes = new Map<string, Probe>([
  ["/health", "live"],
  ["/healthz", "live"],
  ["/ready", "ready"],
  ["/readyz", "ready"],
  ["/startup", "startup"],
  ["/startupz", "startup"]
])

const ownMemory = (): number => {
  try {
    const kilobytes = /^RssAnon:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
    if (kilobytes !== undefined) return Number(kilobytes) * 1024
  } catch {
    // Not Linux.
  }
  return process.memoryUsage.rss()
}

const unauthorized = { error: { message: "Unauthorized", type: "unauthorized" } }

const refusal = (message: string) => ({ error: { message, type: "invalid_request_error" } })

const settle = (record: GatewayRequest, status: number, ended: GatewayRequest["ended"]): void => {
  record.status = status
  record.ended = ended
}

const unavailable = (response: ServerResponse): void => {
  response.setHeader("Retry-After", "1")
  json(response, 503, {
    error: {
      message: "Gateway is temporarily unavailable while suspending or restarting",
      type: "service_unavailable",
      code: "gateway_unavailable"
    }
  })
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  const text = JSON.stringify(body)
  response
    .writeHead(status, { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(text) })
    .end(text)
}

const plain = (response: ServerResponse, status: number, text: string): void => {
  response
    .writeHead(status, { "Content-Type": "text/plain; charset=utf-8", "Content-Length": Buffer.byteLength(text) })
    .end(text)
}

/** The body as text; undefined when it is larger than the gateway takes. */
const readLimited = async (request: IncomingMessage): Promise<string | undefined> => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes <= maxBodyBytes) chunks.push(chunk as Buffer)
  }
  return bytes > maxBodyBytes ? undefined : Buffer.concat(chunks).toString("utf8")
}
