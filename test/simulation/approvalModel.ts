/** Calls of tools that a person must approve: the policies, the requests, and people's decisions. */
import type { RunSettings } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { Origin, Task } from "./accountState.ts"
import { ContextModel } from "./contextModel.ts"
import type { Run } from "./queueEnds.ts"
import { Refusal } from "./queueState.ts"
import type { Cause, Fence } from "./queueState.ts"

/** A call whose checks have passed. */
export interface Checked<A> {
  readonly task: Task | null
  /** The result of a call that changes nothing. */
  readonly settled?: A
  readonly act: () => A
}
type Check<A> = (run: Run, origin: Origin) => Checked<A>

/** A call of a tool, as an agent's turn makes it. */
export interface ToolCall<A> {
  readonly fence: Fence
  readonly settings: RunSettings
  readonly tool: string
  /** The arguments, which identify the call in its run. */
  readonly args: string
  readonly isCreation: boolean
  readonly check: Check<A>
}

type ApprovalState = "pending" | "approved" | "denied" | "expired" | "withdrawn"

/** A call that waits for a person's decision. */
export interface Approval {
  readonly id: string
  readonly run: Run
  readonly settings: RunSettings
  readonly chain: string | null
  readonly tool: string
  readonly args: string
  readonly isCreation: boolean
  readonly check: Check<object>
  readonly task: string
  readonly askedAt: number
  readonly expiresAt: number
  status: Task["status"]
  readonly assignees: ReadonlyArray<string>
  state: ApprovalState
  result: object | null
}

/** The history of requests, in order, for the invariants. */
export type ApprovalEntry =
  | { readonly entry: "asked"; readonly approval: Approval; readonly fence: Fence }
  | { readonly entry: "executed"; readonly approval: Approval; readonly status: string; readonly isSame: boolean }
  | { readonly entry: "ended"; readonly approval: Approval; readonly state: ApprovalState }
  | { readonly entry: "stopped"; readonly run?: string; readonly agent?: string; readonly task?: string }

/** How many requests an account may have open. */
const MOST_OPEN = 50
const DAY = 24 * 60 * 60 * 1_000

/** The text of the agent's notification: the request's id and state. */
export const decisionOf = ({ id, state }: Approval): string => `${id} ${state}`

/** Whether both lists, each without repetition, have the same elements. */
export const isSameSet = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((each) => right.includes(each))

/** The account's policies and requests for approval. */
export class ApprovalModel extends ContextModel {
  /** By tool; null for an account that has never had any. */
  policies: Map<string, "allow" | "ask" | "deny"> | null = null
  readonly approvals: Array<Approval> = []
  readonly approvalLog: Array<ApprovalEntry> = []
  /** How long a person has for a decision. */
  decisionMillis = DAY

  setPolicy(now: number, tool: string, effect: "allow" | "ask" | "deny"): void {
    this.act(now, () => {
      this.policies ??= new Map()
      this.policies.set(tool, effect)
    })
  }

  /** Effects of the run, with its requests and their executions. */
  protected override effectsOf(run: string) {
    const own = this.approvals.filter((each) => each.run.id === run)
    const asked = own.map(({ askedAt: at }) => ({ tool: "approval_request", summary: "asked", at }))
    const executed = own.flatMap(({ askedAt: at, state, tool }) =>
      state === "approved" ? [{ tool, summary: tool, at }] : []
    )
    return [...super.effectsOf(run), ...asked, ...executed]
  }

  /** The run's own end has begun the work on its task, which must not prevent an approval. */
  protected override noteBegun(run: string, task: Task): void {
    for (const each of this.approvals) {
      if (each.state === "pending" && each.run.id === run && each.task === task.id) each.status = task.status
    }
  }

  private answerOf({ id, result, state }: Approval): object {
    if (state === "pending") return { needsApproval: { id, message: "a person was asked" } }
    if (state !== "approved" || result === null) throw new Refusal("forbidden")
    return "repeated" in result ? { ...result, repeated: true } : result
  }

  /** The answer of a call that is not executed; null if it is executed. */
  private instead<A extends object>(call: ToolCall<A>, originOf: (run: Run) => Origin): object | null {
    const { args, check, fence, isCreation, settings, tool } = call
    const { mistakes } = this.queue
    const run = this.queue.liveRun(fence, mistakes.has("unfenced tool") || mistakes.has("a request under a lost lease"))
    const effect = this.policies?.get(tool) ?? "allow"
    const asked = this.approvals.find((each) => each.run.id === run.id && each.tool === tool && each.args === args)
    const isForgotten =
      mistakes.has("a repeated call that asks again") ||
      (effect === "allow" && mistakes.has("a removed policy that forgets open requests"))
    if (asked !== undefined && !isForgotten) return this.answerOf(asked)
    if (effect === "allow") return null
    const origin = originOf(run)
    const checked = check(run, origin)
    if (checked.settled !== undefined) return checked.settled
    if (isCreation && this.queue.hasCreated(run.id, tool, args)) return null
    if (effect === "deny") throw new Refusal("forbidden")
    const task = checked.task ?? (run.row === null ? null : this.task(run.row.task))
    if (task === null) throw new Refusal("forbidden")
    if (task.status === "archived") throw new Refusal("invalid")
    if (this.approvals.filter(({ state }) => state === "pending").length >= MOST_OPEN) throw new Refusal("limit")
    const approval: Approval = {
      id: `approval${this.approvals.length + 1}`,
      run,
      settings,
      chain: origin.chain,
      tool,
      args,
      isCreation,
      check: check as Check<object>,
      task: task.id,
      askedAt: this.now,
      expiresAt: this.now + this.decisionMillis,
      status: task.status,
      assignees: [...task.assignees],
      state: "pending",
      result: null
    }
    this.approvals.push(approval)
    this.approvalLog.push({ entry: "asked", approval, fence })
    return this.answerOf(approval)
  }

  /** A tool's call: executed under its fence, or answered by the policies. */
  protected callTool<A extends object>(call: ToolCall<A>, originOf: (run: Run) => Origin): object {
    const { args, check, fence, isCreation, tool } = call
    const instead = this.policies === null ? null : this.instead(call, originOf)
    if (instead !== null) return instead
    const act = (run: Run): A => {
      const { act: execute, settled } = check(run, originOf(run))
      return settled ?? execute()
    }
    return isCreation
      ? this.queue.creation(this.now, fence, tool, args, act)
      : this.queue.effect(this.now, fence, tool, act)
  }

  private approvalOf(id: string): Approval {
    const found = this.approvals.find((each) => each.id === id)
    if (found === undefined) throw new Refusal("not_found")
    return found
  }

  private mustBePending({ expiresAt, state }: Approval): void {
    const { mistakes } = this.queue
    const isAllowed =
      (state === "approved" && mistakes.has("an approved call executed again")) ||
      (state === "denied" && mistakes.has("a call executed after its denial"))
    if (state !== "pending" && !isAllowed) throw new Refusal("conflict")
    if (expiresAt <= this.now) throw new Refusal("conflict")
  }

  private end(approval: Approval, state: ApprovalState): void {
    approval.state = state
    this.approvalLog.push({ entry: "ended", approval, state })
  }

  /** Notifies the agent, in the task of the run that asked. */
  private tell(approval: Approval, actor: Cause): void {
    const { run, task } = approval
    const agent = this.agents.find(({ id }) => id === run.agent)
    if (agent === undefined || this.queue.mistakes.has("a decision that the agent is not notified of")) return
    const event = { type: "mention", request: decisionOf(approval) } as const
    this.notify([agent], this.task(run.row?.task ?? task), { ...this.person, actor }, event)
  }

  /** A person approves: the call is executed as the agent, for the run that asked, without its lease. */
  approve(now: number, id: string): void {
    this.act(now, () => {
      const approval = this.approvalOf(id)
      const { args, chain, check, isCreation, run, settings, tool } = approval
      this.mustBePending(approval)
      const task = this.task(approval.task)
      const isSame = task.status === approval.status && isSameSet(task.assignees, approval.assignees)
      const isIgnored = this.queue.mistakes.has("an approval although the task has changed")
      if (this.agent(run.agent).isRemoved === true) throw new Refusal("conflict")
      if ((task.status === "archived" || !isSame) && !isIgnored) throw new Refusal("conflict")
      const actor: Cause = { type: "agent", id: run.agent }
      const origin = { actor, hops: 0, settings, depth: 0, run: run.id, chain, askedAt: approval.askedAt }
      const checked = check(run, origin)
      if (checked.settled !== undefined || this.policies?.get(tool) === "deny") throw new Refusal("conflict")
      const before = { state: approval.state, turns: task.turns, isAtTurnLimit: task.isAtTurnLimit }
      const { length } = this.approvalLog
      // Ended before the call, which may stop the runs of the task.
      this.end(approval, "approved")
      this.approvalLog.push({ entry: "executed", approval, status: task.status, isSame })
      this.forgetTurns(task)
      try {
        approval.result = isCreation ? this.queue.approvedCreation(run.id, tool, args, checked.act) : checked.act()
      } catch (refusal) {
        // Nothing is half done.
        const { state, ...turns } = before
        approval.state = state
        Object.assign(task, turns)
        this.approvalLog.splice(length)
        throw refusal
      }
      this.noteAct(task)
      this.tell(approval, this.person.actor)
    })
  }

  deny(now: number, id: string): void {
    this.act(now, () => {
      const approval = this.approvalOf(id)
      if (approval.state !== "pending" || approval.expiresAt <= this.now) throw new Refusal("conflict")
      this.end(approval, "denied")
      this.forgetTurns(this.task(approval.task))
      this.noteAct(this.task(approval.task))
      this.tell(approval, this.person.actor)
    })
  }

  /** Ends the requests about which no one decided in time, or only the named one. */
  expire(now: number, id?: string): void {
    this.act(now, () => {
      for (const approval of this.approvals) {
        if (approval.state !== "pending" || approval.expiresAt > now || (id !== undefined && approval.id !== id))
          continue
        this.end(approval, "expired")
        this.tell(approval, { type: "system", id: "system" })
      }
    })
  }

  // Stops, which withdraw requests.

  private withdraw(of: { readonly run?: string; readonly agent?: string; readonly task?: string }): void {
    this.approvalLog.push({ entry: "stopped", ...of })
    if (this.queue.mistakes.has("a stop that leaves requests for approval open")) return
    for (const approval of this.approvals) {
      const { run, state, task } = approval
      const isConcerned =
        run.id === of.run ||
        run.agent === of.agent ||
        (of.task !== undefined && [task, run.row?.task].includes(of.task))
      if (state === "pending" && isConcerned) this.end(approval, "withdrawn")
    }
  }

  /** Archives a task for an agent's run, which continues, and stops the others. */
  protected removeTask(task: Task, origin: Origin): number {
    const { actor, run } = origin
    this.move(task, "archived", origin)
    this.withdraw({ task: task.id })
    return this.queue.stopAll(this.now, actor, { task: task.id }, run)
  }

  override setStatus(now: number, id: string, to: Task["status"]): void {
    this.act(now, () => {
      const from = this.task(id).status
      super.setStatus(now, id, to)
      if (from !== to && this.task(id).status === to && (to === "done" || to === "archived"))
        this.withdraw({ task: id })
    })
  }

  override archive(now: number, id: string): void {
    this.act(now, () => {
      super.archive(now, id)
      this.withdraw({ task: id })
    })
  }

  override remove(now: number, id: string): void {
    this.act(now, () => {
      super.remove(now, id)
      this.withdraw({ agent: id })
    })
  }

  override stop(
    now: number,
    by: Cause,
    of: { readonly run?: string; readonly agent?: string; readonly task?: string }
  ) {
    return this.act(now, () => {
      const answer = super.stop(now, by, of)
      this.withdraw(of)
      return answer
    })
  }
}
