import { setTimeout as sleep } from "node:timers/promises"
import { Permits } from "./permits.ts"
import type { Provider } from "./provider.ts"
import type { Release } from "./release.ts"
import type { ClientTool } from "./requestBody.ts"
import type { RunTarget } from "./selection.ts"
import type { Session, Sessions } from "./sessions.ts"
import { runTurn } from "./turn.ts"
import type { TurnEnd } from "./turnEnd.ts"

export interface RunRequest {
  readonly target: RunTarget
  readonly text: string
  readonly instructions: string
  readonly tools: ReadonlyArray<ClientTool>
  readonly toolSearch: boolean
  readonly maxTokens: number | undefined
}

const recoverySeconds = 8
const recoveryText =
  "[System] Your previous turn was interrupted by a gateway restart while you were working. Continue where you stopped and finish the task."

/** Runs turns: one at a time per session in order of arrival, a limited number side by side. */
export class Runs {
  readonly #provider: Provider
  readonly #sessions: Sessions
  readonly #release: Release
  readonly #permits: Permits
  /** The most runs that were ever under way together. */
  peak = 0
  total = 0

  constructor(provider: Provider, sessions: Sessions, release: Release, maxConcurrent: () => number) {
    this.#provider = provider
    this.#sessions = sessions
    this.#release = release
    this.#permits = new Permits(maxConcurrent)
  }

  get active(): number {
    return this.#permits.taken
  }

  get waiting(): number {
    return this.#permits.waiting
  }

  /** Runs one turn when its session and a permit are free; rejects with TurnFailed, or the signal's reason once aborted. */
  async run(request: RunRequest, signal: AbortSignal): Promise<TurnEnd> {
    const session = this.#sessions.open(request.target.sessionKey, request.target.agent)
    const before = session.tail
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    session.tail = ended
    try {
      await before
      await this.#permits.take(signal)
      try {
        this.total += 1
        this.peak = Math.max(this.peak, this.#permits.taken)
        return await this.#runIn(session, request, signal)
      } finally {
        this.#permits.release()
      }
    } finally {
      end()
    }
  }

  /** Finishes the turns that a crash interrupted, on the gateway's own account: without the caller's tools, the answer goes nowhere. */
  async recover(timeScale: number, signal: AbortSignal): Promise<void> {
    const interrupted = this.#sessions.interrupted()
    if (interrupted.length === 0) return
    await sleep(recoverySeconds * 1000 * timeScale, undefined, { signal })
    await Promise.allSettled(
      interrupted.map((session) =>
        this.run(
          {
            target: { agent: session.agent, sessionKey: session.key },
            text: recoveryText,
            instructions: "",
            tools: [],
            toolSearch: false,
            maxTokens: undefined
          },
          signal
        )
      )
    )
  }

  async #runIn(session: Session, request: RunRequest, signal: AbortSignal): Promise<TurnEnd> {
    try {
      return await runTurn(this.#provider, {
        session,
        text: request.text,
        instructions: request.instructions,
        tools: request.tools,
        toolSearch: request.toolSearch,
        maxTokens: request.maxTokens,
        release: this.#release,
        signal,
        onSaved: () => this.#sessions.save(session)
      })
    } finally {
      session.running = undefined
      this.#sessions.save(session)
    }
  }
}
