import { createHash, randomUUID } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { textOf } from "../model/chat.ts"
import type { ChatMessage } from "../model/chat.ts"

/**
 * Number of characters of a history that are kept. As measured with 2026.9.6, a history is append-only up to there.
 * Above it, each turn drops the oldest messages.
 */
const keptCharacters = 900_000

const lengthOf = (message: ChatMessage): number =>
  textOf(message).length +
  (message.tool_calls ?? []).reduce((sum, call) => sum + call.function.name.length + call.function.arguments.length, 0)

/** One conversation: its transcript, the text of an aborted turn, and the runs that wait for their turn. */
export interface Session {
  readonly key: string
  readonly agent: string
  readonly id: string
  messages: Array<ChatMessage>
  /** Text of a turn that was aborted before the model answered; the next turn's prompt has it. */
  abandoned: string | undefined
  /** Resolves when every run admitted so far has ended. */
  tail: Promise<void>
  /** Set while a model call is active. After a crash the recovery turn continues from it. */
  running: string | undefined
  /** Input tokens of the last model call, its history included; 0 before the first one. */
  lastCallTokens: number
}

interface StoredSession {
  readonly key: string
  readonly agent: string
  readonly id: string
  readonly messages: Array<ChatMessage>
  readonly abandoned?: string
  readonly running?: string
}

/** All sessions of a gateway: in memory, and in a folder if the gateway has a state folder. */
export class Sessions {
  readonly #sessions = new Map<string, Session>()
  readonly #folder: string | undefined

  constructor(stateFolder: string | undefined) {
    this.#folder = stateFolder === undefined ? undefined : join(stateFolder, "sessions")
    if (this.#folder === undefined) return
    mkdirSync(this.#folder, { recursive: true })
    for (const file of readdirSync(this.#folder)) {
      if (!file.endsWith(".json")) continue
      const stored = JSON.parse(readFileSync(join(this.#folder, file), "utf8")) as StoredSession
      this.#sessions.set(stored.key, {
        ...stored,
        abandoned: stored.abandoned,
        running: stored.running,
        lastCallTokens: 0,
        tail: Promise.resolve()
      })
    }
  }

  get size(): number {
    return this.#sessions.size
  }

  /** The session of that key, created if it does not exist. */
  open(key: string, agent: string): Session {
    const known = this.#sessions.get(key)
    if (known !== undefined) return known
    const session: Session = {
      key,
      agent,
      id: randomUUID(),
      messages: [],
      abandoned: undefined,
      tail: Promise.resolve(),
      running: undefined,
      lastCallTokens: 0
    }
    this.#sessions.set(key, session)
    return session
  }

  /** The session of that key, or undefined. */
  find(key: string): Session | undefined {
    return this.#sessions.get(key)
  }

  /** Sessions whose turn a crash interrupted. */
  interrupted(): ReadonlyArray<Session> {
    return [...this.#sessions.values()].filter((session) => session.running !== undefined)
  }

  /** Drops the oldest turns above the limit; the last message stays, whatever its length. */
  trim(session: Session): void {
    const { messages } = session
    let excess = messages.reduce((sum, message) => sum + lengthOf(message), -keptCharacters)
    let from = 0
    while (from < messages.length - 1 && (excess > 0 || (from > 0 && messages[from]?.role !== "user"))) {
      excess -= lengthOf(messages[from]!)
      from += 1
    }
    if (from > 0) session.messages = messages.slice(from)
  }

  /** Writes the session before it returns, if there is a state folder. */
  save(session: Session): void {
    if (this.#folder === undefined) return
    const { key, agent, id, messages, abandoned, running } = session
    const stored: StoredSession = {
      key,
      agent,
      id,
      messages,
      ...(abandoned === undefined ? {} : { abandoned }),
      ...(running === undefined ? {} : { running })
    }
    // Replaced as a whole, so that a kill leaves the old text or the new one.
    const file = this.#fileOf(key)
    writeFileSync(`${file}.tmp`, JSON.stringify(stored))
    renameSync(`${file}.tmp`, file)
  }

  /** Forgets every session, also on disk. */
  clear(): void {
    this.#sessions.clear()
    if (this.#folder === undefined) return
    rmSync(this.#folder, { recursive: true, force: true })
    mkdirSync(this.#folder, { recursive: true })
  }

  #fileOf(key: string): string {
    return join(this.#folder ?? "", `${createHash("sha256").update(key).digest("hex").slice(0, 32)}.json`)
  }
}
