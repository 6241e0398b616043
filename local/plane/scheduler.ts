import { convexToJson, type Value } from "convex/values"
import { type Document, tableOf } from "./document.ts"
import { type Engine } from "./engine.ts"

const jobs = "_scheduled_functions"
/** What Node's timers can hold; a longer wait is cut there and taken up again. */
const longestTimer = 2 ** 31 - 1

/** Runs scheduled functions when they are due: mutations exactly once, in one transaction with their job; actions at most once. */
export class Scheduler {
  private readonly engine: Engine
  private readonly timers = new Map<string, NodeJS.Timeout>()
  private isClosed = false

  constructor(engine: Engine) {
    this.engine = engine
    engine.onCommit(({ changes }) => {
      for (const { id, table, after } of changes) {
        if (table !== jobs) continue
        if (after !== null && stateOf(after) === "pending") engine.later(() => this.arm(after))
        else engine.later(() => this.disarm(id))
      }
    })
  }

  /** Takes up the jobs of an earlier life: the waiting ones are armed, the actions that were running have failed. */
  async resume(): Promise<void> {
    const lost: Array<string> = []
    for (const job of this.engine.store.all(jobs)) {
      if (stateOf(job) === "pending") this.arm(job)
      if (stateOf(job) === "inProgress") lost.push(job._id)
    }
    if (lost.length > 0) {
      await this.engine.transact("resume jobs", (database) => {
        for (const id of lost)
          database.patch(jobs, id, { state: { kind: "failed", error: "lost" }, completedTime: Date.now() })
      })
    }
  }

  close(): void {
    this.isClosed = true
    for (const timer of this.timers.values()) clearTimeout(timer)
  }

  private arm(job: Document): void {
    if (this.isClosed || this.timers.has(job._id)) return
    const wait = Number(job["scheduledTime"]) - Date.now()
    const timer = setTimeout(
      () => {
        this.timers.delete(job._id)
        if (wait > longestTimer) this.arm(job)
        else void this.run(job)
      },
      Math.min(Math.max(0, wait), longestTimer)
    )
    this.timers.set(job._id, timer)
  }

  private disarm(id: string): void {
    clearTimeout(this.timers.get(id))
    this.timers.delete(id)
  }

  private async run(job: Document): Promise<void> {
    const path = String(job["name"])
    const [argument] = job["args"] as Array<Value>
    const args = convexToJson(argument ?? {})
    const call = { path, args, identity: null, isAdmin: true, origin: "scheduled" } as const
    const kind = this.engine.functionAt(path)?.kind
    if (kind === "mutation") {
      const result = await this.engine.run({ ...call, jobId: job._id })
      if (result.status !== "success") await this.end(job._id, "pending", "failed")
      return
    }
    if (!(await this.end(job._id, "pending", "inProgress"))) return
    const result = await this.engine.run(call)
    await this.end(job._id, "inProgress", result.status === "success" ? "success" : "failed")
  }

  /** Moves a job on from the state it must be in; answers whether it was. */
  private async end(id: string, from: string, to: "inProgress" | "success" | "failed"): Promise<boolean> {
    let isMoved = false
    await this.engine.transact(`job ${to}`, (database) => {
      const job = this.engine.store.peek(id)
      if (job === null || tableOf(id) !== jobs || stateOf(job) !== from) return
      const state = to === "failed" ? { kind: to, error: "Server Error" } : { kind: to }
      database.patch(jobs, id, to === "inProgress" ? { state } : { state, completedTime: Date.now() })
      isMoved = true
    })
    return isMoved
  }
}

const stateOf = (job: Document): unknown => (job["state"] as { readonly kind?: unknown } | undefined)?.kind
