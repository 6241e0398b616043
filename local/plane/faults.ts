/** What can be made to go wrong. */
export const faultKinds = [
  /** The call is done, then the connection ends without an answer. */
  "drop",
  /** The call is done, its answer comes `milliseconds` later. */
  "delay",
  /** The connection ends before anything is done; an upgrade to a WebSocket likewise. */
  "refuse",
  /** Nothing is done and no answer ever comes. */
  "hang",
  /** A deployment over its limits: 503 with a code, or the socket closed with it. */
  "overload",
  /** The redacted "Server Error" of a function that threw. */
  "error",
  /** A mutation loses to another one and is run again. */
  "conflict"
] as const

export type FaultKind = (typeof faultKinds)[number]

/** The faults that can meet a call, whichever way it comes. */
export const callFaults: ReadonlyArray<FaultKind> = ["drop", "delay", "refuse", "hang", "overload", "error"]

/** What an overloaded deployment says. */
export const overloaded = {
  code: "TooManyConcurrentRequests",
  message: "Your request couldn't be completed. Try again later."
} as const

/** A fault that waits for its call. */
export type Fault = {
  readonly kind: FaultKind
  /** Only calls of this function. */
  readonly path?: string
  /** Only calls that come this way. */
  readonly transport?: "http" | "websocket"
  /** How often; absent: until cleared. */
  readonly count?: number
  readonly milliseconds?: number
  /** Of an `error` over HTTP: the data of the ConvexError that was thrown, which a deployment does not redact. */
  readonly data?: unknown
}

type Waiting = { readonly fault: Fault; left: number }

/** The faults asked for, in the order they were; each call meets at most one. */
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

  /** The fault a call meets, used up by it. */
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
