import { setTimeout as sleep } from "node:timers/promises"
import { type ChatModel, type ChatReply, type ChatRequest, ProviderFailure } from "../model/chat.ts"
import type { Release } from "./release.ts"
import { internalError, type RunEndEvent, TurnFailed } from "./turnEnd.ts"

/** Seconds after the first call at which the real gateway retries, measured on 2026.9.6. */
const retries = {
  rateLimit: [1.4, 2.7, 5.9, 17, 39, 70, 90, 109, 140],
  serverError: [1.2, 2.6, 6, 16, 36, 65],
  dropped: [1, 2.5, 6, 16, 36, 60, 87],
  tooLarge: [0.1]
}
const cooldownSeconds = 60
const cooldownText =
  'Inline API key for provider "fake" is temporarily disabled after a provider auth/billing failure. Retry after about 1 minute, or switch to a different auth profile/API key.'
const overflowText =
  "Context overflow: prompt too large for the model. Try /reset (or /new) to start a fresh session, or use a larger-context model."
/** The gateway treats a self-hosted model as lost if it sends nothing for this long. */
const idleSeconds = 300

/**
 * The provider as the gateway uses it: retries transient failures, and fails every run for a minute after a refused
 * key.
 */
export class Provider {
  readonly #model: ChatModel
  readonly #release: Release
  readonly #timeScale: number
  #refusedUntil = 0

  /** `timeScale` multiplies every wait: 1 waits as long as the real gateway, 0.001 a thousandth of that. */
  constructor(model: ChatModel, release: Release, timeScale: number) {
    this.#model = model
    this.#release = release
    this.#timeScale = timeScale
  }

  /**
   * Calls the model. Each attempt has its own request, which depends on whether the previous one met an overloaded
   * provider. Rejects with TurnFailed if the run fails, or with the signal's reason if the caller hung up.
   */
  async complete(
    request: (attempt: number, overloaded: boolean) => ChatRequest,
    signal: AbortSignal
  ): Promise<ChatReply> {
    if (this.#refusedUntil > 0) {
      if (performance.now() < this.#refusedUntil) throw internalError({ error: cooldownText })
      this.#refusedUntil = 0
    }
    let waited = 0
    let overloaded = false
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(request(attempt, overloaded), signal)
      } catch (error) {
        if (!(error instanceof ProviderFailure) || signal.aborted) throw error
        const next = scheduleOf(error)[attempt]
        if (next === undefined) throw this.#failureOf(error)
        await sleep(Math.max(0, next - waited) * 1000 * this.#timeScale, undefined, { signal })
        waited = next
        overloaded = error.status === 429 || error.status === 413
      }
    }
  }

  async #once(request: ChatRequest, signal: AbortSignal): Promise<ChatReply> {
    const idle = new AbortController()
    const timer = setTimeout(() => idle.abort(), idleSeconds * 1000 * this.#timeScale)
    const onAbort = () => idle.abort(signal.reason)
    signal.addEventListener("abort", onAbort, { once: true })
    try {
      return await this.#model.complete(request, idle.signal)
    } catch (error) {
      if (idle.signal.aborted && !signal.aborted) throw new ProviderFailure(undefined, "model idle timeout")
      throw error
    } finally {
      clearTimeout(timer)
      signal.removeEventListener("abort", onAbort)
    }
  }

  #overflow(): RunEndEvent {
    const observed = { errorObservation: { failoverReason: "context_overflow" } }
    return {
      aborted: false,
      livenessState: "blocked",
      error: overflowText,
      ...(this.#release.explainsEnds ? observed : {})
    }
  }

  #failureOf(failure: ProviderFailure): TurnFailed {
    const { status, message } = failure
    if (status === undefined || status === 408) return new TurnFailed(408, "api_error", "upstream provider timeout")
    if (isOverflow(failure)) return internalError(this.#overflow())
    if (status >= 500) return new TurnFailed(502, "api_error", "upstream provider error")
    const text = `${status} ${message}`
    if (status === 429) return new TurnFailed(429, "rate_limit_error", text)
    if (status === 402) return new TurnFailed(402, "insufficient_quota", text)
    if (status === 401 || status === 403) {
      this.#refusedUntil = performance.now() + cooldownSeconds * 1000 * this.#timeScale
      return new TurnFailed(status, status === 401 ? "authentication_error" : "permission_error", text)
    }
    const passed = this.#release.refusalStatuses?.includes(status) ?? true
    return new TurnFailed(passed ? status : 400, "invalid_request_error", text)
  }
}

const scheduleOf = (failure: ProviderFailure): ReadonlyArray<number> => {
  if (failure.status === undefined || failure.status === 408) return retries.dropped
  if (failure.status === 413) return retries.tooLarge
  if (failure.status === 429) return retries.rateLimit
  return failure.status >= 500 ? retries.serverError : []
}

const isOverflow = (failure: ProviderFailure): boolean =>
  failure.code === "context_length_exceeded" || failure.message.includes("context length")
