import { AsyncLocalStorage } from "node:async_hooks"
import { randomBytes } from "node:crypto"
import { convexTest } from "convex-test"
import { makeFunctionReference } from "convex/server"
import {
  type ConvexError,
  convexToJson,
  getDocumentSize,
  type JSONValue,
  jsonToConvex,
  type Value
} from "convex/values"
import { type App, type AppFunction, type Kind, normalPath } from "./app.ts"
import {
  type ConvexGlobal,
  type DatabaseFake,
  internalsOf,
  type TransactionManager,
  type TransactionMetrics
} from "./convexInternals.ts"
import { type Document } from "./document.ts"
import { checkValue } from "./documentLimits.ts"
import { countReadIntervals } from "./readIntervals.ts"
import { type Origin, Stats, type TransactionUsage } from "./stats.ts"
import { type Change, ReadSet, Store, type Usage } from "./store.ts"
import { TransactionLock } from "./transactionLock.ts"

/** A person as whom a call acts. */
export type Identity = { readonly [attribute: string]: JSONValue }

/** A call of one function. */
export type Call = {
  readonly path: string
  /** The kind the caller expects; absent when any will do. */
  readonly kind?: Kind
  readonly args: JSONValue
  readonly identity: Identity | null
  /** May call internal functions. */
  readonly isAdmin: boolean
  readonly origin: Origin
  /** The scheduled job this call is; it ends in the same transaction. */
  readonly jobId?: string
  /** Written to the durable file in the same transaction, so that a call sent again is known. */
  readonly request?: { readonly session: string; readonly id: number }
}

/** What became of a call. Everything but a ConvexError's data is redacted, as in production. */
export type Result =
  | { readonly status: "success"; readonly value: JSONValue; readonly timestamp: bigint; readonly reads: ReadSet }
  | { readonly status: "error"; readonly errorMessage: string; readonly errorData?: JSONValue; readonly reads: ReadSet }
  /** The deployment itself could not do it; retrying may help. */
  | { readonly status: "unavailable"; readonly code: string; readonly message: string }

/** A transaction that has happened. */
export type Commit = {
  readonly timestamp: bigint
  readonly changes: ReadonlyArray<Change>
  /** The client mutation it was, and its answer. */
  readonly request?: { readonly session: string; readonly id: number; readonly value: JSONValue }
  readonly nextDocumentId: number
  readonly lastCreationTime: number
}

/** How an engine runs. */
export type EngineOptions = {
  readonly app: App
  /** Called inside each commit, before anyone hears of it; throwing undoes the transaction. */
  readonly persist?: (commit: Commit) => void
  /** Whether this run of a mutation is to be thrown away as if another had won. */
  readonly isConflicted?: (path: string) => boolean
  /** How long a transaction may hold the plane, in milliseconds; `onStuck` hears of the one that does not end. */
  readonly transactionTimeout: number
  readonly onStuck: (path: string) => void
  readonly log: (line: string) => void
}

/** convex-test without its types: the app is known only while running. */
type Caller = Record<Kind, (reference: unknown, args: Record<string, Value>) => Promise<Value>>

type Running = {
  readonly call: Call
  readonly holdsLock: boolean
  readonly usage: Usage
  /** What the transaction used of its limits so far; undefined before it begins. */
  metrics: (() => TransactionMetrics) | undefined
  reads: ReadSet
  isEntered: boolean
  value: JSONValue | undefined
  timestamp: bigint | null
}

/** A deployment gives up after this many conflicts of one client's mutation. */
const maximumConflicts = 4

/** A little longer after each conflict, from 5 ms to a second; others get their turn meanwhile. */
const retryPause = (conflicts: number): Promise<void> =>
  new Promise((resolve) => {
    setTimer(resolve, Math.min(1000, 2.5 * 2 ** conflicts))
  })

class Conflict extends Error {}
class JobIsOver extends Error {}

// Work begun by a commit must not inherit the transaction's async context.
const outside = AsyncLocalStorage.snapshot()
const { setTimeout: setTimer, clearTimeout: clearTimer, setImmediate: soon } = globalThis

/** Runs the app's functions on convex-test, one transaction at a time. */
export class Engine {
  readonly stats = new Stats()
  readonly store: Store
  private readonly options: EngineOptions
  private readonly lock = new TransactionLock()
  private readonly running = new AsyncLocalStorage<Running>()
  private readonly test: ReturnType<typeof convexTest>
  private readonly internals: ConvexGlobal
  private readonly database: DatabaseFake
  private readonly transactions: TransactionManager
  private readonly listeners: Array<(commit: Commit) => void> = []
  private watchdog: NodeJS.Timeout | undefined

  constructor(options: EngineOptions) {
    this.options = options
    this.test = convexTest({
      schema: options.app.schema as never,
      modules: this.modules(options.app),
      transactionLimits: true
    })
    this.internals = internalsOf(this.test as never)
    this.database = this.internals.components[""]!.db
    this.transactions = this.internals.transactionManager
    this.store = new Store(this.database, (bytes) => this.transactions.getMetricsTracker()?.trackRead(bytes))
    countReadIntervals(this.internals)
    this.transactions._lastCommitTs = BigInt(Date.now()) * 1_000_000n
    this.takeOverTransactions()
    this.takeOverSyscalls()
  }

  /** The moment of the last commit, in nanoseconds since 1970; grows with each. */
  get timestamp(): bigint {
    return this.transactions._lastCommitTs
  }

  /** Makes sure that later commits are later than one a client has seen, or a file remembers. */
  observe(timestamp: bigint): void {
    if (timestamp > this.transactions._lastCommitTs) this.transactions._lastCommitTs = timestamp
  }

  /** Continues an earlier life: its documents and its counters. */
  resume(earlier: {
    readonly documents: ReadonlyArray<Document>
    readonly nextDocumentId: number
    readonly lastCreationTime: number
    readonly timestamp: bigint
  }): void {
    this.store.load(earlier.documents)
    this.database._nextDocId = Math.max(this.database._nextDocId, earlier.nextDocumentId)
    this.database._lastCreationTime = Math.max(this.database._lastCreationTime, earlier.lastCreationTime)
    this.observe(earlier.timestamp)
  }

  /** Hears of each commit within it: a listener notes what it must do and does it later, by `later`. */
  onCommit(listener: (commit: Commit) => void): void {
    this.listeners.push(listener)
  }

  /** Runs work after the present transaction, free of its async context. */
  later(work: () => void): void {
    outside(() => soon(work))
  }

  functionAt(path: string): AppFunction | undefined {
    return this.options.app.functions.get(normalPath(path))
  }

  /** Runs a function; never rejects. */
  async run(call: Call): Promise<Result> {
    return await this.start(call, false)
  }

  /** Runs queries on one snapshot; which ones is asked once no commit can come between any more. */
  async runTogether(
    calls: () => ReadonlyArray<Call>
  ): Promise<{ readonly results: ReadonlyArray<Result>; readonly timestamp: bigint }> {
    await this.lock.acquire()
    try {
      const results: Array<Result> = []
      for (const call of calls()) results.push(await this.start({ ...call, kind: "query" }, true))
      return { results, timestamp: this.timestamp }
    } finally {
      this.lock.release()
    }
  }

  /** A transaction of the plane itself, for its own tables. */
  async transact(name: string, work: (database: DatabaseFake) => void): Promise<void> {
    const call: Call = { path: name, args: {}, identity: null, isAdmin: true, origin: "scheduled" }
    await this.running.run(begun(call, false), () =>
      this.test.mutation(async () => {
        work(this.database)
      })
    )
  }

  private async start(call: Call, holdsLock: boolean): Promise<Result> {
    const requestId = randomBytes(8).toString("hex")
    const path = normalPath(call.path)
    const known = this.functionAt(path)
    if (known === undefined || !(known.isPublic || call.isAdmin)) {
      return this.failure(
        requestId,
        path,
        new Error(`Could not find ${call.isAdmin ? "" : "public "}function for '${path}'`)
      )
    }
    if (call.kind !== undefined && known.kind !== call.kind) {
      return this.failure(requestId, path, new Error(`'${path}' is a ${known.kind}, not a ${call.kind}`))
    }
    const begin = performance.now()
    let conflicts = 0
    let running = begun(call, holdsLock)
    let result: Result
    for (;;) {
      try {
        const args = jsonToConvex(call.args) as Record<string, Value>
        const attempt = running
        const value = await this.running.run(attempt, () => this.invoke(known, args, call.identity))
        result = {
          status: "success",
          value: convexToJson(value ?? null),
          timestamp: attempt.timestamp ?? this.timestamp,
          reads: attempt.reads
        }
        break
      } catch (error) {
        if (!(error instanceof Conflict)) {
          result = this.failure(requestId, path, error, running.reads)
          break
        }
        conflicts += 1
        if (call.origin === "client" && conflicts >= maximumConflicts) {
          result = conflictFailure
          break
        }
        await retryPause(conflicts)
        running = begun(call, holdsLock)
      }
    }
    this.stats.record(path, call.origin, {
      usage: usageOf(running),
      failed: result.status !== "success",
      conflicts,
      milliseconds: performance.now() - begin
    })
    return result
  }

  private invoke({ path, kind }: AppFunction, args: Record<string, Value>, identity: Identity | null): Promise<Value> {
    const caller = (identity === null ? this.test : this.test.withIdentity(identity as never)) as unknown as Caller
    return caller[kind](makeFunctionReference(path), args)
  }

  private failure(requestId: string, path: string, error: unknown, reads = new ReadSet()): Result {
    const errorMessage = `[Request ID: ${requestId}] Server Error`
    if (isConvexError(error)) return { status: "error", errorMessage, errorData: convexToJson(error.data), reads }
    if (!(error instanceof JobIsOver)) this.options.log(`${path} failed (${requestId}): ${describe(error)}`)
    return { status: "error", errorMessage, reads }
  }

  /** The app's functions as convex-test is to see them: each checks what it returns before its transaction commits. */
  private modules(app: App): Record<string, () => Promise<Record<string, unknown>>> {
    const modules = new Map<string, Record<string, unknown>>([["_generated/api", {}]])
    for (const known of app.functions.values()) {
      const [module = "", name = ""] = known.path.split(":")
      const exports = modules.get(module) ?? {}
      modules.set(module, exports)
      const { registered } = known
      const args = registered.exportArgs()
      exports[name] = {
        isQuery: registered.isQuery,
        isMutation: registered.isMutation,
        isAction: registered.isAction,
        exportArgs: () => args,
        exportReturns: () => "null",
        _handler: (context: unknown, input: unknown) => this.enter(known, context, input)
      }
    }
    return Object.fromEntries(
      [...modules].map(([module, exports]) => [`./${module}.js`, () => Promise.resolve(exports)])
    )
  }

  private async enter(known: AppFunction, context: unknown, input: unknown): Promise<Value> {
    const running = this.running.getStore()
    const isOutermost = running !== undefined && !running.isEntered
    if (isOutermost) {
      running.isEntered = true
      const { jobId } = running.call
      if (jobId !== undefined && !isPending(this.store, jobId)) throw new JobIsOver()
    }
    checkValue(input)
    const returned = (await known.registered._handler(context, input)) as Value | undefined
    const json = convexToJson(returned ?? null)
    const value = jsonToConvex(json)
    checkValue(value)
    if (known.returns !== null) {
      const validator = { schemaValidation: true, tables: new Map([["value", { documentType: known.returns }]]) }
      Reflect.apply(this.database._validate, { _schema: validator }, ["value", value])
    }
    if (isOutermost) running.value = json
    return value
  }

  private takeOverTransactions(): void {
    const { transactions } = this
    const begin = transactions.begin.bind(transactions)
    const commit = transactions.commit.bind(transactions)
    const end = transactions._endTransaction.bind(transactions)
    transactions.begin = async (isNested, limits) => {
      if (isNested) return await begin(true, limits)
      const running = this.running.getStore()
      if (running?.holdsLock !== true) await this.lock.acquire()
      if (running !== undefined) {
        running.reads = new ReadSet()
        this.store.reads = running.reads
        this.store.usage = running.usage
      }
      this.watch(running?.call.path ?? "a transaction")
      await begin(false, limits)
      const layer = transactions.getMetricsTracker()?._current()
      if (running !== undefined && layer !== undefined) running.metrics = () => layer.metrics
    }
    transactions.commit = (isNested) => {
      if (isNested) return commit(true)
      const running = this.running.getStore()
      const { path } = running?.call ?? { path: "" }
      if (this.functionAt(path)?.kind === "mutation" && this.options.isConflicted?.(path) === true) throw new Conflict()
      const committed = this.settle(running)
      if (committed !== undefined) this.options.persist?.(committed)
      const timestamp = committed?.timestamp ?? transactions._lastCommitTs
      this.database.commit(timestamp)
      transactions.getMetricsTracker()?.commit()
      transactions._lastCommitTs = timestamp
      transactions._endTransaction(false)
      if (running !== undefined) running.timestamp = timestamp
      if (committed !== undefined) for (const listener of this.listeners) listener(committed)
      return timestamp
    }
    transactions._endTransaction = (isNested) => {
      end(isNested)
      if (isNested) return
      clearTimer(this.watchdog)
      if (this.running.getStore()?.holdsLock !== true) this.lock.release()
    }
  }

  /** Ends the job this call is, and says what is about to be committed; nothing when nothing was written. */
  private settle(running: Running | undefined): Commit | undefined {
    const jobId = running?.call.jobId
    if (jobId !== undefined && this.functionAt(running!.call.path)?.kind === "mutation") {
      this.database.patch("_scheduled_functions", jobId, { state: { kind: "success" }, completedTime: Date.now() })
    }
    const now = BigInt(Date.now()) * 1_000_000n
    const last = this.transactions._lastCommitTs
    const timestamp = now > last ? now : last + 1n
    this.store.settle(timestamp)
    const changes = this.store.changes()
    const request = running?.call.request
    if (changes.length === 0 && request === undefined) return undefined
    return {
      timestamp,
      changes,
      ...(request === undefined ? {} : { request: { ...request, value: running?.value ?? null } }),
      nextDocumentId: this.database._nextDocId,
      lastCreationTime: this.database._lastCreationTime
    }
  }

  private watch(path: string): void {
    // Inside a transaction timers are refused to user code, and this runs there.
    outside(() => {
      clearTimer(this.watchdog)
      this.watchdog = setTimer(() => this.options.onStuck(path), this.options.transactionTimeout)
    })
  }

  private takeOverSyscalls(): void {
    const original = this.internals.asyncSyscall
    this.internals.asyncSyscall = async (operation, json) => {
      switch (operation) {
        case "1.0/actions/query":
        case "1.0/actions/mutation":
        case "1.0/actions/action":
          return await this.fromAction(JSON.parse(json) as { name?: string }, () => original(operation, json))
        case "1.0/schedule":
          return JSON.stringify(this.schedule(JSON.parse(json) as ScheduleRequest))
        case "1.0/cancel_job":
          this.cancel((JSON.parse(json) as { id: string }).id)
          return JSON.stringify({})
        default: {
          const result = await original(operation, json)
          // Counted here and not in the store: the library looks at a document up to three times for one patch.
          if (readsOne.has(operation) && result !== "null") this.store.usage.documentsRead += 1
          return result
        }
      }
    }
  }

  /** A function an action calls: counted under its own name, and run again after a conflict as a client's would be. */
  private async fromAction(target: { readonly name?: string }, invoke: () => Promise<string>): Promise<string> {
    const path = normalPath(target.name ?? "unknown")
    const call: Call = { path, args: {}, identity: null, isAdmin: true, origin: "action" }
    const begin = performance.now()
    for (let conflicts = 0; ; conflicts += 1) {
      const running = begun(call, false)
      const record = (failed: boolean): void =>
        this.stats.record(path, "action", {
          usage: usageOf(running),
          failed,
          conflicts,
          milliseconds: performance.now() - begin
        })
      try {
        const result = await this.running.run(running, invoke)
        record(false)
        return result
      } catch (error) {
        if (error instanceof Conflict && conflicts + 1 < maximumConflicts) {
          await retryPause(conflicts + 1)
          continue
        }
        record(true)
        throw error
      }
    }
  }

  private schedule({ name, functionHandle, args, ts }: ScheduleRequest): string {
    const path = name ?? functionHandle?.split(";")[1]
    if (path === undefined) throw new Error("the plane schedules functions of the app only, not of components")
    if (this.functionAt(path) === undefined) throw new Error(`Could not find function for '${path}'`)
    const value = jsonToConvex(args)
    this.transactions.getMetricsTracker()?.trackScheduledFunction(getDocumentSize(value as never))
    return this.database.insert("_scheduled_functions", {
      args: [value],
      name: normalPath(path),
      scheduledTime: ts * 1000,
      state: { kind: "pending" }
    })
  }

  private cancel(id: string): void {
    if (!isPending(this.store, id)) return
    this.database.patch("_scheduled_functions", id, { state: { kind: "canceled" }, completedTime: Date.now() })
  }
}

const readsOne = new Set(["1.0/get", "1.0/shallowMerge", "1.0/replace", "1.0/remove"])

type ScheduleRequest = {
  readonly name?: string
  readonly functionHandle?: string
  readonly args: JSONValue
  readonly ts: number
}

const begun = (call: Call, holdsLock: boolean): Running => ({
  call,
  holdsLock,
  usage: { documentsRead: 0, documentsWritten: 0 },
  metrics: undefined,
  reads: new ReadSet(),
  isEntered: false,
  value: undefined,
  timestamp: null
})

const usageOf = ({ usage, metrics }: Running): TransactionUsage => {
  const counted = metrics?.()
  return {
    ...usage,
    readIntervals: counted?.databaseQueries ?? 0,
    bytesRead: counted?.bytesRead ?? 0,
    bytesWritten: counted?.bytesWritten ?? 0
  }
}

const conflictFailure: Result = {
  status: "unavailable",
  code: "OptimisticConcurrencyControlFailure",
  message: "Documents read from or written to changed while this mutation was being run and on every subsequent retry."
}

const isPending = (store: Store, jobId: string): boolean => {
  const state = store.peek(jobId)?.["state"] as { readonly kind?: unknown } | undefined
  return state?.kind === "pending"
}

const isConvexError = (error: unknown): error is ConvexError<Value> =>
  typeof error === "object" && error !== null && Symbol.for("ConvexError") in error

// Validation errors quote the value, and the value may be a secret.
const describe = (error: unknown): string =>
  (error instanceof Error ? (error.stack ?? error.message) : String(error)).replace(
    /got `[^`]*`/g,
    "got something else"
  )
