/** The control plane's functions by their path, as a runtime calls them. */
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { ArgumentsOf, RunSettings, ServiceFunctions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { canAgentMarkDone, nextStatusesFor, pathTo } from "../../src/domain/shared/TaskStatus.ts"
import type { AccountOptions, Agent, Origin, Question, Task } from "./accountState.ts"
import { ApprovalModel, isSameSet } from "./approvalModel.ts"
import type { Checked } from "./approvalModel.ts"
import type { Run } from "./queueEnds.ts"
import { Refusal } from "./queueState.ts"
import type { Event, Fence } from "./queueState.ts"

type ToolArgs = Fence & { readonly settings: RunSettings }

/** A heartbeat starts a chain at one hop. */
const HEARTBEAT_HOPS = 1
/** How many tasks a run and a chain may create. */
const TASKS_OF_RUN = 20
const TASKS_OF_CHAIN = 100
/** How long a request for a response is not repeated. */
const ASK_AGAIN_AFTER = 4 * 60 * 60 * 1_000
const OPERATOR = { type: "system", id: "operator" } as const
const PROTOCOLS = { oldest: 1, newest: 1 }
const COMMANDS = { restart: null, upgrade: null, underway: null, watched: null }

interface ResponseRequest {
  readonly asker: string
  readonly recipient: string
  readonly task: string
  readonly notification: string
  readonly event: Event
  readonly at: number
}

/** A call whose checks have passed and that changes nothing. */
const settled = (task: Task, result: object): Checked<object> => ({ task, settled: result, act: () => result })

/** One account with its functions. */
export class AccountModel extends ApprovalModel {
  private readonly requests: Array<ResponseRequest> = []
  /** The tasks that agents created. */
  readonly created: Array<{ readonly run: string; readonly chain: string | null }> = []
  private readonly functions: Partial<ServiceFunctions>

  constructor(options: AccountOptions) {
    super(options)
    this.functions = { ...this.ofQueue, ...this.ofAccount, ...this.ofTools }
  }

  private at<A extends object>(answer: A): A & { readonly now: number } {
    return { ...answer, now: this.now }
  }

  private readonly ofQueue: Partial<ServiceFunctions> = {
    [functions.wake]: () => ({ count: this.queue.wakes, recalled: this.queue.recalled, news: this.queue.news }),
    [functions.stopRuns]: ({ agent, run, task }) =>
      this.stop(this.now, OPERATOR, {
        ...(agent === undefined ? {} : { agent: this.agent(agent).id }),
        ...(run === undefined ? {} : { run }),
        ...(task === undefined ? {} : { task: this.task(task).id })
      }),
    [functions.pause]: ({ agent = null, release = false }) => {
      if (agent !== null && this.agent(agent).isRemoved === true) throw new Refusal("not_found")
      this.queue.pause(this.now, agent, release)
      if (agent !== null) this.rosterRevision += 1
      return null
    },
    [functions.resume]: ({ agent = null }) => {
      this.queue.resume(this.now, agent)
      if (agent !== null) this.rosterRevision += 1
      return null
    },
    [functions.runAgain]: ({ run }) => {
      this.queue.runAgain(this.now, run)
      return null
    },
    [functions.backlog]: () => ({ oldest: this.queue.oldest(Infinity) }),
    [functions.claim]: (args) => {
      const answer = this.queue.claim(this.now, args)
      if (args.limit > 0 && answer.runs.length + answer.spent.length === 0) this.emptyClaims += 1
      return this.at({ ...answer, runs: answer.runs.map((run) => this.withContext(run)) })
    },
    [functions.renew]: (args) => this.at(this.queue.renew(this.now, args)),
    [functions.join]: ({ known, settings, ...fence }) => {
      const { events, joined } = this.queue.join(this.now, fence, settings)
      const from = events.length - joined + known
      return { events: events.map((event, index) => this.eventView(event, index)).slice(from) }
    },
    [functions.release]: (args) => this.at(this.queue.release(this.now, args)),
    [functions.complete]: (args) => {
      this.isTruncated = args.truncated === true
      return this.at(this.queue.complete(this.now, args))
    },
    [functions.fail]: (args) => this.at(this.queue.fail(this.now, args)),
    [functions.retryDeadLetter]: ({ id }) => {
      this.queue.retryDeadLetter(this.now, id)
      return null
    },
    [functions.discardDeadLetter]: ({ id }) => {
      this.queue.discardDeadLetter(this.now, id)
      return null
    },
    [functions.updateAgentHeartbeat]: (args) => this.finishHeartbeat(args),
    [functions.recordUsage]: (args) => this.queue.recordUsage(this.now, args),
    [functions.allowUsage]: (args) => this.queue.allow(this.now, args),
    [functions.rotateSessions]: ({ agent }) => ({ rotated: this.queue.rotate(agent).length })
  }

  private readonly ofAccount: Partial<ServiceFunctions> = {
    [functions.agents]: () => ({
      revision: this.rosterRevision,
      accountName: "Acme",
      agents: this.agents.map((agent) => {
        const isPaused = this.queue.paused.has(agent.id)
        return { ...this.view(agent), isPaused, heartbeat: agent.heartbeat, model: null }
      })
    }),
    [functions.protocol]: () => PROTOCOLS,
    [functions.commands]: () => ({ paused: this.queue.isPaused, ...COMMANDS }),
    [functions.pulse]: ({ bootId, health, intervalMs, reasons, runtimeId, status }) => {
      const releasedLeases = this.queue.boot(this.now, runtimeId, bootId)
      const text = `${health} ${reasons.join(" ")}`
      this.runtimes.set(runtimeId, { bootId, status, lastPulseAt: this.now, intervalMs, health: text })
      return this.at({
        commands: { paused: this.queue.isPaused, ...COMMANDS },
        oldest: this.queue.oldest(this.now),
        nextDueAt: this.queue.pulseDueAt(this.now, runtimeId),
        rosterRevision: this.rosterRevision,
        protocol: PROTOCOLS,
        releasedLeases
      })
    },
    [functions.loadTask]: ({ taskId }) => ({
      task: this.taskView(this.task(taskId)),
      thread: this.messages.filter((message) => message.task === taskId).map((message) => this.messageView(message))
    })
  }

  private finishHeartbeat(args: ArgumentsOf<typeof functions.updateAgentHeartbeat>) {
    const answer = this.queue.finishHeartbeat(this.now, args, (run) => {
      const { message } = args
      if (message === undefined || message.content.trim() === "") return null
      const task = this.task(message.taskId)
      this.mustActOn(run, task)
      const { content, truncated = false } = message
      const said = { content, isTruncated: truncated, epoch: args.epoch, answersType: null }
      return this.post(task, { kind: "message", ...said }, this.originOfRun(run, args.settings))
    })
    return this.at(answer)
  }

  private originOfRun({ agent, id, row }: Run, settings: RunSettings): Origin {
    if (row !== null) return this.originOf(row, settings)
    const actor = { type: "agent", id: agent } as const
    return { actor, hops: HEARTBEAT_HOPS + 1, settings, depth: HEARTBEAT_HOPS + 1, run: id, chain: id }
  }

  private mustActOn(run: Run, task: Task): void {
    const isOwn =
      this.agent(run.agent).isOrchestrator ||
      run.row?.task === task.id ||
      task.createdInRun === run.id ||
      (run.kind === "heartbeat" && task.assignees.includes(run.agent))
    if (!isOwn) throw new Refusal("forbidden")
  }

  private mustOrchestrate({ agent }: Run): void {
    if (!this.agent(agent).isOrchestrator) throw new Refusal("forbidden")
  }

  /** A tool: what it does once its fence and its checks hold, and the policies allow it. */
  private tool<A extends object>(
    { epoch, run, session, settings, ...rest }: ToolArgs,
    tool: string,
    check: (run: Run, origin: Origin) => Checked<A>,
    isCreation = false
  ): any {
    const call = { fence: { run, session, epoch }, settings, tool, args: JSON.stringify(rest), isCreation, check }
    return this.callTool(call, (live) => this.originOfRun(live, settings))
  }

  /** A tool that creates something: once in a run for the same arguments. */
  private creation<A extends object>(
    args: ToolArgs,
    name: string,
    check: (run: Run, origin: Origin) => Checked<A>
  ): any {
    return this.tool(args, name, check, true)
  }

  /** A run creates at most 20 tasks, and a chain of agents' turns at most 100. */
  private mustHaveTasksLeft({ id }: Run, { chain }: Origin): void {
    const ofRun = this.created.filter((task) => task.run === id).length
    const ofChain = this.created.filter((task) => task.chain === chain).length
    const isOver = ofRun >= TASKS_OF_RUN || ofChain >= TASKS_OF_CHAIN
    if (isOver && !this.queue.mistakes.has("creations without a limit")) throw new Refusal("limit")
    this.created.push({ run: id, chain })
  }

  private setStatusInRun(args: ArgumentsOf<typeof functions.setTaskStatus>) {
    const { status: to, taskId } = args
    return this.tool(args, "task_status", (run, origin) => {
      const task = this.task(taskId)
      const agent = { ...this.agent(run.agent), flags: this.flags(this.agent(run.agent)) }
      this.mustActOn(run, task)
      const previousStatus = task.status
      const unchanged = { taskId, previousStatus, path: [], status: previousStatus, changed: false }
      if (previousStatus === to) return settled(task, unchanged)
      if (this.keepsDecision(task, "status", run.id, origin.askedAt)) {
        return settled(task, { ...unchanged, reason: "a person's status" })
      }
      if (to === "done" && run.kind === "heartbeat") throw new Refusal("forbidden")
      if (to === "done" && previousStatus === "review" && !canAgentMarkDone(agent, previousStatus)) {
        throw new Refusal("forbidden")
      }
      const { length: assigneeCount } = task.assignees
      if (!nextStatusesFor(agent, previousStatus, assigneeCount).includes(to)) throw new Refusal("invalid")
      const path = pathTo(previousStatus, to, { assigneeCount }) ?? []
      const act = () => {
        this.move(task, to, origin)
        return { ...unchanged, path, status: to, changed: true }
      }
      return { task, act }
    })
  }

  /** Whether the latest request was made less than four hours ago and has brought no answer yet. */
  private isAsked(asker: string, recipient: string, task: string): boolean {
    const latest = this.requests.findLast(
      (each) => each.asker === asker && each.recipient === recipient && each.task === task
    )
    if (latest === undefined || latest.at < this.now - ASK_AGAIN_AFTER) return false
    const { outcome, state } = this.queue.row(latest.notification)
    const isAnswered = latest.event.refusal === null && (outcome === "replied" || outcome === "acted")
    return state !== "discarded" && outcome !== "stopped" && !isAnswered
  }

  /** Asks the person, unless asked less than four hours ago and not answered; an older question ends. */
  private ask(asker: string, { id: task }: Task, run: string, text: string, origin: Origin) {
    const isOpen = (each: Question) => each.state === "open" && each.asker === asker && each.task === task
    const earlier = this.questions.find(isOpen)
    if (earlier !== undefined && earlier.at >= this.now - ASK_AGAIN_AFTER) return []
    const { personName } = this
    const note = {
      kind: "note",
      content: `Question to ${personName}: ${text}`,
      epoch: null,
      answersType: null
    } as const
    this.post(this.task(task), note, origin)
    this.endQuestions(isOpen)
    const id = `q${this.questions.length + 1}`
    this.questions.push({ id, asker, task, run, text, at: this.now, state: "open" })
    return [{ slug: personName, notificationId: id }]
  }

  private request(args: ArgumentsOf<typeof functions.requestResponses>) {
    return this.creation(args, "response_request", (run, origin) => {
      const slugs = [...new Set(args.recipientSlugs)]
      const id = args.taskId ?? run.row?.task
      if (id === undefined) throw new Refusal("invalid")
      const task = this.task(id)
      this.mustActOn(run, task)
      return { task, act: () => this.askAll(args.message, slugs, task, run, origin) }
    })
  }

  private askAll(message: string, slugs: ReadonlyArray<string>, task: Task, run: Run, origin: Origin) {
    const canBeAsked = (agent: Agent) =>
      agent.id !== run.agent && (!task.isChat || agent.isOrchestrator) && !this.isAsked(run.agent, agent.id, task.id)
    const asked = slugs.flatMap((slug) => this.agents.filter((agent) => agent.slug === slug && canBeAsked(agent)))
    const made = this.notify(asked, task, origin, { type: "response_request", request: message })
    const pairs = asked.flatMap(({ id: recipient, slug }, index) => {
      const notificationId = made[index]
      return notificationId === undefined ? [] : [{ recipient, slug, notificationId }]
    })
    const isPerson = (slug: string) => slug.toLowerCase() === this.personName.toLowerCase()
    const people = slugs.some(isPerson) ? this.ask(run.agent, task, run.id, message, origin) : []
    for (const { notificationId: notification, recipient } of pairs) {
      const event = this.queue.row(notification).events.at(-1)
      if (event === undefined) throw new Error("a notification without events")
      this.requests.push({ asker: run.agent, recipient, task: task.id, notification, event, at: this.now })
    }
    return {
      asked: [...pairs.map(({ notificationId, slug }) => ({ slug, notificationId })), ...people],
      skipped: slugs
        .filter((slug) => !pairs.some((pair) => pair.slug === slug) && !(isPerson(slug) && people.length > 0))
        .map((slug) => ({ slug, reason: "not asked" }))
    }
  }

  private readonly ofTools: Partial<ServiceFunctions> = {
    [functions.setTaskStatus]: (args) => this.setStatusInRun(args),
    [functions.assignTask]: (args) =>
      this.tool(args, "task_assign", (run, origin) => {
        this.mustOrchestrate(run)
        const { assigneeSlugs } = args
        const task = this.task(args.taskId)
        const wanted = assigneeSlugs.map((slug) => {
          const agent = this.agents.find((each) => each.slug === slug)
          if (agent === undefined) throw new Refusal("not_found")
          return agent.id
        })
        const assignees = [...new Set(wanted)]
        const answer = { taskId: task.id, status: task.status, assigneeSlugs }
        if (isSameSet(assignees, task.assignees)) return settled(task, { ...answer, changed: false })
        if (this.keepsDecision(task, "assignees", run.id, origin.askedAt)) {
          const held = task.assignees.map((id) => this.agent(id).slug)
          return settled(task, { ...answer, assigneeSlugs: held, changed: false, reason: "a person's assignees" })
        }
        const act = () => {
          this.reassign(task, assignees, origin)
          return { ...answer, status: task.status, changed: true }
        }
        return { task, act }
      }),
    [functions.createTask]: (args) =>
      this.creation(args, "task_create", (run, origin) => {
        const { assigneeSlugs = [] } = args
        if (args.assigneeSlugs !== undefined) this.mustOrchestrate(run)
        const act = () => {
          this.mustHaveTasksLeft(run, origin)
          const assignees = assigneeSlugs.flatMap((slug) => this.agents.filter((agent) => agent.slug === slug))
          const ids = [...new Set(assignees.map((agent) => agent.id))]
          const { id, status } = this.makeTask(ids, origin)
          return { taskId: id, status }
        }
        return { task: null, act }
      }),
    [functions.upsertDocument]: (args) =>
      this.creation(args, "document_upsert", (run) => {
        const act = () => {
          const id = `d${this.documents.length + 1}`
          this.documents.push({ id, run: run.id, title: args.title })
          return { documentId: id, taskId: args.taskId ?? null }
        }
        return { task: null, act }
      }),
    [functions.postMessage]: (args) =>
      this.creation(args, "task_message", (run, origin) => {
        this.mustOrchestrate(run)
        const task = this.task(args.taskId)
        const written = { kind: "message", content: args.content, epoch: args.epoch, answersType: null } as const
        return { task, act: () => ({ messageId: this.post(task, written, origin) }) }
      }),
    [functions.removeTask]: (args) =>
      this.tool(args, "task_delete", (run, origin) => {
        this.mustOrchestrate(run)
        const task = this.task(args.taskId)
        if (task.isChat) throw new Refusal("forbidden")
        const { id: taskId, status } = task
        const unchanged = { taskId, status, changed: false, stopped: 0 }
        if (status !== "archived" && this.keepsDecision(task, "status", run.id, origin.askedAt)) {
          return settled(task, { ...unchanged, reason: "a person's status" })
        }
        const act = () => {
          const stopped = this.removeTask(task, origin)
          return { taskId, status: task.status, changed: status !== "archived", stopped }
        }
        return { task, act }
      }),
    [functions.requestResponses]: (args) => this.request(args)
  }

  /** Whether there is such a function. */
  has(path: string): boolean {
    return path in this.functions
  }

  /** Runs a function as one transaction at this moment; throws a Refusal. */
  call(now: number, path: string, args: object): object {
    this.now = now
    this.counts.set(path, (this.counts.get(path) ?? 0) + 1)
    if (this.isTokenRevoked) throw new Refusal("unauthenticated")
    const run: ((args: never) => unknown) | undefined = this.functions[path as keyof ServiceFunctions]
    if (run === undefined) throw new Refusal("not_found")
    return this.queue.transact(now, () => run(args as never) as object)
  }
}
