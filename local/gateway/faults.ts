import { z } from "zod"

const fault = z.strictObject({
  /**
   * unavailable: 503 with Retry-After. answer: `status` and `body` as given. delay: `delayMs`, then a normal run. hang:
   * no answer. garbage: 200 with a body that is not JSON. reset: the connection breaks after the request was read,
   * before the run. lose: it breaks after the run. truncate: it breaks in the middle of the answer. refuse: the port is
   * closed for `forMs`.
   */
  kind: z.enum(["unavailable", "answer", "delay", "hang", "garbage", "reset", "lose", "truncate", "refuse"]),
  /** Number of requests that it hits; 1 by default. */
  count: z.number().int().positive().default(1),
  /** Hits only requests that run this agent. */
  agent: z.string().optional(),
  /** Hits only requests whose session key contains this. */
  session: z.string().optional(),
  /** Number of matching requests that it lets pass first. */
  after: z.number().int().nonnegative().default(0),
  delayMs: z.number().nonnegative().optional(),
  forMs: z.number().positive().max(60_000).default(1_000),
  status: z.number().int().min(200).max(599).default(502),
  body: z.string().default("<html>Bad Gateway</html>"),
  contentType: z.string().default("text/html")
})

export type Fault = z.infer<typeof fault>

/** Checks a fault from a request; throws an Error that names the problem. */
export const parseFault = (input: unknown): Fault => {
  const parsed = fault.safeParse(input)
  if (parsed.success) return parsed.data
  throw new Error(parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "))
}

/** The faults that wait for their requests. */
export class Faults {
  #waiting: Array<{ readonly fault: Fault; left: number; passing: number }> = []

  add(fault: Fault): void {
    this.#waiting.push({ fault, left: fault.count, passing: fault.after })
  }

  clear(): void {
    this.#waiting = []
  }

  get size(): number {
    return this.#waiting.length
  }

  /** Takes the first fault that matches this request. */
  take(agent: string, session: string): Fault | undefined {
    if (this.#waiting.length === 0) return undefined
    for (const entry of this.#waiting) {
      if (entry.fault.agent !== undefined && entry.fault.agent !== agent) continue
      if (entry.fault.session !== undefined && !session.includes(entry.fault.session)) continue
      if (entry.passing > 0) {
        entry.passing -= 1
        continue
      }
      entry.left -= 1
      if (entry.left === 0) this.#waiting = this.#waiting.filter((other) => other !== entry)
      return entry.fault
    }
    return undefined
  }
}
