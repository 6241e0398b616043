import { DatabaseSync, type StatementSync } from "node:sqlite"
import { convexToJson, type JSONValue, jsonToConvex } from "convex/values"
import { type Commit } from "./call.ts"
import { lineOf, maxCalls } from "./callHistory.ts"
import { type Document } from "./document.ts"

/** The state of the previous process. */
export type Restored = {
  readonly documents: ReadonlyArray<Document>
  readonly requests: ReadonlyArray<{
    readonly session: string
    readonly id: number
    readonly value: JSONValue
    readonly timestamp: bigint
  }>
  readonly nextDocumentId: number
  readonly lastCreationTime: number
  readonly timestamp: bigint
}

/**
 * Answers of mutations are kept for an hour, in nanoseconds. A client that was disconnected for longer has ended its
 * session.
 */
const requestsKeptFor = 3_600_000_000_000n

/**
 * A file that stores every commit before its answer is sent, so that a killed plane loses no acknowledged commit. (The
 * last commits may be in the operating system's cache only, so a power cut can lose them.) One plane at a time.
 */
export class DurableFile {
  private readonly database: DatabaseSync
  private readonly put: StatementSync
  private readonly drop: StatementSync
  private readonly note: StatementSync
  private readonly count: StatementSync
  private readonly record: StatementSync | undefined
  private calls = 0

  /**
   * Opens or creates the file; throws if another plane uses it or if it is not a database. A file that was created with
   * a history keeps it in every later process, so that it has no gap.
   */
  constructor(file: string, beginsHistory = false) {
    this.database = new DatabaseSync(file)
    this.database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS requests (
        session TEXT NOT NULL, id INTEGER NOT NULL, json TEXT NOT NULL, timestamp INTEGER NOT NULL,
        PRIMARY KEY (session, id)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS counters (
        one INTEGER PRIMARY KEY CHECK (one = 1), next_id INTEGER NOT NULL, last_creation REAL NOT NULL, timestamp INTEGER NOT NULL
      );
    `)
    this.put = this.database.prepare(
      "INSERT INTO documents VALUES (?, ?) ON CONFLICT DO UPDATE SET json = excluded.json"
    )
    this.drop = this.database.prepare("DELETE FROM documents WHERE id = ?")
    this.note = this.database.prepare("INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?)")
    this.count = this.database.prepare("INSERT OR REPLACE INTO counters VALUES (1, ?, ?, ?)")
    if (beginsHistory) this.beginHistory()
    if (!this.isRecorded) return
    this.calls = Number(this.database.prepare("SELECT count(*) AS calls FROM calls").get()?.["calls"])
    this.record = this.database.prepare("INSERT INTO calls (json) VALUES (?)")
  }

  /** Whether calls are recorded. */
  get hasHistory(): boolean {
    return this.record !== undefined && this.calls < maxCalls
  }

  private get isRecorded(): boolean {
    return this.database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'calls'").get() !== undefined
  }

  private beginHistory(): void {
    const isOld = this.database.prepare("SELECT 1 FROM documents LIMIT 1").get() !== undefined
    if (isOld && !this.isRecorded) throw new Error("its first calls were not recorded. Use a new file with --history")
    this.database.exec("CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, json TEXT NOT NULL)")
  }

  restore(): Restored {
    const counters = this.database.prepare("SELECT next_id, last_creation, timestamp FROM counters")
    counters.setReadBigInts(true)
    const found = counters.get() as
      | { readonly next_id: bigint; readonly last_creation: number; readonly timestamp: bigint }
      | undefined
    const timestamp = found?.timestamp ?? 0n
    this.database.prepare("DELETE FROM requests WHERE timestamp < ?").run(timestamp - requestsKeptFor)
    const requests = this.database.prepare("SELECT session, id, json, timestamp FROM requests ORDER BY timestamp")
    requests.setReadBigInts(true)
    return {
      documents: this.database
        .prepare("SELECT json FROM documents")
        .all()
        .map(({ json }) => jsonToConvex(JSON.parse(json as string) as JSONValue) as unknown as Document),
      requests: requests.all().map(({ session, id, json, timestamp: at }) => ({
        session: session as string,
        id: Number(id),
        value: JSON.parse(json as string) as JSONValue,
        timestamp: at as bigint
      })),
      nextDocumentId: Number(found?.next_id ?? 0n),
      lastCreationTime: Number(found?.last_creation ?? 0),
      timestamp
    }
  }

  /** Writes a commit completely or not at all. */
  write({ call, changes, request, timestamp, nextDocumentId, lastCreationTime }: Commit): void {
    this.database.exec("BEGIN")
    try {
      for (const { id, after } of changes) {
        if (after === null) this.drop.run(id)
        else this.put.run(id, JSON.stringify(convexToJson(after)))
      }
      if (request !== undefined) this.note.run(request.session, request.id, JSON.stringify(request.value), timestamp)
      this.count.run(nextDocumentId, lastCreationTime, timestamp)
      if (call !== undefined && this.hasHistory) this.record?.run(lineOf(call, changes))
      this.database.exec("COMMIT")
      if (call !== undefined) this.calls += 1
    } catch (error) {
      this.database.exec("ROLLBACK")
      throw error
    }
  }

  close(): void {
    this.database.close()
  }
}
