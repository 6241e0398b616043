/** The kinds of faults. */
export const faultKinds = [
  /** The function runs, then the connection closes without an answer. */
  "drop",
  /** The function runs, and its answer comes `milliseconds` later. */
  "delay",
  /** The connection closes before the function runs; an upgrade to a WebSocket is refused. */
  "refuse",
  /** The function does not run, and no answer is sent. */
  "hang",
  /** An overloaded deployment: 503 with a code, or the socket closes with it. */
  "overload",
  /** The redacted "Server Error" of a function that threw an error. */
  "error",
  /** A mutation loses a conflict and is retried. */
  "conflict"
] as const

export type FaultKind = (typeof faultKinds)[number]

/** The faults that apply to calls over HTTP and WebSocket. */
export const callFaults: ReadonlyArray<FaultKind> = ["drop", "delay", "refuse", "hang", "overload", "error"]

/** An overloaded deployment's answer. */
export const overloaded = {
  code: "TooManyConcurrentRequests",
  message: "Your request couldn't be completed. Try again later."
} as const

/** A fault that waits for its call. */
export type Fault = {
  readonly kind: FaultKind
  /** Applies only to calls of this function. */
  readonly path?: string
  /** Applies only to calls over this transport. */
  readonly transport?: "http" | "websocket"
  /** How many calls it applies to; without it, all until cleared. */
  readonly count?: number
  readonly milliseconds?: number
  /** For an `error` over HTTP: the data of the thrown ConvexError, which a deployment does not redact. */
  readonly data?: unknown
}

type Waiting = { readonly fault: Fault; left: number }

/** The pending faults, in order. Each call meets at most one. */
export class Faults {
  private waiting: Array<Waiting> = []

  add(fault: Fault): void {
    this.waiting.push({ fault, left: fault.count ?? Infinity })
  }

  clear(): void {
    this.waiting = []
  }

  list(): ReadonlyArray<Fault & { readonly left: number | null }> {
    return this.waiting.map(({ fault, left }) => ({ ...fault, left: left === Infinity ? null : left }))
  }

  /** Takes the fault that applies to a call. */
  take(
    kinds: ReadonlyArray<FaultKind>,
    path: string | undefined,
    transport: "http" | "websocket" | undefined
  ): Fault | undefined {
    const met = this.waiting.find(
      ({ fault }) =>
        kinds.includes(fault.kind) &&
        (fault.path === undefined || fault.path === path) &&
        (fault.transport === undefined || fault.transport === transport)
    )
    if (met === undefined) return undefined
    met.left -= 1
    if (met.left <= 0) this.waiting = this.waiting.filter((other) => other !== met)
    return met.fault
  }
}
