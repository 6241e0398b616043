/** Lets one transaction run at a time, in the order of the requests. */
export class TransactionLock {
  private isHeld = false
  private readonly waiting: Array<() => void> = []

  acquire(): Promise<void> {
    if (!this.isHeld) {
      this.isHeld = true
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.waiting.push(resolve)
    })
  }

  release(): void {
    const next = this.waiting.shift()
    if (next === undefined) this.isHeld = false
    else next()
  }
}
