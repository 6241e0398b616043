import { afterEach, beforeEach, vi } from "vitest"

/** Stops the control plane's time at a moment of every test in this file. */
export const stopTime = () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
  })
  afterEach(() => {
    vi.useRealTimers()
  })
}

export const minute = 60_000
export const hour = 60 * minute

/** Moves the control plane's time on. */
export const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)
