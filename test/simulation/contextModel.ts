/** The contexts of claimed runs, as the control plane builds them. */
import type { AnswerOf, functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { DeliveryContext } from "../../src/domain/delivery/DeliveryContext.ts"
import type { HeartbeatContext } from "../../src/domain/heartbeats/Heartbeat.ts"
import { sessionKey } from "../../src/domain/shared/SessionKey.ts"
import type { TaskStatus } from "../../src/domain/shared/TaskStatus.ts"
import { ACCOUNT } from "./accountState.ts"
import type { Agent, Task } from "./accountState.ts"
import { FanOutModel } from "./fanOutModel.ts"
import type { ClaimedRun } from "./queueModel.ts"
import { hopsOf, isOwed, orderOfMessage, typeOf } from "./queueState.ts"
import type { Event, Notification, Session, Shown } from "./queueState.ts"

const account = { id: ACCOUNT, name: "Acme" }
/** Messages before its request that a full text shows. */
const THREAD = 25
/** After such a pause everything is sent again. */
const SHOWN_MILLIS = 4 * 3_600_000
/** Tasks that a heartbeat shows at most. */
const HEARTBEAT_TASKS = 12

/** The account's views for agents' turns. */
export class ContextModel extends FanOutModel {
  protected effectsOf(run: string) {
    return this.queue.history.flatMap((entry) =>
      entry.entry === "effect" && entry.run === run ? [{ tool: entry.tool, summary: entry.tool, at: entry.at }] : []
    )
  }

  /** What both kinds of context say of the agent and its session. */
  private common(agent: Agent, task: string | null, generation: number, run: string) {
    const { orchestrator } = this
    const own = task === null ? `heartbeats_${agent.id}` : `session_${agent.id}`
    const session = this.queue.sessionFor(task === null || this.scope === "agent" ? own : `${own}_${task}`, agent.id)
    const scoped = task === null ? { isHeartbeat: true } : this.scope === "task" ? { taskId: task } : {}
    return {
      account,
      agent: this.view(agent),
      sessionKey: sessionKey({ slug: agent.slug, accountId: ACCOUNT, ...scoped, generation }),
      generation,
      fenceMark: `mark${generation}`,
      stoppedRuns: session.stoppedRuns.filter((each) => each !== run),
      orchestrator: orchestrator === undefined ? null : this.ref(orchestrator.id),
      primaryPerson: { name: this.personName },
      mentionableAgents: this.agents
        .filter(({ id }) => id !== agent.id)
        .map(({ name, slug }) => ({ slug, name, role: name }))
    }
  }

  /** What the session saw of the task at its last turn there; null if everything must be sent again. */
  private shownBefore({ events, task }: Notification, session: Session, generation: number): Shown | null {
    const shown = session.shown.get(task)
    const { mistakes } = this.queue
    if (shown === undefined || shown.at < this.now - SHOWN_MILLIS || shown.fullText < session.historyFrom) return null
    if (shown.generation !== generation && !mistakes.has("a delta in a new generation")) return null
    const isOld = ({ message }: (typeof events)[number]) =>
      message !== null && orderOfMessage(message) <= shown.messages
    return events.some(isOld) ? null : shown
  }

  /** The context without what the session has seen. */
  private asDelta(context: DeliveryContext, { at, fullText, joined, messages }: Shown): DeliveryContext {
    const isLater = ({ createdAt, id }: DeliveryContext["thread"][number]) =>
      this.queue.mistakes.has("what came during a turn counts as seen")
        ? createdAt > at
        : orderOfMessage(id) > messages && !joined.includes(id)
    return { ...context, delta: { fullText, unchanged: [] }, thread: context.thread.filter(isLater) }
  }

  protected eventView(event: Event, index: number): DeliveryContext["events"][number] {
    const message = this.messages.find((each) => each.id === event.message)
    return {
      index,
      type: event.type,
      createdAt: event.at,
      message: message === undefined ? null : this.messageView(message),
      actor: this.actorView(event.actor),
      previousStatus: (event.statuses?.[0] ?? null) as TaskStatus | null,
      newStatus: (event.statuses?.[1] ?? null) as TaskStatus | null,
      request: event.request,
      ...(event.answers === null ? {} : { answers: event.answers })
    }
  }

  protected deliveryContext(id: string, generation: number, textNumber: number): DeliveryContext {
    const row = this.queue.row(id)
    const task = this.task(row.task)
    const agent = this.agent(row.agent)
    const isLeased = row.state === "claimed"
    return {
      ...this.common(agent, task.id, generation, id),
      textNumber,
      delta: null,
      notification: {
        id,
        type: typeOf(row.events),
        createdAt: row.events[0]?.at ?? 0,
        hops: hopsOf(row.events),
        isRequired: isOwed(row.events)
      },
      events: row.events.map((event, index) => this.eventView(event, index)),
      task: this.taskView(task),
      recipientIsAssignee: task.assignees.includes(agent.id),
      thread: this.messages
        .filter((message) => message.task === task.id)
        .slice(-(THREAD + row.events.length))
        .map((message) => this.messageView(message)),
      repositoryDocument: null,
      documents: [],
      briefing: task.isChat ? "We build a rocket." : null,
      taskOverview: task.isChat ? [] : null,
      earlier: { attempts: row.claims - (isLeased ? 1 : 0), lastError: row.error, effects: this.effectsOf(id) }
    }
  }

  protected heartbeatContext(run: ClaimedRun, generation: number): HeartbeatContext | null {
    const heartbeat = [...this.queue.heartbeats.values()].find(({ session }) => session === run.session)
    if (heartbeat === undefined) return null
    const agent = this.agent(heartbeat.agent)
    const isOpen = (task: Task) =>
      agent.isOrchestrator
        ? ["in_progress", "review", "assigned", "blocked"].includes(task.status)
        : task.assignees.includes(agent.id) && ["in_progress", "assigned"].includes(task.status)
    const { claims, dueAt, schedule } = heartbeat
    return {
      ...this.common(agent, null, generation, run.id),
      heartbeat: { id: run.id, dueAt, schedule, lastHeartbeatAt: null },
      tasks: [...this.tasks.values()]
        .filter((task) => !task.isChat && isOpen(task))
        .filter((task) => !task.isAtTurnLimit || this.queue.mistakes.has("heartbeats beyond the limit of turns"))
        .slice(0, HEARTBEAT_TASKS)
        .map((task) => ({ task: this.taskView(task), lastMessageAt: null, lastAssigneeAt: null })),
      briefing: null,
      earlier: { attempts: Math.max(0, claims - 1), effects: this.effectsOf(run.id) },
      isUnchanged: false
    }
  }

  /** A claimed run with its context, or with the reason why it has none. */
  protected withContext(run: ClaimedRun): AnswerOf<typeof functions.claim>["runs"][number] {
    const session = this.queue.sessions.get(run.session)
    if (session?.lease == null) throw new Error("a claimed run without a lease")
    const { lease } = session
    const { generation } = lease
    const agent = this.agent(session.agent)
    const attempt = `${run.id} ${run.epoch}`
    const damage = agent.isRemoved === true ? "agent_missing" : this.damaged.get(run.id)
    if (damage !== undefined) this.broken.set(attempt, damage)
    if (damage === "misshapen") {
      // What no validator lets pass: the runtime must live with it.
      const context = { ...this.deliveryContext(run.id, generation, run.epoch), events: "gone" as never }
      return { ...run, kind: "notification", context }
    }
    if (damage !== undefined) return { ...run, broken: damage }
    if (run.kind === "heartbeat") {
      const context = this.heartbeatContext(run, generation)
      if (context === null) throw new Error("a heartbeat without its agent")
      this.heartbeatTasks.set(
        attempt,
        context.tasks.map(({ task }) => task.id)
      )
      return { ...run, kind: run.kind, context }
    }
    const context = this.deliveryContext(run.id, generation, run.epoch)
    this.contexts.set(attempt, context)
    const shown = this.shownBefore(this.queue.row(run.id), session, generation)
    const fullText = shown?.fullText ?? run.epoch
    lease.shows = { fullText, generation, messages: this.messages.length, joined: [], at: this.now }
    return { ...run, kind: run.kind, context: shown === null ? context : this.asDelta(context, shown) }
  }
}
