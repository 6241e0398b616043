/** A deployment with many accounts and simulated runtimes, in virtual time, that counts calls as a bill does. */
import { join } from "node:path"
import { type FunctionArgs, type FunctionReference, type FunctionReturnType, getFunctionName } from "convex/server"
import { ConvexError, convexToJson, jsonToConvex } from "convex/values"
import { vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Doc, Id } from "../../convex/_generated/dataModel.js"
import { loadApp } from "../../local/plane/app.ts"
import type { Identity } from "../../local/plane/call.ts"
import { Engine } from "../../local/plane/engine.ts"
import { Scheduler } from "../../local/plane/scheduler.ts"
import type { FunctionStats, Origin } from "../../local/plane/stats.ts"

const app = loadApp(join(import.meta.dirname, "../../convex"))
const { setImmediate: soon } = globalThis
const aMoment = () => new Promise<void>((resolve) => void soon(resolve))

type Commands = FunctionReturnType<typeof api.service.runtimes.commands>
type Versions = Doc<"runtimes">["versions"]

/** What becomes of a runtime that is asked for another version or a restart. */
export type Fate =
  /** It does what it is asked. */
  | "obeys"
  /** Its host refuses. */
  | "refuses"
  /** It takes the command and is never seen again. */
  | "vanishes"
  /** It is offline, and stays so. */
  | "offline"
  /** It never takes a command. */
  | "deaf"
  /** It comes back degraded. */
  | "ails"

/** An account with one runtime or several. */
export interface Tenant {
  readonly accountId: Id<"accounts">
  readonly serviceToken: string
}

/** The identity of the owner of the account with this name. */
export const ownerOf = (name: string): Identity => {
  const [issuer, subject] = ["https://login.example.com", `owner of ${name}`]
  return { issuer, subject, tokenIdentifier: `${issuer}|${subject}`, name: "Ana" }
}

/** The deployment. Needs fake timers. */
export class FleetPlane {
  readonly engine: Engine
  readonly runtimes: Array<SimulatedRuntime> = []
  private readonly scheduler: Scheduler
  /** The pushes that have not arrived: one for each commit that changes a runtime's commands. */
  private heard: Array<SimulatedRuntime> = []
  /** When the scheduled functions are due that wait, by id. */
  private readonly pending = new Map<string, number>()

  private constructor(engine: Engine) {
    this.engine = engine
    this.scheduler = new Scheduler(engine)
    engine.onCommit(({ changes }) => {
      for (const { after, before, id, table } of changes) {
        if (table === "_scheduled_functions") {
          const isPending = (after?.["state"] as { readonly kind?: string } | undefined)?.kind === "pending"
          if (isPending) this.pending.set(id, Number(after?.["scheduledTime"]))
          else this.pending.delete(id)
        }
        const row = (after ?? before) as Partial<Doc<"runtimeCommands">> | null
        if (table !== "runtimeCommands" || row === null) continue
        const runtime = this.runtimes.find(
          ({ runtimeId, tenant }) => tenant.accountId === row.accountId && runtimeId === row.runtimeId
        )
        if (runtime !== undefined) this.heard.push(runtime)
      }
    })
  }

  static async start(): Promise<FleetPlane> {
    const failures: Array<string> = []
    return new FleetPlane(
      new Engine({
        app: await app,
        transactionTimeout: 60_000,
        onStuck: (path) => failures.push(path),
        log: (line) => {
          throw new Error(line)
        }
      })
    )
  }

  close(): void {
    this.scheduler.close()
  }

  /** Calls a function, internal ones too. Fails with what the function refuses. */
  async call<F extends FunctionReference<any, any>>(
    reference: F,
    args: FunctionArgs<F>,
    options: { readonly identity?: Identity; readonly origin?: Origin } = {}
  ): Promise<FunctionReturnType<F>> {
    const { identity = null, origin = "client" } = options
    const result = await this.engine.run({
      path: getFunctionName(reference),
      args: convexToJson(args as never),
      identity,
      isAdmin: true,
      origin
    })
    if (result.status === "success") return jsonToConvex(result.value) as FunctionReturnType<F>
    if (result.status === "error" && result.errorData !== undefined) throw new ConvexError(result.errorData as never)
    throw new Error(JSON.stringify(result))
  }

  /** The rows of a table, without counting as a read. */
  rows<Table extends "accounts" | "rolloutAccounts" | "rollouts" | "runtimeCommands" | "activities" | "runtimes">(
    table: Table
  ): Array<Doc<Table>> {
    return [...this.engine.store.all(table)] as unknown as Array<Doc<Table>>
  }

  /** Creates an account with an owner and a token. */
  async addTenant(name: string): Promise<Tenant> {
    const signedIn = { identity: ownerOf(name) }
    const { accountId } = await this.call(api.app.accounts.create, { name }, signedIn)
    const { serviceToken } = await this.call(api.app.tokens.provision, { accountId }, signedIn)
    return { accountId: accountId as Id<"accounts">, serviceToken }
  }

  /** Adds a runtime and starts it, unless its fate is to be offline. */
  async addRuntime(tenant: Tenant, runtimeId = "r1", fate: Fate = "obeys"): Promise<SimulatedRuntime> {
    const runtime = new SimulatedRuntime(this, tenant, runtimeId, fate)
    this.runtimes.push(runtime)
    await runtime.boot()
    if (fate === "offline") await runtime.stop()
    return runtime
  }

  /** Runs everything that is due now: scheduled functions, and what runtimes do about pushed commands. */
  async settle(): Promise<void> {
    for (;;) {
      vi.advanceTimersByTime(0)
      await aMoment()
      const isDue = [...this.pending.values()].some((time) => time <= Date.now())
      const { heard } = this
      this.heard = []
      for (const runtime of heard) await runtime.hear()
      if (!isDue && heard.length === 0 && this.heard.length === 0) return
    }
  }

  /** Lets this time pass, with everything that is due in it. */
  async pass(ms: number): Promise<void> {
    const until = Date.now() + ms
    for (;;) {
      await this.settle()
      const times = [...this.pending.values(), ...this.runtimes.flatMap(({ wakesAt }) => wakesAt ?? [])]
      const next = Math.min(...times)
      if (next > until) break
      vi.advanceTimersByTime(Math.max(0, Math.ceil(next) - Date.now()))
      for (const runtime of this.runtimes) await runtime.wake()
    }
    vi.advanceTimersByTime(Math.max(0, until - Date.now()))
    await this.settle()
  }

  /** The calls since the last reset, by function. */
  stats(): Record<string, FunctionStats> {
    return this.engine.stats.report().functions
  }
}

const intervalMs = 3_600_000
/** How long a runtime drains, and how long its host takes to start it again. */
const drainMs = 40_000
const startMs = 20_000

/** A runtime that calls the control plane as the real one does. It sends pulses only when its status changes. */
export class SimulatedRuntime {
  readonly tenant: Tenant
  readonly runtimeId: string
  fate: Fate
  versions: Versions = { runtime: "1.0.0", openclaw: "2026.9.1" }
  /** When it does its next step, and what. */
  wakesAt: number | undefined
  private next: (() => Promise<void>) | undefined
  private boots = 0
  private isOn = false
  private isBusy = false
  private readonly plane: FleetPlane

  constructor(plane: FleetPlane, tenant: Tenant, runtimeId: string, fate: Fate) {
    this.plane = plane
    this.tenant = tenant
    this.runtimeId = runtimeId
    this.fate = fate
  }

  private get own() {
    return { ...this.tenant, runtimeId: this.runtimeId }
  }

  /** Whether no process runs, and none will start. */
  get isGone(): boolean {
    return !this.isOn && this.wakesAt === undefined
  }

  /** The arguments with which its process calls. */
  get process() {
    return { ...this.own, bootId: `${this.runtimeId} boot ${this.boots}` }
  }

  private pulse(status: Doc<"runtimes">["status"]) {
    return this.plane.call(api.service.runtimes.pulse, {
      ...this.process,
      status,
      reasons: status === "degraded" ? ["gateway"] : [],
      versions: this.versions,
      infrastructure: { dropletId: null, ipAddress: null, region: null },
      intervalMs
    })
  }

  private async acknowledge(
    command: string,
    result: FunctionArgs<typeof api.service.runtimes.acknowledge>["result"],
    message?: string
  ) {
    const report = message === undefined ? {} : { message }
    await this.plane.call(api.service.runtimes.acknowledge, {
      ...this.process,
      command,
      result,
      ...report
    })
  }

  private later(ms: number, next: () => Promise<void>) {
    this.wakesAt = Date.now() + ms
    this.next = next
  }

  /** Does its next step if it is due. */
  async wake(): Promise<void> {
    const { next, wakesAt } = this
    if (next === undefined || wakesAt === undefined || wakesAt > Date.now()) return
    this.wakesAt = undefined
    this.next = undefined
    await next()
  }

  /** Starts its process. */
  async boot(): Promise<void> {
    this.boots += 1
    this.isOn = true
    this.isBusy = false
    const { commands } = await this.pulse("booting")
    const { underway } = commands
    if (underway !== null && underway.takenBy !== this.process.bootId) {
      const isThere =
        (underway.runtimeVersion ?? this.versions.runtime) === this.versions.runtime &&
        (underway.openclawVersion ?? this.versions.openclaw) === this.versions.openclaw
      if (isThere) await this.acknowledge(underway.id, underway.kind === "rollback" ? "rolled_back" : "success")
    }
    await this.pulse(this.fate === "ails" && this.boots > 1 ? "degraded" : "online")
    await this.hear()
  }

  /** Ends its process in order. */
  async stop(): Promise<void> {
    await this.pulse("offline")
    this.isOn = false
  }

  /** Receives the pushed commands. */
  async hear(): Promise<void> {
    if (!this.isOn) return
    const commands: Commands = await this.plane.call(api.service.runtimes.commands, this.own, {
      origin: "subscription"
    })
    if (this.isBusy || this.fate === "deaf") return
    const { restart, underway, upgrade } = commands
    if (upgrade !== null && underway === null) return await this.change(upgrade)
    if (restart !== null) await this.restart(restart.id)
  }

  private async restart(command: string) {
    this.isBusy = true
    await this.acknowledge(command, "taken")
    if (this.fate === "refuses") return await this.pulse("degraded").then(() => undefined)
    await this.leave(this.versions)
  }

  private async change({ id, openclawVersion, runtimeVersion }: NonNullable<Commands["upgrade"]>) {
    this.isBusy = true
    await this.acknowledge(id, "taken", "running UPGRADE_COMMAND")
    if (this.fate === "refuses") {
      await this.acknowledge(id, "failed", "exit code 3: no space left")
      this.isBusy = false
      return
    }
    await this.acknowledge(id, "progress", "handed to the host; the process ends after the running turns")
    await this.leave(
      { runtime: runtimeVersion ?? this.versions.runtime, openclaw: openclawVersion ?? this.versions.openclaw },
      id
    )
  }

  private async leave(versions: Versions, command?: string) {
    await this.pulse("draining")
    this.later(drainMs, async () => {
      if (command !== undefined) await this.acknowledge(command, "progress", "the process ends")
      await this.stop()
      if (this.fate === "vanishes") return
      this.versions = versions
      this.later(startMs, () => this.boot())
    })
  }
}
