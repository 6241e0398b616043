import { readdirSync } from "node:fs"
import { request } from "node:http"

/** What a process holds at a moment; bytes and counts, after a collection of garbage. */
export type Sample = {
  readonly heap: number
  /** Memory outside the heap: buffers, and what native objects hold. */
  readonly external: number
  readonly resident: number
  /** What keeps the event loop busy, without timers. */
  readonly handles: number
  readonly sockets: number
  readonly timers: number
  /** Listeners of the process itself: signals, warnings, ends. */
  readonly listeners: number
  /** How often something had more listeners than Node finds reasonable. */
  readonly warnings: number
  /** Living event emitters (sockets, streams, requests), event targets (abort signals) and promises. */
  readonly emitters: number
  readonly signals: number
  readonly promises: number
}

/** A sample with its moment (seconds since the soak began), the process's descriptors and its deliveries so far. */
export type Observed = Sample & { readonly at: number; readonly files: number; readonly deliveries: number }

/** Asks the probe of a process; rejects when nobody answers there. */
export const sampleOf = (socket: string): Promise<Sample> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath: socket, path: "/" }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk))
      response.on("end", () => resolve(JSON.parse(text) as Sample))
    })
    asked.on("error", reject)
    asked.end()
  })

/** Open descriptors of a process, on Linux. */
export const filesOf = (pid: number): number => {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return Number.NaN
  }
}
