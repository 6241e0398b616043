/** The account around the queue: agents, tasks, threads, who hears of what, presence; and the functions by their path. */
import { defaultAgentFlags } from "../../src/domain/AgentFlags.ts"
import type { Actor, DeliveryContext, MessageView } from "../../src/domain/DeliveryContext.ts"
import type { BeatContext } from "../../src/domain/Heartbeat.ts"
import { sessionKey } from "../../src/domain/SessionKey.ts"
import { canAgentMarkDone, nextStatusesFor, pathTo } from "../../src/domain/TaskStatus.ts"
import type { TaskStatus } from "../../src/domain/TaskStatus.ts"
import { QueueModel, Refusal } from "./queueModel.ts"
import type { BeatRequest, Cause, Fence, Mistake, NotificationType, Row, Run } from "./queueModel.ts"

export const ACCOUNT = "testaccount1"

export interface Agent {
  readonly id: string
  readonly slug: string
  readonly name: string
  readonly isOrchestrator: boolean
  readonly canReview: boolean
  /** Minutes between its heartbeats. */
  heartbeat: number
}

export interface Task {
  readonly id: string
  readonly title: string
  status: TaskStatus
  assignees: Array<string>
  readonly subscribers: Set<string>
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
}

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

const person: Cause = { type: "person", id: "person" }

/** One account of the control plane, in memory. */
export class AccountModel {
  readonly agents: ReadonlyArray<Agent>
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
  isTokenRevoked = false
  rosterRevision = 1
  private readonly scope: "agent" | "task"
  private now = 0

  constructor(options: {
    readonly agents: ReadonlyArray<Agent>
    readonly scope: "agent" | "task"
    readonly mistakes?: ReadonlySet<Mistake>
  }) {
    this.agents = options.agents
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
              answersType: row.type
            },
            row.hops + 1,
            maxHops,
            this.depthOf(row) + 1
          ),
        // Spread over two minutes, as the control plane spreads them by a digest of the id.
        firstBeatAt: (agent, minutes, now) =>
          now +
          Math.floor(
            (Math.min(0.4 * minutes * 60_000, 120_000) * (this.agents.findIndex(({ id }) => id === agent) + 1)) / 7
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

  agent(id: string): Agent {
    const agent = this.agents.find((each) => each.id === id)
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
  ): void {
    if (hops > maxHops && !this.queue.mistakes.has("hops without a limit")) return
    for (const agent of agents) {
      const session = this.scope === "task" ? `session_${agent}_${task.id}` : `session_${agent}`
      this.queue.sessionFor(session, agent)
      const id = `n${this.queue.rows.size + 1}`
      this.depths.set(id, depth)
      this.queue.enqueue(this.now, { id, session, agent, task: task.id, actor, hops, ...cause })
    }
  }

  private post(
    task: Task,
    author: Cause,
    message: Pick<Message, "kind" | "content" | "run" | "epoch" | "answersType">,
    hops: number,
    maxHops: number,
    depth: number
  ): string {
    const id = `m${this.messages.length + 1}`
    this.messages.push({ id, task: task.id, author, at: this.now, ...message })
    const isQuiet = message.kind === "fallback" || message.kind === "note"
    const others = this.agents.filter((agent) => agent.id !== author.id)
    const mentioned = isQuiet ? [] : others.filter(({ slug }) => message.content.includes(`@${slug}`))
    if (author.type === "agent") task.subscribers.add(author.id)
    for (const agent of mentioned) task.subscribers.add(agent.id)
    const orchestrator = this.agents.find(({ isOrchestrator }) => isOrchestrator)
    if (author.type === "agent" && !isQuiet && orchestrator !== undefined) task.subscribers.add(orchestrator.id)
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
    const listeners = isHeard ? others.filter((agent) => task.subscribers.has(agent.id)) : []
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
    const recipients = this.agents.filter(
      (agent) =>
        agent.id !== actor.id &&
        (task.assignees.includes(agent.id) ||
          (to === "review" && (agent.isOrchestrator || (agent.canReview && task.subscribers.has(agent.id)))))
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

  createTask(now: number, assignees: ReadonlyArray<string>): string {
    this.now = now
    return this.makeTask(person, assignees, 0, 12, 0, null).id
  }

  private makeTask(
    actor: Cause,
    assignees: ReadonlyArray<string>,
    hops: number,
    maxHops: number,
    depth: number,
    run: string | null
  ): Task {
    const id = `t${this.tasks.size + 1}`
    const orchestrator = this.agents.find(({ isOrchestrator }) => isOrchestrator)
    const task: Task = {
      id,
      title: `Task ${id}`,
      status: assignees.length > 0 ? "assigned" : "inbox",
      assignees: [...assignees],
      subscribers: new Set([...assignees, ...(orchestrator === undefined ? [] : [orchestrator.id])]),
      createdInRun: run
    }
    this.tasks.set(id, task)
    this.notify(assignees, task, actor, hops, maxHops, depth, { type: "assignment" })
    return task
  }

  write(now: number, task: string, content: string): void {
    this.now = now
    this.post(
      this.task(task),
      person,
      { kind: "message", content, run: null, epoch: null, answersType: null },
      0,
      12,
      0
    )
  }

  setStatus(now: number, id: string, to: TaskStatus): void {
    this.now = now
    const task = this.task(id)
    const path = pathTo(task.status, to, { isPerson: true, assigneeCount: task.assignees.length })
    if (path !== null && path.length > 0) this.move(task, to, person, 0, 12, 0)
  }

  reschedule(id: string, minutes: number): void {
    this.agent(id).heartbeat = minutes
    this.rosterRevision += 1
  }

  archive(now: number, id: string): void {
    this.now = now
    this.task(id).status = "archived"
    this.queue.skipTask(now, id)
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
      isOrchestratorChat: false,
      createdBy: this.actor(person),
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
    const orchestrator = this.agents.find(({ isOrchestrator }) => isOrchestrator)
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
      briefing: null,
      taskOverview: null,
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
    const isApart = this.queue.mistakes.has("heartbeats with a lease of their own")
    const session = this.queue.sessionFor(isApart ? `beats_${agent.id}` : `session_${agent.id}`, agent.id)
    const answer = this.queue.claimBeat(this.now, request, session, agent.heartbeat)
    if (!("heartbeatId" in answer)) return { ...answer, now: this.now }
    const beat = this.queue.beats.get(agent.id)
    const orchestrator = this.agents.find(({ isOrchestrator }) => isOrchestrator)
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
        .filter(under)
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

  private finishBeat(args: Fence & { message?: { taskId: string; content: string }; maxHops: number }): object {
    const answer = this.queue.finishBeat(this.now, args, (run) => {
      const { message } = args
      if (message === undefined || message.content.trim() === "") return null
      const task = this.task(message.taskId)
      this.mustActOn(run, task)
      const said = { content: message.content, run: run.id, epoch: args.epoch, answersType: null }
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
        const context = this.contextOf(id)
        const session = this.queue.sessions.get(this.queue.rows.get(id)?.session ?? "")
        if (context === null) return { id, broken: "notification_missing" }
        const epoch = epochs?.[index]
        if (epoch !== undefined && (session?.lease?.row !== id || session.lease.epoch !== epoch)) {
          return { id, broken: "lease_lost" }
        }
        this.contexts.set(`${id} ${session?.lease?.epoch ?? 0}`, context)
        return { id, context }
      }),
    "service/notifications:renew": (args) => ({ ...this.queue.renew(this.now, args), now: this.now }),
    "service/notifications:release": (args) => ({ ...this.queue.release(this.now, args), now: this.now }),
    "service/notifications:complete": (args) => ({ ...this.queue.complete(this.now, args), now: this.now }),
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
        const slugs: ReadonlyArray<string> = args.recipientSlugs
        const asked = this.agents.filter(({ id, slug }) => slugs.includes(slug) && id !== row.agent)
        const cause = { type: "response_request", request: String(args.message) } as const
        const ids = asked.map(({ id }) => id)
        const task: string | null = args.taskId ?? row.task
        if (task === null) throw new Refusal("invalid")
        this.notify(ids, this.task(task), actor, row.hops + 1, maxHops, depth, cause)
        return { asked: asked.map(({ id, slug }) => ({ slug, notificationId: id })), skipped: [] }
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
