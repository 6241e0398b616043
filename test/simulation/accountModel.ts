/** The account around the queue: agents, tasks, threads, who hears of what, presence; and the functions by their path. */
import { defaultAgentFlags } from "../../src/domain/AgentFlags.ts"
import type { Actor, DeliveryContext, MessageView } from "../../src/domain/DeliveryContext.ts"
import type { BeatContext } from "../../src/domain/Heartbeat.ts"
import { sessionKey } from "../../src/domain/SessionKey.ts"
import { canAgentMarkDone, needsAssignee, nextStatusesFor, pathTo } from "../../src/domain/TaskStatus.ts"
import type { TaskStatus } from "../../src/domain/TaskStatus.ts"
import { QueueModel, Refusal } from "./queueModel.ts"
import type { BeatRequest, Cause, Fence, Mistake, NotificationType, Row, Run } from "./queueModel.ts"

export const ACCOUNT = "testaccount1"

export interface Agent {
  readonly id: string
  readonly slug: string
  readonly name: string
  isOrchestrator: boolean
  readonly canReview: boolean
  /** Minutes between its heartbeats, or a cron expression. */
  heartbeat: number | string
  isRemoved?: boolean
}

export interface Task {
  readonly id: string
  readonly title: string
  /** The people's chat with the orchestrator. */
  readonly isChat: boolean
  status: TaskStatus
  assignees: Array<string>
  /** Who took part is subscribed for good; assignees are while they are assigned. */
  readonly participants: Set<string>
  readonly createdInRun: string | null
}

export interface Message {
  readonly id: string
  readonly task: string
  readonly author: Cause
  readonly kind: "message" | "reply" | "fallback" | "note"
  readonly content: string
  readonly at: number
  readonly run: string | null
  readonly epoch: number | null
  readonly answersType: NotificationType | null
  readonly isTruncated: boolean
}

/** What of a notification is damaged: the control plane says so, its context has another shape, or a part is gone. */
export const damages = ["damaged", "misshapen", "message_missing"] as const
export type Damage = (typeof damages)[number]

/** A row of `runtimes`. */
export interface Presence {
  bootId: string
  status: string
  lastPulseAt: number
  intervalMs: number
  health: string
}

/** A beat starts a chain at one hop. */
const BEAT_HOPS = 1

/** How long a request for a response is not repeated. */
const ASK_AGAIN_AFTER = 4 * 60 * 60 * 1_000
/** The hops that agents may go on after a person's act. */
const PERSON_MAX_HOPS = 12

/** One account of the control plane, in memory. */
export class AccountModel {
  /** Whoever is on the roster, or was. */
  readonly everyone: Array<Agent>
  readonly tasks = new Map<string, Task>()
  readonly messages: Array<Message> = []
  readonly runtimes = new Map<string, Presence>()
  readonly queue: QueueModel
  /** Made by tools, by id: the ledger must make each once. */
  readonly documents: Array<{ readonly id: string; readonly run: string; readonly title: string }> = []
  /** Contexts as they were handed out, by notification and epoch, before anybody could alter them. */
  readonly contexts = new Map<string, DeliveryContext>()
  /** The longest chain of agents' turns behind each row, counted from the messages and not from `hops`. */
  readonly depths = new Map<string, number>()
  readonly counts = new Map<string, number>()
  /** Notifications whose context cannot be built, and the one that is made next. */
  readonly damaged = new Map<string, Damage>()
  damageNext: Damage | null = null
  /** What was answered instead of a context, by notification and epoch. */
  readonly broken = new Map<string, string>()
  /** Per session the generation that an operator asked for, and when. */
  readonly rotations = new Map<string, { readonly at: number; readonly least: number }>()
  /** How often a heartbeat was asked for of an agent that was removed. */
  beatsOfRemoved = 0
  isTokenRevoked = false
  rosterRevision = 1
  private readonly person: Cause
  private readonly scope: "agent" | "task"
  private readonly nextTaskId: (count: number) => string
  private now = 0
  private isTruncated = false

  constructor(options: {
    readonly agents: ReadonlyArray<Agent>
    readonly scope: "agent" | "task"
    readonly mistakes?: ReadonlySet<Mistake>
    /** Who the people are; one whose id nobody asks for when absent. */
    readonly personId?: string
    /** The id of the task that is made next, where it is not the model's own. */
    readonly nextTaskId?: (count: number) => string
  }) {
    this.everyone = [...options.agents]
    this.person = { type: "person", id: options.personId ?? "person" }
    this.nextTaskId = options.nextTaskId ?? ((count) => `t${count}`)
    this.scope = options.scope
    this.queue = new QueueModel(
      {
        hasTask: (task) => this.tasks.has(task),
        post: (row, epoch, message, maxHops) =>
          this.post(
            this.task(row.task),
            { type: "agent", id: row.agent },
            {
              kind: message.kind,
              content: message.content ?? `${row.agent} did not answer`,
              run: row.id,
              epoch,
              answersType: row.type,
              isTruncated: message.kind === "reply" && this.isTruncated
            },
            row.hops + 1,
            maxHops,
            this.depthOf(row) + 1
          ),
        // Spread over two minutes, as the control plane spreads them by a digest of the id.
        firstBeatAt: (agent, minutes, now) =>
          now +
          Math.floor(
            (Math.min(0.4 * minutes * 60_000, 120_000) * (this.everyone.findIndex(({ id }) => id === agent) + 1)) / 7
          ),
        begun: (row, maxHops) => {
          const task = this.task(row.task)
          if (task.status === "assigned" && task.assignees.includes(row.agent)) {
            this.move(
              task,
              "in_progress",
              { type: "agent", id: row.agent },
              row.hops + 1,
              maxHops,
              this.depthOf(row) + 1
            )
          }
        }
      },
      options.mistakes
    )
  }

  private task(id: string): Task {
    const task = this.tasks.get(id)
    if (task === undefined) throw new Refusal("not_found")
    return task
  }

  /** The roster. */
  get agents(): ReadonlyArray<Agent> {
    return this.everyone.filter(({ isRemoved }) => isRemoved !== true)
  }

  private get orchestrator(): Agent | undefined {
    return this.agents.find(({ isOrchestrator }) => isOrchestrator)
  }

  agent(id: string): Agent {
    const agent = this.everyone.find((each) => each.id === id)
    if (agent === undefined) throw new Error(`no agent ${id}`)
    return agent
  }

  private depthOf(row: Row): number {
    const folded = this.queue.foldOf(row).map(({ id }) => this.depths.get(id) ?? 0)
    return Math.min(this.depths.get(row.id) ?? 0, ...folded)
  }

  private notify(
    agents: ReadonlyArray<string>,
    task: Task,
    actor: Cause,
    hops: number,
    maxHops: number,
    depth: number,
    cause: Pick<Row, "type"> & Partial<Pick<Row, "message" | "statuses" | "request">>
  ): ReadonlyArray<string> {
    if (hops > maxHops && !this.queue.mistakes.has("hops without a limit")) return []
    return agents.map((agent) => {
      const session = this.scope === "task" ? `session_${agent}_${task.id}` : `session_${agent}`
      this.queue.sessionFor(session, agent)
      const id = `n${this.queue.rows.size + 1}`
      this.depths.set(id, depth)
      if (this.damageNext !== null) this.damaged.set(id, this.damageNext)
      this.damageNext = null
      this.queue.enqueue(this.now, { id, session, agent, task: task.id, actor, hops, ...cause })
      return id
    })
  }

  private isSubscribed(task: Task, agent: string): boolean {
    return task.participants.has(agent) || task.assignees.includes(agent)
  }

  private post(
    task: Task,
    author: Cause,
    message: Pick<Message, "kind" | "content" | "run" | "epoch" | "answersType"> & { readonly isTruncated?: boolean },
    hops: number,
    maxHops: number,
    depth: number
  ): string {
    const id = `m${this.messages.length + 1}`
    this.messages.push({ id, task: task.id, author, at: this.now, isTruncated: false, ...message })
    const isQuiet = message.kind === "fallback" || message.kind === "note"
    const others = this.agents.filter((agent) => agent.id !== author.id)
    // In the orchestrator's chat people can mention nobody else, and agents nobody.
    const canBeMentioned = ({ isOrchestrator }: Agent) => !task.isChat || (author.type !== "agent" && isOrchestrator)
    const isMentioned = ({ slug }: Agent) => new RegExp(`@(?:${slug}|all)\\b`).test(message.content)
    const mentioned = isQuiet ? [] : others.filter((agent) => isMentioned(agent) && canBeMentioned(agent))
    if (author.type === "agent") task.participants.add(author.id)
    for (const agent of mentioned) task.participants.add(agent.id)
    const { orchestrator } = this
    if (author.type === "agent" && !isQuiet && orchestrator !== undefined) task.participants.add(orchestrator.id)
    this.notify(
      mentioned.map((agent) => agent.id),
      task,
      author,
      hops,
      maxHops,
      depth,
      { type: "mention", message: id }
    )
    const byPerson = author.type === "person"
    const isHeard =
      !isQuiet &&
      mentioned.length === 0 &&
      task.status !== "done" &&
      task.status !== "archived" &&
      (task.status !== "blocked" || byPerson || author.id === orchestrator?.id)
    const hears = (agent: Agent) => (task.isChat ? agent.isOrchestrator : this.isSubscribed(task, agent.id))
    const listeners = isHeard ? others.filter(hears) : []
    this.notify(
      listeners.map((agent) => agent.id),
      task,
      author,
      hops,
      maxHops,
      depth,
      { type: "thread_update", message: id }
    )
    return id
  }

  private move(task: Task, to: TaskStatus, actor: Cause, hops: number, maxHops: number, depth: number): void {
    const from = task.status
    task.status = to
    if (to === "inbox") task.assignees = []
    const recipients = this.agents.filter(
      (agent) =>
        agent.id !== actor.id &&
        (task.assignees.includes(agent.id) ||
          (to === "review" && (agent.isOrchestrator || (agent.canReview && this.isSubscribed(task, agent.id)))))
    )
    this.notify(
      recipients.map((agent) => agent.id),
      task,
      actor,
      hops,
      maxHops,
      depth,
      { type: "status_change", statuses: [from, to] }
    )
  }

  // What people do.

  createTask(now: number, assignees: ReadonlyArray<string>, isChat = false): string {
    this.now = now
    return this.makeTask(this.person, assignees, 0, PERSON_MAX_HOPS, 0, null, isChat).id
  }

  private makeTask(
    actor: Cause,
    assignees: ReadonlyArray<string>,
    hops: number,
    maxHops: number,
    depth: number,
    run: string | null,
    isChat = false
  ): Task {
    const id = this.nextTaskId(this.tasks.size + 1)
    const { orchestrator } = this
    const task: Task = {
      id,
      title: `Task ${id}`,
      isChat,
      status: "inbox",
      assignees: [],
      participants: new Set(orchestrator === undefined ? [] : [orchestrator.id]),
      createdInRun: run
    }
    this.tasks.set(id, task)
    this.reassign(task, assignees, actor, hops, maxHops, depth)
    return task
  }

  /** Makes these the only assignees and tells the new ones. */
  private reassign(
    task: Task,
    assignees: ReadonlyArray<string>,
    actor: Cause,
    hops: number,
    maxHops: number,
    depth: number
  ): void {
    const added = assignees.filter((id) => !task.assignees.includes(id))
    const isSame = added.length === 0 && task.assignees.every((id) => assignees.includes(id))
    if (isSame) return
    const isEmpty = assignees.length === 0
    if (task.status === "archived") throw new Refusal("invalid")
    if (isEmpty && needsAssignee(task.status) && task.status !== "assigned") throw new Refusal("invalid")
    if (task.status === "inbox") task.status = "assigned"
    else if (task.status === "assigned" && isEmpty) task.status = "inbox"
    task.assignees = [...assignees]
    const { orchestrator } = this
    if (added.length > 0 && orchestrator !== undefined) task.participants.add(orchestrator.id)
    this.notify(added, task, actor, hops, maxHops, depth, { type: "assignment" })
  }

  assign(now: number, id: string, assignees: ReadonlyArray<string>): void {
    this.now = now
    this.reassign(this.task(id), assignees, this.person, 0, PERSON_MAX_HOPS, 0)
  }

  write(now: number, task: string, content: string): void {
    this.now = now
    this.post(
      this.task(task),
      this.person,
      { kind: "message", content, run: null, epoch: null, answersType: null },
      0,
      PERSON_MAX_HOPS,
      0
    )
  }

  setStatus(now: number, id: string, to: TaskStatus): void {
    this.now = now
    const task = this.task(id)
    const path = pathTo(task.status, to, { isPerson: true, assigneeCount: task.assignees.length })
    if (path !== null && path.length > 0) this.move(task, to, this.person, 0, PERSON_MAX_HOPS, 0)
  }

  reschedule(id: string, heartbeat: number | string): void {
    this.agent(id).heartbeat = heartbeat
    this.rosterRevision += 1
  }

  archive(now: number, id: string): void {
    this.now = now
    this.task(id).status = "archived"
    this.queue.skipTask(now, id)
  }

  /** Takes an agent off the roster: what waits for it ends skipped, a live turn finishes, its tasks lose it. */
  remove(now: number, id: string): void {
    this.now = now
    const agent = this.agent(id)
    agent.isRemoved = true
    agent.isOrchestrator = false
    for (const session of this.queue.sessions.values()) {
      if (session.agent === id) this.queue.skipSession(now, session.id)
    }
    this.queue.beats.delete(id)
    for (const task of this.tasks.values()) {
      if (!task.assignees.includes(id) || task.status === "done" || task.status === "archived") continue
      const others = task.assignees.filter((each) => each !== id)
      const isStuck = others.length === 0 && needsAssignee(task.status) && task.status !== "assigned"
      if (isStuck) this.move(task, "blocked", this.person, 0, PERSON_MAX_HOPS, 0)
      this.reassign(task, others, this.person, 0, PERSON_MAX_HOPS, 0)
    }
    this.rosterRevision += 1
  }

  /** An operator gives an agent's sessions a new generation, from their next claim. */
  rotate(now: number, id: string): void {
    for (const session of this.queue.rotate(id)) {
      this.rotations.set(session.id, { at: now, least: session.nextGeneration ?? 0 })
    }
  }

  // What agents and people see.

  private actor(cause: Cause): Actor {
    if (cause.type !== "agent") return { type: cause.type, id: cause.id, name: "Pat Person", slug: null }
    const agent = this.agent(cause.id)
    return { type: "agent", id: agent.id, name: agent.name, slug: agent.slug }
  }

  private messageView(message: Message): MessageView {
    const { content, id, kind } = message
    const author = this.actor(message.author)
    return { id, author, content, kind, createdAt: message.at, isCut: false, answersType: message.answersType }
  }

  private ref(id: string) {
    const { name, slug } = this.agent(id)
    return { id, slug, name }
  }

  private view(agent: Agent) {
    return {
      ...this.ref(agent.id),
      role: agent.name,
      isOrchestrator: agent.isOrchestrator,
      flags: this.flags(agent)
    }
  }

  private flags(agent: Agent) {
    return { ...defaultAgentFlags, canCreateTasks: true, canReviewTasks: agent.canReview }
  }

  private taskView(task: Task) {
    return {
      id: task.id,
      title: task.title,
      description: "",
      status: task.status,
      priority: 3,
      labels: [],
      assignees: task.assignees.map((id) => this.ref(id)),
      blockedReason: task.status === "blocked" ? "waits" : null,
      dueDate: null,
      prNumber: null,
      isOrchestratorChat: task.isChat,
      createdBy: this.actor(this.person),
      updatedAt: 0
    }
  }

  private contextOf(id: string): DeliveryContext | null {
    const row = this.queue.rows.get(id)
    const task = row === undefined ? undefined : this.tasks.get(row.task)
    if (row === undefined || task === undefined) return null
    const agent = this.agent(row.agent)
    const session = this.queue.sessions.get(row.session)
    const lease = session?.lease?.row === id ? session.lease : null
    const generation = lease?.generation ?? session?.generation ?? 1
    const { orchestrator } = this
    const fold = [row, ...this.queue.foldOf(row).filter(({ state }) => state === "folded")]
      .toSorted((left, right) => left.seq - right.seq)
      .map((each) => {
        const message = this.messages.find((candidate) => candidate.id === each.message)
        return {
          id: each.id,
          type: each.type,
          createdAt: each.createdAt,
          message: message === undefined ? null : this.messageView(message),
          actor: this.actor(each.actor),
          previousStatus: (each.statuses?.[0] ?? null) as TaskStatus | null,
          newStatus: (each.statuses?.[1] ?? null) as TaskStatus | null,
          request: each.request
        }
      })
    return {
      notification: {
        id,
        type: row.type,
        createdAt: row.createdAt,
        hops: row.hops,
        isRequired: row.isRequired,
        lane: row.lane
      },
      fold,
      account: { id: ACCOUNT, name: "Acme" },
      agent: this.view(agent),
      sessionKey: sessionKey({
        slug: agent.slug,
        accountId: ACCOUNT,
        ...(this.scope === "task" ? { taskId: task.id } : {}),
        generation
      }),
      generation,
      task: this.taskView(task),
      recipientIsAssignee: task.assignees.includes(agent.id),
      thread: this.messages
        .filter((message) => message.task === task.id)
        .slice(-10)
        .map((message) => this.messageView(message)),
      orchestrator: orchestrator === undefined ? null : this.ref(orchestrator.id),
      primaryPerson: { name: "Pat Person" },
      mentionableAgents: this.agents
        .filter((each) => each.id !== agent.id)
        .map((each) => ({ slug: each.slug, name: each.name, role: each.name })),
      repositoryDocument: null,
      documents: [],
      briefing: task.isChat ? "We build a rocket." : null,
      taskOverview: task.isChat ? [] : null,
      earlier: {
        attempts: Math.max(0, row.claims - (lease === null ? 0 : 1)),
        lastError: row.error,
        effects: this.effectsOf(id)
      },
      failures: row.failures,
      silences: row.silences,
      sharedSince: row.sharedSince
    }
  }

  /** What the runtime's status is to the account at this moment. */
  statusOf(runtimeId: string, now: number): string {
    const row = this.runtimes.get(runtimeId)
    if (row === undefined) return "offline"
    return now - row.lastPulseAt > Math.max(90_000, 2.5 * row.intervalMs) ? "offline" : row.status
  }

  // The functions a runtime calls.

  private effectsOf(run: string) {
    return this.queue.history.flatMap((event) =>
      event.kind === "effect" && event.row === run ? [{ tool: event.tool, summary: event.tool, at: event.at }] : []
    )
  }

  private claimBeat(request: BeatRequest): object {
    const agent = this.agent(request.agentId)
    if (agent.isRemoved === true) {
      this.beatsOfRemoved += 1
      throw new Refusal("not_found")
    }
    const isApart = this.queue.mistakes.has("heartbeats with a lease of their own")
    const session = this.queue.sessionFor(isApart ? `beats_${agent.id}` : `session_${agent.id}`, agent.id)
    const answer = this.queue.claimBeat(this.now, request, session, agent.heartbeat)
    if (!("heartbeatId" in answer)) return { ...answer, now: this.now }
    const beat = this.queue.beats.get(agent.id)
    const { orchestrator } = this
    const under = (task: Task): boolean =>
      agent.isOrchestrator
        ? ["in_progress", "review", "assigned", "blocked"].includes(task.status)
        : task.assignees.includes(agent.id) && ["in_progress", "assigned"].includes(task.status)
    const context: BeatContext = {
      heartbeat: { id: answer.heartbeatId, dueAt: beat?.dueAt ?? 0, schedule: agent.heartbeat, lastHeartbeatAt: null },
      account: { id: ACCOUNT, name: "Acme" },
      agent: this.view(agent),
      sessionKey: sessionKey({
        slug: agent.slug,
        accountId: ACCOUNT,
        generation: session.lease?.generation ?? session.generation
      }),
      generation: session.lease?.generation ?? session.generation,
      tasks: [...this.tasks.values()]
        .filter((task) => !task.isChat && under(task))
        .slice(0, 12)
        .map((task) => ({ task: this.taskView(task), lastMessageAt: null, lastAssigneeAt: null })),
      orchestrator: orchestrator === undefined ? null : this.ref(orchestrator.id),
      primaryPerson: { name: "Pat Person" },
      mentionableAgents: [],
      briefing: null,
      earlier: { attempts: Math.max(0, (beat?.tries ?? 1) - 1), effects: this.effectsOf(answer.heartbeatId) },
      failures: beat?.failures ?? 0,
      isUnchanged: false
    }
    return { claimed: { ...answer, context }, now: this.now }
  }

  private finishBeat(
    args: Fence & {
      nextDueAt?: number
      message?: { taskId: string; content: string; truncated?: boolean }
      maxHops: number
    }
  ): object {
    const answer = this.queue.finishBeat(this.now, args, (run) => {
      const { message } = args
      if (message === undefined || message.content.trim() === "") return null
      const task = this.task(message.taskId)
      this.mustActOn(run, task)
      const isTruncated = message.truncated === true
      const said = { content: message.content, isTruncated, run: run.id, epoch: args.epoch, answersType: null }
      const author: Cause = { type: "agent", id: run.agent }
      return this.post(task, author, { kind: "message", ...said }, BEAT_HOPS + 1, args.maxHops, BEAT_HOPS + 1)
    })
    return { ...answer, now: this.now }
  }

  private mustActOn(run: Run, task: Task): void {
    const isOwn =
      this.agent(run.agent).isOrchestrator ||
      run.row?.task === task.id ||
      task.createdInRun === run.id ||
      (run.isBeat && task.assignees.includes(run.agent))
    if (!isOwn) throw new Refusal("forbidden")
  }

  private tool<A extends object>(
    args: Fence & { maxHops: number },
    tool: string,
    creation: unknown,
    act: (
      run: Pick<Row, "id" | "agent" | "hops"> & { readonly task: string | null; readonly of: Run },
      actor: Cause,
      depth: number
    ) => A
  ): object {
    return this.queue.effect(this.now, args, tool, creation === null ? null : JSON.stringify(creation), (run) => {
      const { agent, id, row } = run
      const hops = row?.hops ?? BEAT_HOPS
      const depth = row === null ? BEAT_HOPS : this.depthOf(row)
      return act({ id, agent, hops, task: row?.task ?? null, of: run }, { type: "agent", id: agent }, depth + 1)
    })
  }

  private setStatusInRun(args: Fence & { taskId: string; status: TaskStatus; maxHops: number }): object {
    const task = this.task(args.taskId)
    return this.tool(args, "task_status", null, (row, actor, depth) => {
      const agent = { ...this.agent(row.agent), flags: this.flags(this.agent(row.agent)) }
      this.mustActOn(row.of, task)
      const previousStatus = task.status
      const answer = { taskId: task.id, previousStatus, path: [] as ReadonlyArray<TaskStatus> }
      if (previousStatus === args.status) return { ...answer, status: previousStatus, changed: false }
      if (args.status === "done" && previousStatus === "review" && !canAgentMarkDone(agent, previousStatus)) {
        throw new Refusal("forbidden")
      }
      if (!nextStatusesFor(agent, previousStatus, task.assignees.length).includes(args.status)) {
        throw new Refusal("invalid")
      }
      const path = pathTo(previousStatus, args.status, { assigneeCount: task.assignees.length }) ?? []
      this.move(task, args.status, actor, row.hops + 1, args.maxHops, depth)
      return { ...answer, status: task.status, changed: true, path }
    })
  }

  private readonly functions: Readonly<Record<string, (args: any) => object>> = {
    "service/notifications:backlog": () => this.queue.backlog(),
    "service/notifications:claim": (args) => ({ ...this.queue.claim(this.now, args), now: this.now }),
    "service/notifications:context": ({
      epochs,
      ids
    }: {
      ids: ReadonlyArray<string>
      epochs?: ReadonlyArray<number>
    }) =>
      ids.map((id, index) => {
        const row = this.queue.rows.get(id)
        const context = this.contextOf(id)
        const lease = this.queue.sessions.get(row?.session ?? "")?.lease ?? null
        if (row === undefined || context === null) return { id, broken: "notification_missing" }
        const epoch = epochs?.[index]
        if (epoch !== undefined && (lease?.row !== id || lease.epoch !== epoch)) return { id, broken: "lease_lost" }
        const attempt = `${id} ${lease?.epoch ?? 0}`
        const code = this.agent(row.agent).isRemoved === true ? "agent_missing" : this.damaged.get(id)
        if (code !== undefined) {
          this.broken.set(attempt, code)
          return code === "misshapen" ? { id, context: { ...context, fold: "gone" } } : { id, broken: code }
        }
        this.contexts.set(attempt, context)
        return { id, context }
      }),
    "service/notifications:renew": (args) => ({ ...this.queue.renew(this.now, args), now: this.now }),
    "service/notifications:release": (args) => ({ ...this.queue.release(this.now, args), now: this.now }),
    "service/notifications:complete": (args) => {
      this.isTruncated = args.truncated === true
      return { ...this.queue.complete(this.now, args), now: this.now }
    },
    "service/notifications:fail": (args) => ({ ...this.queue.fail(this.now, args), now: this.now }),
    "service/sessions:claimBeat": (args) => this.claimBeat(args),
    "service/agents:updateAgentHeartbeat": (args) => this.finishBeat(args),
    "service/agents:list": () => ({
      revision: this.rosterRevision,
      agents: this.agents.map((agent) => ({
        ...this.ref(agent.id),
        role: agent.name,
        isOrchestrator: agent.isOrchestrator,
        flags: this.flags(agent),
        heartbeat: agent.heartbeat,
        model: null
      }))
    }),
    "service/runtimes:commands": () => ({ paused: this.queue.isPaused, restart: null, upgrade: null, underway: null }),
    "service/runtimes:pulse": (args) => {
      const releasedLeases = this.queue.boot(this.now, args.runtimeId, args.bootId)
      this.runtimes.set(args.runtimeId, {
        bootId: args.bootId,
        status: args.status,
        lastPulseAt: this.now,
        intervalMs: args.intervalMs,
        health: `${args.health} ${args.reasons.join(" ")}`
      })
      return {
        commands: { paused: this.queue.isPaused, restart: null, upgrade: null, underway: null },
        oldest: this.queue.backlog().oldest,
        nextDueAt: this.queue.pulseDueAt(this.now, args.runtimeId),
        rosterRevision: this.rosterRevision,
        now: this.now,
        releasedLeases
      }
    },
    "service/tasks:load": ({ taskId }: { taskId: string }) => ({
      task: this.taskView(this.task(taskId)),
      thread: this.messages.filter((message) => message.task === taskId).map((message) => this.messageView(message))
    }),
    "service/tasks:setStatus": (args) => this.setStatusInRun(args),
    "service/tasks:assign": ({ epoch, maxHops, session, ...args }) =>
      this.tool({ epoch, maxHops, session }, "task_assign", null, (row, actor, depth) => {
        if (!this.agent(row.agent).isOrchestrator) throw new Refusal("forbidden")
        const slugs: ReadonlyArray<string> = args.assigneeSlugs
        const task = this.task(args.taskId)
        const wanted = slugs.map((slug) => {
          const agent = this.agents.find((each) => each.slug === slug)
          if (agent === undefined) throw new Refusal("not_found")
          return agent.id
        })
        this.reassign(task, [...new Set(wanted)], actor, row.hops + 1, maxHops, depth)
        return { taskId: task.id, status: task.status, assigneeSlugs: slugs }
      }),
    "service/tasks:create": ({ epoch, maxHops, session, ...args }) =>
      this.tool({ epoch, maxHops, session }, "task_create", args, (row, actor, depth) => {
        const task = this.makeTask(actor, [], row.hops + 1, maxHops, depth, row.id)
        return { taskId: task.id, status: task.status }
      }),
    "service/documents:upsert": ({ epoch, maxHops, session, ...args }) =>
      this.tool({ epoch, maxHops, session }, "document_upsert", args, (row) => {
        const id = `d${this.documents.length + 1}`
        this.documents.push({ id, run: row.id, title: args.title })
        return { documentId: id, taskId: args.taskId ?? null }
      }),
    "service/messages:post": ({ epoch, maxHops, session, ...args }) =>
      this.tool({ epoch, maxHops, session }, "task_message", args, (row, actor, depth) => {
        if (!this.agent(row.agent).isOrchestrator) throw new Refusal("forbidden")
        const written = { kind: "message", content: args.content, run: row.id, epoch, answersType: null } as const
        return { messageId: this.post(this.task(args.taskId), actor, written, row.hops + 1, maxHops, depth) }
      }),
    "service/responseRequests:create": ({ epoch, maxHops, session, ...args }) =>
      this.tool({ epoch, maxHops, session }, "response_request", args, (row, actor, depth) => {
        const slugs = new Set<string>(args.recipientSlugs)
        const id: string | null = args.taskId ?? row.task
        if (id === null) throw new Refusal("invalid")
        const task = this.task(id)
        this.mustActOn(row.of, task)
        const isAsked = (agent: Agent) =>
          [...this.queue.rows.values()].some(
            (each) =>
              each.type === "response_request" &&
              each.agent === agent.id &&
              each.task === task.id &&
              each.actor.id === row.agent &&
              each.createdAt >= this.now - ASK_AGAIN_AFTER &&
              each.state !== "discarded" &&
              each.outcome !== "replied" &&
              each.outcome !== "acted"
          )
        const mayBeAsked = (agent: Agent) => agent.id !== row.agent && (!task.isChat || agent.isOrchestrator)
        const asked = [...slugs].flatMap((slug) =>
          this.agents.filter((agent) => agent.slug === slug && mayBeAsked(agent) && !isAsked(agent))
        )
        const cause = { type: "response_request", request: String(args.message) } as const
        const ids = asked.map((agent) => agent.id)
        const made = this.notify(ids, task, actor, row.hops + 1, maxHops, depth, cause)
        return {
          asked: asked.flatMap(({ slug }, index) => {
            const notificationId = made[index]
            return notificationId === undefined ? [] : [{ slug, notificationId }]
          }),
          skipped: [...slugs]
            .filter((slug) => made.length === 0 || !asked.some((agent) => agent.slug === slug))
            .map((slug) => ({ slug, reason: "not asked" }))
        }
      })
  }

  /** Runs a function as one transaction at this moment; throws a Refusal. */
  call(now: number, path: string, args: object): object {
    this.now = now
    this.counts.set(path, (this.counts.get(path) ?? 0) + 1)
    if (this.isTokenRevoked) throw new Refusal("unauthenticated")
    const run = this.functions[path]
    if (run === undefined) throw new Refusal("not_found")
    return run(args)
  }
}
