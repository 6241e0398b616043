/** I19: a call that a person must approve is executed once if it was approved in time, and never otherwise. */
import type { Approval, ApprovalEntry } from "./approvalModel.ts"
import { decisionOf } from "./approvalModel.ts"
import type { World } from "./world.ts"

/** Watches the requests for approval of one world. */
export class ApprovalInvariants {
  private readonly world: World
  private seen = 0
  private seenEffects = 0
  /** By run, tool and arguments: the request, and how often the call was executed. */
  private readonly asked = new Map<string, Approval>()
  private readonly executions = new Map<string, number>()
  private readonly ended = new Map<string, string>()
  private readonly stopped = new Set<string>()

  constructor(world: World) {
    this.world = world
  }

  private violate(detail: string): void {
    this.world.violate("I19", detail)
  }

  /** Judges the log entries since its last call. Called after each transaction. */
  observe(): void {
    const { approvalLog, queue } = this.world.account
    for (; this.seen < approvalLog.length; this.seen += 1) {
      const entry = approvalLog[this.seen]
      if (entry !== undefined) this.judge(entry)
    }
    for (; this.seenEffects < queue.history.length; this.seenEffects += 1) {
      const entry = queue.history[this.seenEffects]
      if (entry?.entry !== "effect" || entry.creation === null) continue
      const call = `${entry.run} ${entry.tool} ${entry.creation}`
      if (this.asked.has(call)) this.countExecution(call)
    }
  }

  private countExecution(call: string): void {
    const times = (this.executions.get(call) ?? 0) + 1
    this.executions.set(call, times)
    if (times > 1) this.violate(`${call} was executed ${times} times`)
    const { state } = this.asked.get(call) ?? {}
    if (state !== "approved") this.violate(`${call} was executed although its request is ${state}`)
  }

  private judge(entry: ApprovalEntry): void {
    switch (entry.entry) {
      case "asked":
        return this.judgeRequest(entry)
      case "executed":
        return this.judgeExecution(entry)
      case "ended":
        return this.judgeEnd(entry)
      case "stopped": {
        const { agent, run, task } = entry
        for (const { id, run: asker, state, task: own } of this.asked.values()) {
          const isOfTask = task !== undefined && [own, asker.row?.task].includes(task)
          if (asker.id !== run && asker.agent !== agent && !isOfTask) continue
          this.stopped.add(id)
          if (state === "pending") this.violate(`${id} is still open after its run, agent or task was stopped`)
        }
      }
    }
  }

  private judgeRequest({ approval, fence }: Extract<ApprovalEntry, { entry: "asked" }>): void {
    const { args, id, run, tool } = approval
    const call = `${run.id} ${tool} ${args}`
    if (this.asked.has(call)) this.violate(`${call} was asked for again`)
    this.asked.set(call, approval)
    const session = this.world.account.queue.sessions.get(fence.session)
    if (session?.lease?.epoch !== fence.epoch || session.lease.run !== run.id || session.recalled !== null) {
      this.violate(`${id} was asked for without a lease`)
    }
    this.world.cover("asked", "tool")
  }

  private judgeExecution({ approval, isSame, status }: Extract<ApprovalEntry, { entry: "executed" }>): void {
    const { args, expiresAt, id, run, tool } = approval
    const { account, now } = this.world
    const earlier = this.ended.get(id)
    if (earlier !== "approved") this.violate(`${id} was executed although it was ${earlier ?? "not approved"}`)
    if (this.stopped.has(id)) this.violate(`${id} was executed after a stop`)
    if (status === "archived" || !isSame) this.violate(`${id} was executed although its task has changed`)
    if (now >= expiresAt) this.violate(`${id} was executed after its time`)
    if (account.agent(run.agent).isRemoved === true) this.violate(`${id} was executed for a removed agent`)
    this.countExecution(`${run.id} ${tool} ${args}`)
  }

  private judgeEnd({ approval, state }: Extract<ApprovalEntry, { entry: "ended" }>): void {
    const { id, run } = approval
    const earlier = this.ended.get(id)
    if (earlier !== undefined) this.violate(`${id} was ${earlier} and is now ${state}`)
    this.ended.set(id, state)
    this.world.cover(state, "people")
    const { account } = this.world
    if (state === "withdrawn" || account.agent(run.agent).isRemoved === true) return
    const notified = [...account.queue.notifications.values()]
      .filter(({ agent }) => agent === run.agent)
      .flatMap(({ events }) => events.filter(({ request }) => request === decisionOf(approval)))
    if (notified.length !== 1) this.violate(`the agent was notified ${notified.length} times that ${id} was ${state}`)
  }
}
