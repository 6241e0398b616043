/** A counted limit that serves its waiters in order of arrival. */
export class Permits {
  readonly #limit: () => number
  #taken = 0
  readonly #waiting: Array<{ readonly grant: () => void }> = []

  /** `limit` is read at each grant, so that a changed configuration applies at once. */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Waits for a permit. Rejects with the signal's reason, without a permit, if the signal aborts first. */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#taken < this.#limit()) {
      this.#taken += 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        grant: () => {
          signal.removeEventListener("abort", giveUp)
          resolve()
        }
      }
      const giveUp = () => {
        const at = this.#waiting.indexOf(waiter)
        if (at >= 0) this.#waiting.splice(at, 1)
        reject(signal.reason)
      }
      signal.addEventListener("abort", giveUp, { once: true })
      this.#waiting.push(waiter)
    })
  }

  release(): void {
    this.#taken -= 1
    while (this.#taken < this.#limit()) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#taken += 1
      next.grant()
    }
  }
}
