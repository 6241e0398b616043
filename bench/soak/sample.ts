import { readdirSync } from "node:fs"
import { request } from "node:http"

/** A process's resources at one time; bytes and counts, after a garbage collection. */
export type Sample = {
  readonly heap: number
  /** Memory outside the heap: buffers and native objects. */
  readonly external: number
  readonly resident: number
  /** Active handles and requests of the event loop, without timers. */
  readonly handles: number
  readonly sockets: number
  readonly timers: number
  /** Listeners of the process itself: signals, warnings, exits. */
  readonly listeners: number
  /** How often Node has warned about too many listeners. */
  readonly warnings: number
  /** Live event emitters (sockets, streams, requests), event targets (abort signals) and promises. */
  readonly emitters: number
  readonly signals: number
  readonly promises: number
}

/**
 * A sample with its time (seconds since the start of the soak), the process's descriptors and its deliveries so far.
 */
export type Observed = Sample & { readonly at: number; readonly files: number; readonly deliveries: number }

/** Reads the probe of a process; rejects if no process answers. */
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
