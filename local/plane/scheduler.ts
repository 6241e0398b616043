import { convexToJson, type Value } from "convex/values"
import { type Document, tableOf } from "./document.ts"
import { type Engine } from "./engine.ts"
import { at } from "./longTimer.ts"

const jobs = "_scheduled_functions"
/**
 * Runs scheduled functions when they are due: mutations exactly once, in one transaction with their job, and actions at
 * most once.
 */
export class Scheduler {
  private readonly engine: Engine
  private readonly cancels = new Map<string, () => void>()
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

  /**
   * Continues the jobs of the previous process: waiting ones get their timers, and actions that were running are
   * failed.
   */
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
    for (const cancel of this.cancels.values()) cancel()
  }

  private arm(job: Document): void {
    if (this.isClosed || this.cancels.has(job._id)) return
    const cancel = at(Number(job["scheduledTime"]), () => {
      this.cancels.delete(job._id)
      void this.run(job)
    })
    this.cancels.set(job._id, cancel)
  }

  private disarm(id: string): void {
    this.cancels.get(id)?.()
    this.cancels.delete(id)
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

  /** Moves a job to its next state. Returns false if it was not in the expected one. */
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
