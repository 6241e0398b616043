/** Which agents are notified of what people and agents do, and what that does to tasks. */
import { parseMentions } from "../../src/domain/shared/Mention.ts"
import { needsAssignee, pathTo } from "../../src/domain/shared/TaskStatus.ts"
import type { TaskStatus } from "../../src/domain/shared/TaskStatus.ts"
import { AccountState } from "./accountState.ts"
import type { AccountOptions, Agent, Message, Origin, Question, Task } from "./accountState.ts"
import { acceptedOf, Refusal, typeOf } from "./queueState.ts"
import type { Cause as Actor, Event, Notification, Surroundings } from "./queueState.ts"

type Cause = Pick<Event, "type"> & Partial<Pick<Event, "message" | "statuses" | "request" | "answers">>

/** The account's tasks and threads, and the events that they cause. */
export class FanOutModel extends AccountState {
  /** The reply that is being stored was cut by the model's limit. */
  protected isTruncated = false

  constructor(options: AccountOptions) {
    super(options)
    for (const { heartbeat, id } of options.agents) this.schedule(id, heartbeat)
  }

  protected surroundings({ firstHeartbeatAt }: AccountOptions): Surroundings {
    return {
      hasTask: (task) => this.tasks.has(task),
      isOpen: (task) => this.tasks.has(task) && this.task(task).status !== "archived",
      noteStop: (row, actor) => {
        const note = {
          kind: "note",
          content: `the turn of ${row.agent} was stopped`,
          epoch: null,
          answersType: null
        } as const
        this.post(this.task(row.task), note, { ...this.person, actor, run: row.id })
      },
      post: (row, epoch, { content, kind }, settings) => {
        const isTruncated = kind === "reply" && this.isTruncated
        const answersType = typeOf(acceptedOf(row.events))
        const text = content ?? `${row.agent} did not answer`
        const message = { kind, content: text, epoch, answersType, isTruncated }
        return this.post(this.task(row.task), message, this.originOf(row, settings))
      },
      turnBegins: (row, maxTurns) => this.beginTurn(row, maxTurns),
      beginWork: (row, settings) => {
        const task = this.task(row.task)
        const isDecided = this.keepsDecision(task, "status", row.id)
        const isBegun = task.status === "assigned" && task.assignees.includes(row.agent) && !isDecided
        if (!isBegun) return
        this.move(task, "in_progress", this.originOf(row, settings))
        this.noteBegun(row.id, task)
      },
      // Spread over two minutes, as the control plane spreads them by a digest of the id.
      firstHeartbeatAt: (agent, minutes, now) => {
        if (firstHeartbeatAt !== undefined) return firstHeartbeatAt(agent)
        const place = this.everyone.findIndex(({ id }) => id === agent) + 1
        return now + Math.floor((Math.min(0.4 * minutes * 60_000, 120_000) * place) / 7)
      }
    }
  }

  /** The end of a run has moved its task to in_progress. */
  protected noteBegun(_run: string, _task: Task): void {}

  private schedule(id: string, heartbeat: number | string): void {
    const { id: session } = this.queue.sessionFor(`heartbeats_${id}`, id)
    this.queue.schedule(this.now, id, session, heartbeat)
  }

  /** Notifies the agents of one event; beyond the hop limit none. Answers the notifications in their order. */
  protected notify(agents: ReadonlyArray<Agent>, task: Task, origin: Origin, cause: Cause): ReadonlyArray<string> {
    const { actor, chain, depth, hops, settings } = origin
    const isClosed = task.isAtTurnLimit && actor.type === "agent"
    if (isClosed && !this.queue.mistakes.has("agents' events beyond the limit of turns")) return []
    if (hops > settings.maxHops && !this.queue.mistakes.has("hops without a limit")) return []
    return agents.map(({ id: agent }) => {
      const session = this.scope === "task" ? `session_${agent}_${task.id}` : `session_${agent}`
      this.queue.sessionFor(session, agent)
      const made = this.queue.nextId
      const event = { actor, hops, chain, message: null, statuses: null, request: null, answers: null, ...cause }
      const { id } = this.queue.insert(this.now, { session, agent, task: task.id }, event, settings)
      this.depths.set(id, [...(this.depths.get(id) ?? []), depth])
      if (id === made && this.damageNext !== null) {
        this.damaged.set(id, this.damageNext)
        this.damageNext = null
      }
      return id
    })
  }

  /** Counts a turn; the last one closes the task to agents until a person acts on it, and a note says so. */
  private beginTurn(row: Notification, maxTurns: number): void {
    const task = this.tasks.get(row.task)
    if (task === undefined) return
    task.turns += 1
    const { mistakes } = this.queue
    if (task.turns < maxTurns || task.isAtTurnLimit || mistakes.has("turns without a limit")) return
    task.isAtTurnLimit = true
    this.queue.skipAgentsOwn(this.now, task.id)
    if (mistakes.has("a limit that no one is told of")) return
    const note = { kind: "note", content: "the limit of turns", epoch: null, answersType: null } as const
    this.post(task, note, { ...this.person, actor: { type: "system", id: "system" } })
  }

  protected forgetTurns(task: Task): void {
    Object.assign(task, { turns: 0, isAtTurnLimit: false })
  }

  /** Answers the person's open questions on the task: those of the mentioned agents, or all if none of them asked. */
  private answerQuestions(task: Task, mentioned: ReadonlyArray<Agent>): ReadonlyArray<Question> {
    const open = this.questions.filter(({ state, task: of }) => state === "open" && of === task.id)
    const addressed = open.filter(({ asker }) => mentioned.some(({ id }) => id === asker))
    const answered = addressed.length > 0 ? addressed : open
    if (!this.queue.mistakes.has("a question answered twice")) for (const each of answered) each.state = "answered"
    return this.queue.mistakes.has("an answer that only subscribers hear") ? [] : answered
  }

  protected endQuestions(isOver: (question: Question) => boolean): void {
    for (const question of this.questions) {
      if (question.state === "open" && isOver(question)) question.state = "ended"
    }
  }

  private isSubscribed(task: Task, agent: string): boolean {
    return task.participants.has(agent) || task.assignees.includes(agent)
  }

  protected post(
    task: Task,
    message: Pick<Message, "kind" | "content" | "epoch" | "answersType"> & { readonly isTruncated?: boolean },
    origin: Origin
  ): string {
    const { actor: author, run } = origin
    const forgives = this.queue.mistakes.has("turns that every message forgives")
    if (author.type === "person") this.noteAct(task)
    if (author.type === "person" || forgives) this.forgetTurns(task)
    const id = `m${this.messages.length + 1}`
    this.messages.push({ id, task: task.id, author, at: this.now, run, isTruncated: false, ...message })
    const { orchestrator } = this
    const byAgent = author.type === "agent"
    // Fallbacks and notes notify no agent.
    const isQuiet = message.kind === "fallback" || message.kind === "note"
    const others = isQuiet ? [] : this.agents.filter((agent) => agent.id !== author.id)
    // In the orchestrator's chat people can mention only it, and agents no one; a removed agent mentions no one.
    const mayMention = !byAgent || this.agents.some((agent) => agent.id === author.id)
    const { all, names, slugs } = parseMentions(message.content)
    const mentioned = (mayMention ? others : [])
      .filter(({ name, slug }) => all || slugs.includes(slug) || names.includes(name.toLowerCase()))
      .filter(({ isOrchestrator }) => !task.isChat || (!byAgent && isOrchestrator))
    const answered = author.type === "person" && !isQuiet ? this.answerQuestions(task, mentioned) : []
    const askers = answered.flatMap(({ asker, text }) => ({ agent: this.agent(asker), text }))
    if (byAgent) task.participants.add(author.id)
    for (const agent of [...mentioned, ...askers.map((each) => each.agent)]) task.participants.add(agent.id)
    if (byAgent && !isQuiet && orchestrator !== undefined) task.participants.add(orchestrator.id)
    const notAsking = mentioned.filter((agent) => !askers.some((asker) => asker.agent === agent))
    this.notify(notAsking, task, origin, { type: "mention", message: id })
    for (const { agent, text } of askers) {
      this.notify([agent], task, origin, { type: "mention", message: id, answers: text })
    }
    const isHeard =
      mentioned.length === 0 &&
      askers.length === 0 &&
      task.status !== "done" &&
      task.status !== "archived" &&
      (task.status !== "blocked" || author.type === "person" || author.id === orchestrator?.id)
    const hears = (agent: Agent) => (task.isChat ? agent.isOrchestrator : this.isSubscribed(task, agent.id))
    this.notify(isHeard ? others.filter(hears) : [], task, origin, { type: "thread_update", message: id })
    return id
  }

  /** Whether a turn leaves this as it is, because a person decided it after the claim. */
  protected keepsDecision(task: Task, field: "status" | "assignees", run: string, askedAt?: number): boolean {
    return !this.queue.mistakes.has("an old turn's change over a person's") && this.isDecided(task, field, run, askedAt)
  }

  protected move(task: Task, to: TaskStatus, origin: Origin): void {
    const from = task.status
    task.status = to
    if (to === "done" || to === "archived") this.endQuestions((question) => question.task === task.id)
    if (origin.actor.type === "person") this.forgetTurns(task)
    this.noteDecision(task, "status", origin)
    if (to === "inbox") {
      if (task.assignees.length > 0) this.noteDecision(task, "assignees", origin)
      task.assignees = []
    }
    const reviews = (agent: Agent) => agent.isOrchestrator || (agent.canReview && this.isSubscribed(task, agent.id))
    const isConcerned = (agent: Agent) => task.assignees.includes(agent.id) || (to === "review" && reviews(agent))
    const concerned = this.agents.filter((agent) => agent.id !== origin.actor.id && isConcerned(agent))
    this.notify(concerned, task, origin, { type: "status_change", statuses: [from, to] })
  }

  protected makeTask(assignees: ReadonlyArray<string>, origin: Origin, isChat = false): Task {
    const id = this.nextTaskId(this.tasks.size + 1)
    const { orchestrator } = this
    const task: Task = {
      id,
      title: `Task ${id}`,
      isChat,
      status: "inbox",
      assignees: [],
      decided: {},
      participants: new Set(orchestrator === undefined ? [] : [orchestrator.id]),
      createdInRun: origin.run,
      turns: 0,
      isAtTurnLimit: false
    }
    this.tasks.set(id, task)
    this.reassign(task, assignees, origin)
    return task
  }

  /** Makes these the only assignees and notifies the new ones. */
  protected reassign(task: Task, assignees: ReadonlyArray<string>, origin: Origin): void {
    const added = this.everyone.filter(({ id }) => assignees.includes(id) && !task.assignees.includes(id))
    if (added.length === 0 && task.assignees.every((id) => assignees.includes(id))) return
    const isEmpty = assignees.length === 0
    if (task.status === "archived") throw new Refusal("invalid")
    if (isEmpty && needsAssignee(task.status) && task.status !== "assigned") throw new Refusal("invalid")
    const { status } = task
    if (status === "inbox") task.status = "assigned"
    else if (status === "assigned" && isEmpty) task.status = "inbox"
    if (origin.actor.type === "person") this.forgetTurns(task)
    if (task.status !== status) this.noteDecision(task, "status", origin)
    this.noteDecision(task, "assignees", origin)
    task.assignees = [...assignees]
    const { orchestrator } = this
    if (added.length > 0 && orchestrator !== undefined) task.participants.add(orchestrator.id)
    const inOrder = assignees.flatMap((id) => added.filter((agent) => agent.id === id))
    this.notify(inOrder, task, origin, { type: "assignment" })
  }

  // What people do, each in one transaction.

  protected act<A>(now: number, deed: () => A): A {
    this.now = now
    return this.queue.transact(now, deed)
  }

  createTask(now: number, assignees: ReadonlyArray<string>, isChat = false): string {
    return this.act(now, () => this.makeTask(assignees, this.person, isChat).id)
  }

  assign(now: number, id: string, assignees: ReadonlyArray<string>): void {
    this.act(now, () => this.reassign(this.task(id), assignees, this.person))
  }

  write(now: number, task: string, content: string): void {
    const message = { kind: "message", content, epoch: null, answersType: null } as const
    this.act(now, () => this.post(this.task(task), message, this.person))
  }

  setStatus(now: number, id: string, to: TaskStatus): void {
    const task = this.task(id)
    const path = pathTo(task.status, to, { isPerson: true, assigneeCount: task.assignees.length })
    if (path === null || path.length === 0) return
    this.act(now, () => {
      if (to === "done" || to === "archived") this.queue.stopAll(now, this.person.actor, { task: id })
      this.move(task, to, this.person)
    })
  }

  archive(now: number, id: string): void {
    this.act(now, () => {
      this.task(id).status = "archived"
      this.forgetTurns(this.task(id))
      this.noteDecision(this.task(id), "status", this.person)
      this.endQuestions(({ task }) => task === id)
      this.queue.stopAll(now, this.person.actor, { task: id })
    })
  }

  /** Adds an agent to the roster. */
  hire(now: number, agent: Agent): void {
    this.act(now, () => {
      this.everyone.push(agent)
      this.rosterRevision += 1
      this.schedule(agent.id, agent.heartbeat)
    })
  }

  /** Changes an agent's schedule. */
  reschedule(now: number, id: string, heartbeat: number | string): void {
    this.act(now, () => {
      this.agent(id).heartbeat = heartbeat
      this.rosterRevision += 1
      this.schedule(id, heartbeat)
    })
  }

  /** Takes an agent off the roster: its runs are stopped, its tasks lose it. */
  remove(now: number, id: string): void {
    this.act(now, () => {
      Object.assign(this.agent(id), { isRemoved: true, isOrchestrator: false })
      this.queue.heartbeats.delete(id)
      this.queue.paused.delete(id)
      this.queue.stopAll(now, this.person.actor, { agent: id })
      this.endQuestions(({ asker }) => asker === id)
      for (const task of this.tasks.values()) {
        if (!task.assignees.includes(id) || task.status === "done" || task.status === "archived") continue
        const others = task.assignees.filter((each) => each !== id)
        if (this.isStuck(task, others)) this.move(task, "blocked", this.person)
        this.reassign(task, others, this.person)
      }
      this.rosterRevision += 1
    })
  }

  /** A person stops a run, or all runs of an agent or a task. */
  stop(now: number, by: Actor, of: { readonly run?: string; readonly agent?: string; readonly task?: string }) {
    return this.act(now, () => {
      const { run, ...all } = of
      if (run !== undefined) {
        const answer = this.queue.stopRun(now, by, run)
        if (answer.stopped > 0) this.endQuestions((question) => question.run === run)
        return answer
      }
      this.endQuestions(({ asker, task }) => asker === all.agent || task === all.task)
      return { stopped: this.queue.stopAll(now, by, all), outcome: null }
    })
  }

  /** An operator gives an agent's sessions a new generation, from their next claim. */
  rotate(now: number, id: string): void {
    for (const session of this.queue.rotate(id)) {
      this.rotations.set(session.id, { at: now, least: session.nextGeneration ?? 0 })
    }
  }
}
