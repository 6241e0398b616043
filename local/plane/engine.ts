import { AsyncLocalStorage } from "node:async_hooks"
import { randomBytes } from "node:crypto"
import { convexTest } from "convex-test"
import { makeFunctionReference } from "convex/server"
import { convexToJson, jsonToConvex, type Value } from "convex/values"
import { type App, type AppFunction, type Kind, normalPath } from "./app.ts"
import { modulesOf } from "./appModules.ts"
import { type Call, type Commit, type Identity, type Result } from "./call.ts"
import { type RecordedCall, recordedCall } from "./callHistory.ts"
import { Conflict, conflictFailure, isGivenUp, pauseAfter, waitFor } from "./conflicts.ts"
import { type ConvexGlobal, type DatabaseFake, internalsOf, type TransactionManager } from "./convexInternals.ts"
import { type Document } from "./document.ts"
import { documentId } from "./documentIds.ts"
import { describe, isConvexError } from "./failures.ts"
import { handle } from "./handle.ts"
import { JobIsOver, jobsTable, mustBePending } from "./jobs.ts"
import { Drafts, Executed, type OptimisticOptions } from "./optimistic.ts"
import { countReadIntervals } from "./readIntervals.ts"
import { ReadSet } from "./readSet.ts"
import { begun, type Running, usageOf } from "./running.ts"
import { Stats } from "./stats.ts"
import { Store } from "./store.ts"
import { replaceSyscalls } from "./syscalls.ts"
import { TransactionLock } from "./transactionLock.ts"
import { Watchdog } from "./watchdog.ts"

/** The options of an engine. */
export type EngineOptions = {
  readonly app: App
  /** Called inside each commit, before listeners; an error undoes the transaction. */
  readonly persist?: (commit: Commit) => void
  /** Whether `persist` also gets the calls of mutations that write nothing, or that are refused. */
  readonly hasHistory?: () => boolean
  /** Whether this run of a mutation loses a conflict. */
  readonly isConflicted?: (path: string) => boolean
  /**
   * Runs mutations concurrently, each on its own snapshot. Without it they run one after another, without conflicts.
   */
  readonly optimistic?: OptimisticOptions
  /** How long a transaction may hold the plane, in milliseconds. `onStuck` is called for one that takes longer. */
  readonly transactionTimeout: number
  readonly onStuck: (path: string) => void
  readonly log: (line: string) => void
}

/** convex-test without its types, because the app is loaded at run time. */
type Caller = Record<Kind, (reference: unknown, args: Record<string, Value>) => Promise<Value>>

// Work that a commit starts must not inherit the transaction's async context.
const outside = AsyncLocalStorage.snapshot()
const { setImmediate: soon } = globalThis

/** Runs the app's functions on convex-test, one transaction at a time. */
export class Engine {
  readonly stats = new Stats()
  readonly store: Store
  private readonly options: EngineOptions
  private readonly drafts = new Drafts()
  private readonly lock = new TransactionLock()
  private readonly running = new AsyncLocalStorage<Running>()
  private readonly test: ReturnType<typeof convexTest>
  private readonly internals: ConvexGlobal
  private readonly database: DatabaseFake
  private readonly transactions: TransactionManager
  private readonly listeners: Array<(commit: Commit) => void> = []
  private readonly watchdog: Watchdog

  constructor(options: EngineOptions) {
    this.options = options
    this.test = convexTest({
      schema: options.app.schema as never,
      modules: modulesOf(options.app, (known, context, input) => this.enter(known, context, input)),
      transactionLimits: true
    })
    this.internals = internalsOf(this.test as never)
    this.database = this.internals.components[""]!.db
    const { database } = this
    database._generateId = (table) => documentId(table, database._nextDocId++)
    this.transactions = this.internals.transactionManager
    this.store = new Store(this.database, (bytes) => this.transactions.getMetricsTracker()?.trackRead(bytes))
    countReadIntervals(this.internals)
    this.transactions._lastCommitTs = BigInt(Date.now()) * 1_000_000n
    this.watchdog = new Watchdog(options.transactionTimeout, options.onStuck)
    this.takeOverTransactions()
    replaceSyscalls(this.internals, {
      store: this.store,
      isKnown: (path) => this.functionAt(path) !== undefined,
      fromAction: (target, invoke) => this.fromAction(target, invoke)
    })
  }

  /** The time of the last commit, in nanoseconds since 1970; it increases with each commit. */
  get timestamp(): bigint {
    return this.transactions._lastCommitTs
  }

  /** Makes later commits later than a timestamp from a client or a file. */
  observe(timestamp: bigint): void {
    if (timestamp > this.transactions._lastCommitTs) this.transactions._lastCommitTs = timestamp
  }

  /** Restores the documents and counters of the previous process. */
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

  /** Calls the listener inside each commit. The listener only notes its work, and does it `later`. */
  onCommit(listener: (commit: Commit) => void): void {
    this.listeners.push(listener)
  }

  /** Runs work after the current transaction, outside its async context. */
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

  /** Runs queries on one snapshot. `calls` is called when no other commit can happen in between. */
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

  /** Runs a transaction of the plane on its own tables. */
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
    const args = jsonToConvex(call.args) as Record<string, Value>
    const { running, ...outcome } = await this.attempt(
      { ...call, path },
      known.kind,
      holdsLock,
      () => this.invoke(known, args, call.identity),
      (value) => value
    )
    if ("value" in outcome) {
      return {
        status: "success",
        value: convexToJson(outcome.value ?? null),
        timestamp: running.timestamp ?? this.timestamp,
        reads: running.reads
      }
    }
    if (outcome.error instanceof Conflict) return conflictFailure
    return this.failure(requestId, path, outcome.error, running.reads)
  }

  /**
   * Runs a function, retries it after conflicts as often as a deployment does, and counts it. `fromValue` converts to
   * the type of `invoke`'s result, for a mutation that commits after its run.
   */
  private async attempt<A>(
    call: Call,
    kind: Kind | undefined,
    holdsLock: boolean,
    invoke: () => Promise<A>,
    fromValue: (value: Value) => A
  ): Promise<{ readonly running: Running } & ({ readonly value: A } | { readonly error: unknown })> {
    const begin = performance.now()
    const { optimistic } = this.options
    for (let conflicts = 0; ;) {
      const running = begun(call, holdsLock)
      const ended = (failed: boolean, retries: number): void =>
        this.stats.record(call.path, call.origin, {
          usage: usageOf(running),
          failed,
          conflicts,
          retries,
          milliseconds: performance.now() - begin
        })
      try {
        const value =
          optimistic !== undefined && kind === "mutation"
            ? fromValue(await this.runThenCommit(running, invoke, optimistic))
            : await this.running.run(running, invoke)
        ended(false, conflicts)
        return { running, value }
      } catch (error) {
        const isConflict = error instanceof Conflict
        if (isConflict) conflicts += 1
        if (isConflict && !isGivenUp(call.origin, conflicts)) {
          await pauseAfter(conflicts, optimistic)
          continue
        }
        ended(true, isConflict ? conflicts - 1 : conflicts)
        return { running, error }
      }
    }
  }

  /**
   * Runs a mutation on the current snapshot, waits for its duration, and commits its writes if nothing that it read has
   * changed.
   */
  private async runThenCommit<A>(
    running: Running,
    invoke: () => Promise<A>,
    { mutationMs, wait = waitFor }: OptimisticOptions
  ): Promise<Value> {
    const begin = performance.now()
    running.isDraft = true
    await this.running.run(running, invoke).catch((error: unknown) => {
      if (!(error instanceof Executed)) throw error
    })
    const { draft } = running
    if (draft === undefined) throw new Error(`${running.call.path} ended without a draft`)
    try {
      await wait(Math.max(0, mutationMs - (performance.now() - begin)))
      const committing = { ...begun(running.call, false), isEntered: true, at: running.at, value: running.value }
      const value = await this.running.run(committing, () =>
        this.test.mutation(async () => {
          if (draft.isBeaten) throw new Conflict()
          for (const { id, after } of draft.changes) this.database._addWrite(id, after)
          return jsonToConvex(running.value ?? null)
        })
      )
      running.timestamp = committing.timestamp
      return value as Value
    } finally {
      this.drafts.remove(draft)
    }
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

  private async enter(known: AppFunction, context: unknown, input: unknown): Promise<Value> {
    const running = this.running.getStore()
    const isOutermost = running !== undefined && !running.isEntered
    if (isOutermost) {
      running.isEntered = true
      mustBePending(this.store, running.call.jobId)
    }
    try {
      const { json, value } = await handle(this.database, known, context, input, (now) => {
        if (isOutermost) running.at = now
      })
      if (isOutermost) running.value = json
      return value
    } catch (error) {
      if (isOutermost) running.refused = isConvexError(error) ? convexToJson(error.data) : null
      throw error
    }
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
      this.watchdog.start(running?.call.path ?? "a transaction")
      await begin(false, limits)
      const layer = transactions.getMetricsTracker()?._current()
      if (running !== undefined && layer !== undefined) running.metrics = () => layer.metrics
    }
    transactions.commit = (isNested) => {
      if (isNested) return commit(true)
      const running = this.running.getStore()
      if (running?.isDraft === true) {
        running.draft = this.drafts.add(this.store.changes(), running.reads, running.call.jobId)
        throw new Executed()
      }
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
      if (committed !== undefined) this.drafts.note(committed.changes)
      if (committed !== undefined) for (const listener of this.listeners) listener(committed)
      return timestamp
    }
    transactions._endTransaction = (isNested) => {
      end(isNested)
      if (isNested) return
      this.watchdog.stop()
      const running = this.running.getStore()
      // The next transaction begins after this one has been recorded.
      if (running?.holdsLock !== true) this.lock.release()
      if (running?.refused !== undefined) this.recordRefusal(running)
    }
  }

  /** Ends the job of this call, and returns the commit; undefined if nothing was written. */
  private settle(running: Running | undefined): Commit | undefined {
    const jobId = running?.call.jobId
    if (jobId !== undefined && this.functionAt(running!.call.path)?.kind === "mutation") {
      this.database.patch(jobsTable, jobId, { state: { kind: "success" }, completedTime: Date.now() })
    }
    const now = BigInt(Date.now()) * 1_000_000n
    const last = this.transactions._lastCommitTs
    const timestamp = now > last ? now : last + 1n
    this.store.settle(timestamp)
    const changes = this.store.changes()
    const request = running?.call.request
    const call = this.recorded(running)
    if (changes.length === 0 && request === undefined && call === undefined) return undefined
    return {
      timestamp,
      changes,
      ...(call === undefined ? {} : { call }),
      ...(request === undefined ? {} : { request: { ...request, value: running?.value ?? null } }),
      nextDocumentId: this.database._nextDocId,
      lastCreationTime: this.database._lastCreationTime
    }
  }

  /** The call for the history; undefined if there is none, or if it is no mutation's. */
  private recorded(running: Running | undefined): RecordedCall | undefined {
    if (running === undefined || this.options.hasHistory?.() !== true) return undefined
    return this.functionAt(running.call.path)?.kind === "mutation" ? recordedCall(running) : undefined
  }

  private recordRefusal(running: Running): void {
    const call = this.recorded(running)
    if (call === undefined) return
    const { _nextDocId: nextDocumentId, _lastCreationTime: lastCreationTime } = this.database
    this.options.persist?.({ timestamp: this.timestamp, changes: [], call, nextDocumentId, lastCreationTime })
  }

  /**
   * Runs a function that an action calls. It counts under its own name, and is retried after conflicts like a client's
   * call.
   */
  private async fromAction(target: { readonly name?: string }, invoke: () => Promise<string>): Promise<string> {
    const path = normalPath(target.name ?? "unknown")
    const call: Call = { path, args: {}, identity: null, isAdmin: true, origin: "action" }
    const { running: _, ...outcome } = await this.attempt(call, this.functionAt(path)?.kind, false, invoke, (value) =>
      JSON.stringify(convexToJson(value))
    )
    if ("value" in outcome) return outcome.value
    throw outcome.error
  }
}
