import type { RunSettings } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { Actor, DeliveryContext, MessageView } from "../../src/domain/delivery/DeliveryContext.ts"
/** The account around the queue: its agents, tasks and messages, and how the control plane shows them. */
import { defaultAgentFlags } from "../../src/domain/shared/AgentFlags.ts"
import { needsAssignee } from "../../src/domain/shared/TaskStatus.ts"
import type { TaskStatus } from "../../src/domain/shared/TaskStatus.ts"
import { QueueModel } from "./queueModel.ts"
import { chainOf, Refusal, unlimited } from "./queueState.ts"
import type { Cause, Mistake, Notification, NotificationType, Surroundings } from "./queueState.ts"

export const ACCOUNT = "testaccount1"

export interface Agent {
  readonly id: string
  readonly slug: string
  name: string
  isOrchestrator: boolean
  canReview: boolean
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
  /** When a person set its present status and assignees; absent if an agent did. */
  readonly decided: { status?: number; assignees?: number }
  /** Participants stay subscribed; assignees are subscribed while they are assigned. */
  readonly participants: Set<string>
  readonly createdInRun: string | null
  /** Turns of agents on it since a person last acted on it, and whether they are used up. */
  turns: number
  isAtTurnLimit: boolean
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

/** A question of an agent to the person. */
export interface Question {
  readonly id: string
  readonly asker: string
  readonly task: string
  readonly run: string
  readonly text: string
  readonly at: number
  /** Open until the person's next message on the task, or until its task, agent or run ends. */
  state: "open" | "answered" | "ended"
}

/** What is wrong with the context of a notification. */
export const damages = ["damaged", "misshapen", "message_missing"] as const
export type Damage = (typeof damages)[number]

/** The presence of a runtime. */
export interface Presence {
  readonly bootId: string
  readonly status: string
  readonly lastPulseAt: number
  readonly intervalMs: number
  readonly health: string
}

/** Who caused a change, how far down a chain of agents' turns it is, and the run it was made in. */
export interface Origin {
  readonly actor: Cause
  readonly hops: number
  readonly settings: RunSettings
  /** The agents' turns behind it, counted from the messages and not from `hops`. */
  readonly depth: number
  readonly run: string | null
  /** The run with which the chain began; null for a person's act. */
  readonly chain: string | null
  /** For an approved call: when the agent asked, since when people's decisions count. */
  readonly askedAt?: number
}

export interface AccountOptions {
  readonly agents: ReadonlyArray<Agent>
  readonly scope: "agent" | "task"
  readonly mistakes?: ReadonlySet<Mistake>
  readonly personId?: string
  readonly personName?: string
  /** The id of the task that is made next, unless it is the model's own. */
  readonly nextTaskId?: (count: number) => string
  readonly now?: number
  /** When an agent's first heartbeat by an interval is due, unless the model spreads them itself. */
  readonly firstHeartbeatAt?: (agent: string) => number
}

/** One account of the control plane, in memory. */
export abstract class AccountState {
  /** Every agent that is or was on the roster. */
  readonly everyone: Array<Agent>
  readonly tasks = new Map<string, Task>()
  readonly messages: Array<Message> = []
  readonly questions: Array<Question> = []
  readonly runtimes = new Map<string, Presence>()
  readonly queue: QueueModel
  /** Made by tools, by id: the ledger must make each once. */
  readonly documents: Array<{ readonly id: string; readonly run: string; readonly title: string }> = []
  /** Contexts that show everything, by run and epoch. */
  readonly contexts = new Map<string, DeliveryContext>()
  /** What was answered instead of a context, by run and epoch. */
  readonly broken = new Map<string, string>()
  /** The longest chain of agents' turns behind each event, by notification. */
  readonly depths = new Map<string, Array<number>>()
  /** The tasks that a heartbeat showed, by run and epoch. */
  readonly heartbeatTasks = new Map<string, ReadonlyArray<string>>()
  /** How often people acted on each task. */
  readonly acts = new Map<string, number>()
  /** Calls by function, and the claims that gave nothing. */
  readonly counts = new Map<string, number>()
  emptyClaims = 0
  /** Notifications whose context cannot be built, and the damage of the one that is made next. */
  readonly damaged = new Map<string, Damage>()
  damageNext: Damage | null = null
  /** Per session the generation that an operator asked for, and when. */
  readonly rotations = new Map<string, { readonly at: number; readonly least: number }>()
  isTokenRevoked = false
  rosterRevision = 1
  protected readonly person: Origin
  personName: string
  /** Applies to notifications that are created from now on. */
  scope: "agent" | "task"
  protected readonly nextTaskId: (count: number) => string
  protected now: number

  constructor(options: AccountOptions) {
    this.everyone = [...options.agents]
    const actor: Cause = { type: "person", id: options.personId ?? "person" }
    this.personName = options.personName ?? "Pat Person"
    this.person = { actor, hops: 0, settings: unlimited, depth: 0, run: null, chain: null }
    this.nextTaskId = options.nextTaskId ?? ((count) => `t${count}`)
    this.scope = options.scope
    this.now = options.now ?? 0
    this.queue = new QueueModel(this.surroundings(options), options.mistakes)
  }

  /** What turns undid that a person had decided after they were claimed, for the invariants. */
  readonly undone: Array<string> = []

  /** Notes whose change it is; one by an agent's turn must not undo what a person decided after its claim. */
  protected noteDecision(task: Task, field: "status" | "assignees", { actor, askedAt, run }: Origin): void {
    if (actor.type === "person") {
      task.decided[field] = this.now
      this.noteAct(task)
    } else {
      if (run !== null && this.isDecided(task, field, run, askedAt))
        this.undone.push(`the ${field} of ${task.id}, by ${run}`)
      delete task.decided[field]
    }
  }

  /** A person has acted on the task. */
  protected noteAct({ id }: Task): void {
    this.acts.set(id, (this.acts.get(id) ?? 0) + 1)
  }

  /** Whether a person decided this after the run was claimed, or after it asked for the approval of a call. */
  protected isDecided(task: Task, field: "status" | "assignees", run: string, askedAt?: number): boolean {
    const claim = this.queue.history.findLast((entry) => entry.entry === "claim" && entry.run === run)
    const since = askedAt ?? (claim?.entry === "claim" ? claim.at : Infinity)
    return (task.decided[field] ?? -Infinity) > since
  }

  protected abstract surroundings(options: AccountOptions): Surroundings

  task(id: string): Task {
    const task = this.tasks.get(id)
    if (task === undefined) throw new Refusal("not_found")
    return task
  }

  /** The roster. */
  get agents(): ReadonlyArray<Agent> {
    return this.everyone.filter(({ isRemoved }) => isRemoved !== true)
  }

  get orchestrator(): Agent | undefined {
    return this.agents.find(({ isOrchestrator }) => isOrchestrator)
  }

  agent(id: string): Agent {
    const agent = this.everyone.find((each) => each.id === id)
    if (agent === undefined) throw new Error(`no agent ${id}`)
    return agent
  }

  /** The agents' turns behind a turn on these events: none if a person is among their authors. */
  protected depthOf(row: Notification): number {
    const isPersons = row.events.some(({ actor }) => actor.type === "person")
    return isPersons ? 0 : Math.max(...(this.depths.get(row.id) ?? [0]))
  }

  /** What an agent's run causes. */
  protected originOf(row: Notification, settings: RunSettings): Origin {
    const actor: Cause = { type: "agent", id: row.agent }
    const persons = row.events.some((event) => event.actor.type === "person")
    const hops = persons ? 0 : Math.max(...row.events.map((event) => event.hops))
    return { actor, hops: hops + 1, settings, depth: this.depthOf(row) + 1, run: row.id, chain: chainOf(row) }
  }

  protected isStuck(task: Task, assignees: ReadonlyArray<string>): boolean {
    return assignees.length === 0 && needsAssignee(task.status) && task.status !== "assigned"
  }

  /** The status of the runtime that the account shows at this moment. */
  statusOf(runtimeId: string, now: number): string {
    const row = this.runtimes.get(runtimeId)
    if (row === undefined) return "offline"
    return now - row.lastPulseAt > Math.max(90_000, 2.5 * row.intervalMs) ? "offline" : row.status
  }

  // Views.

  protected actorView(cause: Cause): Actor {
    if (cause.type !== "agent") return { type: cause.type, id: cause.id, name: this.personName, slug: null }
    const { id, name, slug } = this.agent(cause.id)
    return { type: "agent", id, name, slug }
  }

  protected messageView({ answersType, at, author, content, id, kind }: Message): MessageView {
    return { id, author: this.actorView(author), content, kind, createdAt: at, isCut: false, answersType }
  }

  protected ref(id: string) {
    const { name, slug } = this.agent(id)
    return { id, slug, name }
  }

  protected view(agent: Agent) {
    const { id, isOrchestrator, name } = agent
    return { ...this.ref(id), role: name, isOrchestrator, flags: this.flags(agent) }
  }

  protected flags(agent: Agent) {
    return { ...defaultAgentFlags, canCreateTasks: true, canReviewTasks: agent.canReview }
  }

  protected taskView(task: Task) {
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
      createdBy: this.actorView(this.person.actor),
      updatedAt: 0
    }
  }
}
