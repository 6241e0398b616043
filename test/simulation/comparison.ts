/** The rows and answers of the control plane next to those of the model, which names its rows itself. */
import { isDeepStrictEqual } from "node:util"
import type { Doc } from "../../convex/_generated/dataModel.js"
import type { AccountModel } from "./accountModel.ts"
import { hopsOf, isOwed, typeOf } from "./queueState.ts"
import type { Notification, Session } from "./queueState.ts"

/** The rows of one account that are compared, each kind in the order of its creation. */
export interface PlaneRows {
  readonly notifications: ReadonlyArray<Doc<"notifications">>
  readonly sessions: ReadonlyArray<Doc<"sessions">>
  readonly heartbeats: ReadonlyArray<Doc<"heartbeats">>
  readonly tasks: ReadonlyArray<Doc<"tasks">>
  readonly taskLoops: ReadonlyArray<Doc<"taskLoops">>
  readonly approvals: ReadonlyArray<Doc<"approvals">>
  /** The content of messages by their id. */
  readonly contents: ReadonlyMap<string, string>
}

/** A row or an answer in which the control plane and the model differ. */
export interface Difference {
  readonly what: string
  readonly expected: unknown
  readonly found: unknown
}

/** Parts of answers that are not compared: contexts, times of the call, words, and what the model leaves out. */
const ignored = new Set([
  "context",
  "message",
  "actor",
  "allowance",
  "now",
  "reason",
  "commands",
  "rosterRevision",
  "protocol",
  "taskId",
  "documentId"
])

/** The value with these ids replaced. */
export const renamed = (value: unknown, names: ReadonlyMap<string, string>): any =>
  JSON.parse(JSON.stringify(value ?? null), (_, part) => (typeof part === "string" ? (names.get(part) ?? part) : part))

/** An answer without the parts that are not compared. */
export const comparable = (answer: unknown): unknown =>
  JSON.parse(JSON.stringify(answer ?? null), (key, part) => {
    if (ignored.has(key)) return undefined
    return key === "messageId" ? part !== null : part
  })

/** A question of an agent to a person. */
export const isQuestion = ({ recipientType, type }: Doc<"notifications">): boolean =>
  recipientType === "person" && type === "response_request"

const stateOfQuestion = ({ outcome }: Doc<"notifications">) =>
  outcome === "replied" ? "answered" : outcome === "stopped" ? "ended" : "open"

/** An event's request. Of an agent's notification of a decision only the decision is compared. */
const requestOfPlane = (request: string | undefined): string | null => {
  if (request?.startsWith("Your call: ") !== true) return request ?? null
  const [, word = ""] = /\n(Approved|Denied|Not) /.exec(request) ?? []
  return `decision: ${{ Approved: "approved", Denied: "denied", Not: "expired" }[word]}`
}

/** The ids of an account's rows on both sides. */
export class Ids {
  readonly ofPlane = new Map<string, string>()
  readonly ofModel = new Map<string, string>()

  private add(own: string, id: string): void {
    this.ofPlane.set(own, id)
    this.ofModel.set(id, own)
  }

  /** Names the existing rows. Both sides create and delete notifications in the same order. */
  note(
    { approvals, notifications, sessions }: Pick<PlaneRows, "approvals" | "notifications" | "sessions">,
    own: Iterable<string>
  ): void {
    const names = [...own]
    const ofAgents = notifications.filter(({ recipientType }) => recipientType === "agent")
    for (const [index, { _id }] of ofAgents.entries()) this.add(names[index] ?? "none", _id)
    for (const [index, { _id }] of notifications.filter(isQuestion).entries()) this.add(`q${index + 1}`, _id)
    for (const [index, { _id }] of approvals.entries()) this.add(`approval${index + 1}`, _id)
    for (const { _id, agentId: agent, kind, taskId } of sessions) {
      const name = kind === "heartbeat" ? `heartbeats_${agent}` : `session_${agent}`
      this.add(taskId === undefined ? name : `${name}_${taskId}`, _id)
    }
  }
}

/** The fields of a notification's delivery, which both sides store alike. */
const deliveryOf = ({
  at,
  attempts,
  claims,
  crashes,
  error,
  failures,
  hasFallback,
  outcome,
  readyAt,
  runsInNextGeneration,
  sharedSince,
  silences,
  state
}: Notification | Doc<"notifications">) => ({
  state,
  at,
  readyAt,
  attempts,
  claims,
  failures,
  silences,
  crashes,
  sharedSince: sharedSince ?? null,
  hasFallback,
  runsInNextGeneration,
  outcome: outcome ?? null,
  error: error?.class ?? null
})

const notificationOfModel = (row: Notification, model: AccountModel, ids: Ids) => ({
  agent: row.agent,
  task: row.task,
  type: typeOf(row.events),
  hops: hopsOf(row.events),
  isRequired: isOwed(row.events),
  ...deliveryOf(row),
  isHeld: row.heldUntil !== null,
  events: row.events.map(({ actor, answers, at, chain, hops, joined, message, refusal, request, statuses, type }) => ({
    type,
    by: actor.type === "system" ? "system" : actor.id,
    at,
    hops,
    chain: ids.ofPlane.get(chain ?? "") ?? chain,
    message: model.messages.find(({ id }) => id === message)?.content ?? null,
    statuses,
    request: request?.replace(/^approval\d+ /, "decision: ") ?? null,
    refusal,
    joined,
    answers
  }))
})

const notificationOfPlane = (row: Doc<"notifications">, contents: PlaneRows["contents"], ids: Ids) => ({
  agent: row.agentId,
  task: row.taskId,
  type: row.type,
  hops: row.hops,
  isRequired: row.isRequired,
  ...deliveryOf(row),
  isHeld: row.held !== undefined,
  events: row.events.map((event) => ({
    type: event.type,
    by: event.actor.type === "system" ? "system" : (ids.ofModel.get(event.actor.id ?? "") ?? event.actor.id),
    at: event.at,
    hops: event.hops,
    chain: event.chain ?? null,
    message: event.messageId === undefined ? null : (contents.get(event.messageId) ?? null),
    statuses: event.newStatus === undefined ? null : [event.previousStatus, event.newStatus],
    request: requestOfPlane(event.request),
    refusal: event.refusal ?? null,
    joined: event.joined ?? null,
    answers: event.answers ?? null
  }))
})

const sessionOfModel = (session: Session, model: AccountModel, ids: Ids) => {
  const { epoch, generation, lease, news, recalled, stoppedRuns } = session
  const run = ids.ofPlane.get(lease?.run ?? "") ?? lease?.run
  return {
    at: model.queue.atOf(session),
    epoch,
    generation,
    recalled,
    stoppedRuns: stoppedRuns.toSorted(),
    news: model.messages.find(({ id }) => id === news)?.content ?? null,
    lease: lease === null ? null : { run, expiresAt: lease.expiresAt, isSuspect: lease.isSuspect }
  }
}

const sessionOfPlane = (session: Doc<"sessions">, contents: PlaneRows["contents"], ids: Ids) => {
  const { at = null, epoch, generation, lease, news, recalled = null, stoppedRuns } = session
  return {
    at,
    epoch,
    generation,
    recalled,
    stoppedRuns: stoppedRuns.map((run) => ids.ofModel.get(run) ?? run).toSorted(),
    news: news === undefined ? null : (contents.get(news) ?? null),
    lease: lease === undefined ? null : { run: lease.run, expiresAt: lease.expiresAt, isSuspect: lease.isSuspect }
  }
}

const heartbeatOf = ({
  at = null,
  attempts,
  claims,
  crashes,
  dueAt,
  failures,
  lastHeartbeatAt = null,
  schedule
}: Pick<Doc<"heartbeats">, "attempts" | "claims" | "crashes" | "dueAt" | "failures" | "schedule"> & {
  readonly at?: number | null
  readonly lastHeartbeatAt?: number | null
}) => ({ at, attempts, claims, crashes, dueAt, failures, lastHeartbeatAt, schedule })

/** All that is compared: notifications, sessions, heartbeats, requests for approval and tasks of the account. */
function* pairs(model: AccountModel, rows: PlaneRows, ids: Ids): Generator<Difference> {
  const { queue } = model
  const ofAgents = rows.notifications.filter(({ recipientType }) => recipientType === "agent")
  const own = [...queue.notifications.values()]
  for (const [index, row] of ofAgents.entries()) {
    const known = own[index]
    yield {
      what: `notification ${row._id}`,
      expected: known === undefined ? null : notificationOfModel(known, model, ids),
      found: notificationOfPlane(row, rows.contents, ids)
    }
  }
  const questions = rows.notifications.filter(isQuestion).map(stateOfQuestion)
  yield { what: "the questions", expected: model.questions.map(({ state }) => state), found: questions }
  yield { what: "the number of notifications", expected: own.length, found: ofAgents.length }
  for (const row of rows.heartbeats) {
    const known = queue.heartbeats.get(row.agentId)
    yield {
      what: `the heartbeat of ${row.agentId}`,
      expected: known === undefined ? null : heartbeatOf({ ...known, at: queue.heartbeatAt(known) }),
      found: heartbeatOf(row)
    }
  }
  for (const row of rows.sessions) {
    yield {
      what: `session ${row._id}`,
      expected: sessionOfModel(queue.sessionFor(ids.ofModel.get(row._id) ?? "none", "none"), model, ids),
      found: sessionOfPlane(row, rows.contents, ids)
    }
  }
  yield {
    what: "the requests for approval",
    expected: model.approvals.map(({ assignees, expiresAt, state, status, task, tool }) => ({
      tool,
      state,
      task,
      status,
      assignees,
      expiresAt
    })),
    found: rows.approvals.map(({ assigneeIds, expiresAt, state, taskId, taskStatus, tool }) => ({
      tool,
      state,
      task: taskId,
      status: taskStatus,
      assignees: assigneeIds,
      expiresAt
    }))
  }
  const turns = new Map(rows.taskLoops.map((each) => [each.taskId, each.turns]))
  yield {
    what: "the tasks",
    expected: [...model.tasks].map(([id, each]) => [id, each.status, each.assignees, each.isAtTurnLimit, each.turns]),
    found: rows.tasks.map((each) => [
      each._id,
      each.status,
      each.assigneeIds,
      each.isAtTurnLimit,
      turns.get(each._id) ?? 0
    ])
  }
}

/** The first row in which the control plane and the model differ; undefined if they agree. */
export const firstDifference = (model: AccountModel, rows: PlaneRows, ids: Ids): Difference | undefined =>
  pairs(model, rows, ids).find(({ expected, found }) => !isDeepStrictEqual(expected, found))
