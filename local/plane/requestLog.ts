import { type JSONValue } from "convex/values"
import { type Result } from "./call.ts"

/** The answer of a client's mutation. */
export type Answered = { readonly value: JSONValue; readonly timestamp: bigint }

/** Maximum number of answered mutations that are kept per session, and of sessions. */
const perSession = 1000
const sessions = 1000

/**
 * The mutations of WebSocket sessions, so that one that a client repeats after a reconnect gets its answer and does not
 * run again. Failed ones are not kept, because they changed nothing.
 */
export class RequestLog {
  private readonly known = new Map<string, Map<number, Promise<Answered | undefined>>>()

  /** The answer of a mutation that has run or is running; undefined if there is none. */
  async find(session: string, id: number): Promise<Answered | undefined> {
    return await this.known.get(session)?.get(id)
  }

  remember(session: string, id: number, answered: Answered): void {
    this.keep(session, id, Promise.resolve(answered))
  }

  /** Runs a mutation. Records it at its start, and removes it again if it fails. */
  async answer(session: string, id: number, run: () => Promise<Result>): Promise<Result> {
    const running = run()
    const answered = running.then((result) =>
      result.status === "success" ? { value: result.value, timestamp: result.timestamp } : undefined
    )
    this.keep(session, id, answered)
    const result = await running
    if (result.status !== "success") this.known.get(session)?.delete(id)
    return result
  }

  private keep(session: string, id: number, answered: Promise<Answered | undefined>): void {
    const requests = this.known.get(session) ?? new Map<number, Promise<Answered | undefined>>()
    // Set again, so that the map is in the order of last use.
    this.known.delete(session)
    this.known.set(session, requests)
    requests.set(id, answered)
    if (requests.size > perSession) requests.delete(requests.keys().next().value!)
    if (this.known.size > sessions) this.known.delete(this.known.keys().next().value!)
  }
}
