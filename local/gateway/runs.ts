import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import type { Workspace } from "./config.ts"
import { Permits } from "./permits.ts"
import type { Provider } from "./provider.ts"
import type { Release } from "./release.ts"
import type { ClientTool } from "./requestBody.ts"
import { type Emit, RunEvents } from "./runEvents.ts"
import type { RunTarget } from "./selection.ts"
import type { Session, Sessions } from "./sessions.ts"
import { runTurn } from "./turn.ts"
import { internalError, type TurnEnd, TurnFailed } from "./turnEnd.ts"

export interface RunRequest {
  /** The id of the response, which is also the run's. */
  readonly runId: string
  readonly target: RunTarget
  readonly text: string
  /** The text in the transcript, if it differs from the text itself. */
  readonly remembered?: string
  readonly instructions: string
  readonly workspace: Workspace | undefined
  readonly tools: ReadonlyArray<ClientTool>
  readonly toolSearch: boolean
  readonly maxTokens: number | undefined
}

const recoverySeconds = 8
const recoveryText =
  "[System] Your previous turn was interrupted by a gateway restart while OpenClaw was waiting on tool/model work. The restart did not cancel the user's task. Continue from the existing transcript: check the current state, recover interrupted work, and finish the task without asking the user to repeat the request."

/** Runs turns: one at a time per session, in order of arrival, and at most a limited number at once. */
export class Runs {
  readonly #provider: Provider
  readonly #sessions: Sessions
  readonly #release: Release
  readonly #permits: Permits
  readonly #emit: Emit
  /** Stops the present run of each session. */
  readonly #stops = new Map<string, AbortController>()
  /** The sessions of the runs that are running or wait, once for each run. */
  readonly #admitted: Array<RunTarget> = []
  /** Maximum number of concurrent runs so far. */
  peak = 0
  total = 0

  constructor(provider: Provider, sessions: Sessions, release: Release, maxConcurrent: () => number, emit: Emit) {
    this.#emit = emit
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

  /** The sessions with a running or waiting run, of one agent if given. */
  activeSessions(agent?: string): ReadonlyArray<string> {
    const targets = this.#admitted.filter((target) => agent === undefined || target.agent === agent)
    return [...new Set(targets.map(({ sessionKey }) => sessionKey))]
  }

  /** Stops the session's run as OpenClaw's Stop button does. Returns false if none is running. */
  stop(sessionKey: string): boolean {
    const stop = this.#stops.get(sessionKey)
    stop?.abort(this.#stopped())
    return stop !== undefined
  }

  /** 2026.8.2 reports a stop like a provider's timeout. */
  #stopped(): TurnFailed {
    return this.#release.explainsEnds
      ? internalError({ error: "agent run aborted", aborted: true, stopReason: "aborted" })
      : new TurnFailed(504, "api_error", "upstream provider timeout", { error: "This operation was aborted" })
  }

  /**
   * Runs one turn when its session and a permit are free. Rejects with TurnFailed, or with the signal's reason once
   * aborted.
   */
  async run(request: RunRequest, signal: AbortSignal): Promise<TurnEnd> {
    const session = this.#sessions.open(request.target.sessionKey, request.target.agent)
    const before = session.tail
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    session.tail = ended
    this.#admitted.push(request.target)
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
      this.#admitted.splice(this.#admitted.indexOf(request.target), 1)
      end()
    }
  }

  /**
   * Finishes the turns that a crash interrupted. Such a turn has none of the caller's tools, and no one receives its
   * answer.
   */
  async recover(timeScale: number, signal: AbortSignal): Promise<void> {
    const interrupted = this.#sessions.interrupted()
    if (interrupted.length === 0) return
    await sleep(recoverySeconds * 1000 * timeScale, undefined, { signal })
    await Promise.allSettled(
      interrupted.map((session) => {
        const lost = session.running ?? ""
        const last = session.messages.at(-1)
        // The process died before the model answered, so the next turn sees the text as that of an aborted turn.
        if (last?.role === "user") {
          session.messages.pop()
          session.abandoned = lost
        }
        return this.run(
          {
            runId: `recovery_${randomUUID()}`,
            target: { agent: session.agent, sessionKey: session.key },
            text: recoveryText,
            remembered: last?.role === "user" ? `${lost}\n${recoveryText}` : recoveryText,
            instructions: "",
            workspace: undefined,
            tools: [],
            toolSearch: false,
            maxTokens: undefined
          },
          signal
        )
      })
    )
  }

  async #runIn(session: Session, request: RunRequest, signal: AbortSignal): Promise<TurnEnd> {
    const stop = new AbortController()
    this.#stops.set(session.key, stop)
    const { runId } = request
    const run = { runId, sessionKey: session.key, agentId: session.agent }
    const events = new RunEvents(this.#emit, this.#release, run)
    try {
      events.started()
      const end = await runTurn(this.#provider, {
        session,
        text: request.text,
        remembered: request.remembered ?? request.text,
        instructions: request.instructions,
        workspace: request.workspace,
        tools: request.tools,
        toolSearch: request.toolSearch,
        maxTokens: request.maxTokens,
        release: this.#release,
        signal: AbortSignal.any([signal, stop.signal]),
        events,
        onSaved: () => this.#sessions.save(session)
      })
      events.ended(end)
      return end
    } catch (error) {
      const failure: unknown = stop.signal.aborted ? stop.signal.reason : error
      events.failed(failure)
      throw failure
    } finally {
      this.#stops.delete(session.key)
      session.running = undefined
      this.#sessions.trim(session)
      this.#sessions.save(session)
    }
  }
}
