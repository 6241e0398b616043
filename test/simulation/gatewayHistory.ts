/** What the gateway remembers of each session, and whether an agent has seen there what it must have seen. */
import { divideEvents } from "../../src/domain/delivery/DeliveryPolicy.ts"
import type { Turn, World } from "./world.ts"

/** As many messages before its request as a full prompt shows. */
const THREAD = 25

interface SessionHistory {
  readonly texts: Array<string>
  /** Full texts that the gateway has lost, each with the first turn that showed that the history is shorter. */
  readonly lost: Map<number, Turn | null>
}

const numberOf = (text: string): number | null => {
  const found = /This is full text (\d+):/.exec(text)
  return found === null ? null : Number(found[1])
}

/** The histories of all sessions. */
export class GatewayHistory {
  private readonly world: World
  private readonly sessions = new Map<string, SessionHistory>()

  constructor(world: World) {
    this.world = world
  }

  private of(key: string): SessionHistory {
    const found = this.sessions.get(key) ?? { texts: [], lost: new Map<number, Turn | null>() }
    this.sessions.set(key, found)
    return found
  }

  /** How long the session's next request is, in place of tokens. */
  tokens(key: string): number {
    return this.of(key).texts.reduce((sum, text) => sum + text.length, 0)
  }

  add(key: string, text: string): void {
    this.of(key).texts.push(text)
  }

  /** The gateway keeps no trace of a request that failed. */
  forget(key: string, text: string): void {
    const { texts } = this.of(key)
    const at = texts.lastIndexOf(text)
    if (at !== -1) texts.splice(at, 1)
  }

  /** The gateway compacts or resets the session: what is oldest is gone. */
  shorten(key: string, kept: number): void {
    const history = this.of(key)
    for (const text of history.texts.splice(0, Math.max(0, history.texts.length - kept))) {
      const number = numberOf(text)
      if (number !== null) history.lost.set(number, null)
    }
  }

  /** Whether the runtime could see, at a turn that completed, that this full text may be gone. */
  private wasSeenLost(turn: Turn | null): boolean {
    return this.world.account.queue.history.some(
      (entry) =>
        entry.entry === "end" &&
        entry.session === turn?.session &&
        entry.epoch === turn.epoch &&
        entry.how === "complete" &&
        entry.outcome === "replied"
    )
  }

  /** Judges a delivery's first request, which is in the history already. */
  judge(turn: Turn, input: string): void {
    const { account } = this.world
    const context = account.contexts.get(`${turn.run} ${turn.epoch}`)
    if (context === undefined) return
    const { lost, texts } = this.of(turn.sessionKey)
    const session = account.queue.sessions.get(turn.session)
    const isOfGeneration = session?.generation === context.generation
    if (isOfGeneration && this.tokens(turn.sessionKey) < 0.9 * (session.historyTokens ?? 0)) {
      for (const [number, seenBy] of lost) if (seenBy === null) lost.set(number, turn)
    }
    const base = /This text adds to full text (\d+) of this session/.exec(input)?.[1]
    this.world.cover(base === undefined ? "full text" : "delta", "turn")
    if (base !== undefined && !texts.some((text) => numberOf(text) === Number(base))) {
      // The text makes the agent load the thread; but a runtime must not go on like that.
      const seenBy = lost.get(Number(base))
      if (seenBy === undefined || this.wasSeenLost(seenBy)) {
        this.world.violate("I13", `${turn.run} builds on full text ${base}, which ${turn.sessionKey} does not hold`)
      }
      return this.world.cover("delta on a lost text", "turn")
    }
    const history = texts.join("\n")
    const { accepted } = divideEvents(context)
    const requested = new Set(accepted.map(({ message }) => message?.id))
    const thread = context.thread.filter(({ id }) => !requested.has(id)).slice(-THREAD)
    const messages = [...thread, ...accepted.flatMap(({ message }) => message ?? [])]
    const missing = messages.find((message) => {
      const run = account.messages.find(({ id }) => id === message.id)?.run
      // The agent said it itself; what is stored may have been redacted since.
      const isOwn = message.kind === "reply" && message.author.id === context.agent.id
      return !history.includes(isOwn ? `answer to ${run}` : message.content)
    })
    if (missing !== undefined) {
      this.world.violate("I13", `${turn.run} has not seen ${missing.id} (${missing.content}) of ${context.task?.id}`)
    }
  }
}
