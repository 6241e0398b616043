import { type JSONValue } from "convex/values"
import { type Result } from "./call.ts"

/** How a client's mutation was answered. */
export type Answered = { readonly value: JSONValue; readonly timestamp: bigint }

/** How many answered mutations are remembered per session, and how many sessions. */
const perSession = 1000
const sessions = 1000

/**
 * The mutations of WebSocket sessions, so that one sent again after a reconnect is answered and not done again. Failed ones
 * are forgotten: they changed nothing.
 */
export class RequestLog {
  private readonly known = new Map<string, Map<number, Promise<Answered | undefined>>>()

  /** The answer a mutation has had, or is about to have; undefined when it was never done. */
  async find(session: string, id: number): Promise<Answered | undefined> {
    return await this.known.get(session)?.get(id)
  }

  remember(session: string, id: number, answered: Answered): void {
    this.keep(session, id, Promise.resolve(answered))
  }

  /** Runs a mutation and remembers its success, from its beginning on. */
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
    // Set anew, so that the map is in the order of last use.
    this.known.delete(session)
    this.known.set(session, requests)
    requests.set(id, answered)
    if (requests.size > perSession) requests.delete(requests.keys().next().value!)
    if (this.known.size > sessions) this.known.delete(this.known.keys().next().value!)
  }
}
