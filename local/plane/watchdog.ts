import { AsyncLocalStorage } from "node:async_hooks"

// In a transaction user code gets no timers, and a timer must not inherit the transaction's async context.
const outside = AsyncLocalStorage.snapshot()
const { setTimeout: setTimer, clearTimeout: clearTimer } = globalThis

/** Reports a transaction that holds the plane for too long. */
export class Watchdog {
  private readonly timeout: number
  private readonly onStuck: (path: string) => void
  private timer: NodeJS.Timeout | undefined

  /** Calls `onStuck` with the function's path after `timeout` milliseconds. */
  constructor(timeout: number, onStuck: (path: string) => void) {
    this.timeout = timeout
    this.onStuck = onStuck
  }

  start(path: string): void {
    outside(() => {
      clearTimer(this.timer)
      this.timer = setTimer(() => this.onStuck(path), this.timeout)
    })
  }

  stop(): void {
    clearTimer(this.timer)
  }
}
