import { afterEach, beforeEach, vi } from "vitest"

/** Stops the control plane's clock at a fixed time in every test of the file. */
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

/** Advances the control plane's clock. */
export const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)
