import { type JSONValue } from "convex/values"
import { type Caller } from "./authorization.ts"
import { type Call, type Result } from "./call.ts"
import { type Change, type ReadSet } from "./readSet.ts"

/** A query with subscribers. The plane runs equal queries of several sessions once. */
export type LiveQuery = {
  readonly key: string
  readonly call: Call
  subscribers: number
  /** Undefined before the first run. */
  result: Result | undefined
  /** The result as text. A subscriber gets an update only if it differs. */
  text: string
  reads: ReadSet | undefined
  /** Must run, because it never did or because a commit changed what it read. */
  isDirty: boolean
}

/** A session's subscription to a live query, with the text of the result that it was sent. */
export type Subscription = { readonly live: LiveQuery; sent: string | undefined }

/** The queries that sessions subscribe to. */
export class LiveQueries {
  private readonly queries = new Map<string, LiveQuery>()

  subscribe(caller: Caller, path: string, args: JSONValue): Subscription {
    const key = JSON.stringify([path, args, caller.identity, caller.isAdmin])
    const live = this.queries.get(key) ?? {
      key,
      call: { path, kind: "query", args, ...caller, origin: "subscription" } as const,
      subscribers: 0,
      result: undefined,
      text: "",
      reads: undefined,
      isDirty: true
    }
    live.subscribers += 1
    this.queries.set(key, live)
    return { live, sent: undefined }
  }

  unsubscribe({ live }: Subscription): void {
    live.subscribers -= 1
    if (live.subscribers === 0) this.queries.delete(live.key)
  }

  /** Marks the queries that a commit affects. Returns whether it marked any. */
  invalidate(changes: ReadonlyArray<Change>): boolean {
    let isAnyMarked = false
    for (const live of this.queries.values()) {
      if (live.isDirty || live.reads?.isTouchedBy(changes) !== true) continue
      live.isDirty = true
      isAnyMarked = true
    }
    return isAnyMarked
  }

  /** Returns the marked queries and clears their marks. */
  takeDirty(): ReadonlyArray<LiveQuery> {
    const dirty = [...this.queries.values()].filter(({ isDirty }) => isDirty)
    for (const live of dirty) live.isDirty = false
    return dirty
  }
}

/** Stores the result of a run of a live query. */
export const update = (live: LiveQuery, result: Result): void => {
  live.result = result
  live.reads = result.status === "unavailable" ? undefined : result.reads
  live.text = textOf(result)
}

const textOf = (result: Result): string =>
  result.status === "success"
    ? `value ${JSON.stringify(result.value)}`
    : `error ${JSON.stringify(result.status === "error" ? (result.errorData ?? null) : result.code)}`
