/** Replays the calls that a local control plane recorded, and finds the first one that contradicts the model. */
import { isDeepStrictEqual } from "node:util"
import { orchestratorChatLabel } from "../../convex/model/tasks/taskView.ts"
import { maxCalls } from "../../local/plane/callHistory.ts"
import type { HistoricCall } from "../../local/plane/callHistory.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { AccountModel } from "./accountModel.ts"
import { comparable, renamed } from "./comparison.ts"
import type { Difference } from "./comparison.ts"
import { batches, HistoricRows, Lost } from "./historicRows.ts"
import { Refusal } from "./queueState.ts"

type Args = Readonly<Record<string, any>>
type Deed = (model: AccountModel, now: number, args: Args) => void

/** The first call of an account that contradicts the model. */
export interface Divergence extends Difference {
  readonly call: HistoricCall
}

const person = { type: "person", id: "person" } as const

/** Functions of people and of the schedule, as the model has them. Their answers are not compared. */
const deeds: Readonly<Record<string, Deed>> = {
  "app/tasks:create": (model, now, { assigneeIds = [], labels = [], status }) => {
    if (status !== undefined) throw new Lost("a task was created with a status")
    model.createTask(now, assigneeIds, labels.includes(orchestratorChatLabel))
  },
  "app/tasks:assign": (model, now, { assigneeIds, taskId }) => model.assign(now, taskId, assigneeIds),
  "app/tasks:setStatus": (model, now, { status, taskId }) => model.setStatus(now, taskId, status),
  "app/messages:post": (model, now, { content, taskId }) => model.write(now, taskId, content),
  "app/agents:remove": (model, now, { agentId }) => model.remove(now, agentId),
  "app/agents:pause": (model, now, { agentId: agent, release }) => model.call(now, functions.pause, { agent, release }),
  "app/agents:resume": (model, now, { agentId: agent }) => model.call(now, functions.resume, { agent }),
  "app/runtimes:pause": (model, now, { release }) => model.call(now, functions.pause, { release }),
  "app/runtimes:resume": (model, now) => model.call(now, functions.resume, {}),
  "app/runs:stop": (model, now, args) => model.stop(now, person, args),
  "app/runs:again": (model, now, args) => model.call(now, functions.runAgain, args),
  "app/approvals:approve": (model, now, { id }) => model.approve(now, id),
  "app/approvals:deny": (model, now, { id }) => model.deny(now, id),
  "scheduled/approvals:expire": (model, now, { id }) => model.expire(now, id),
  "app/notifications:retry": (model, now, args) => model.call(now, functions.retryDeadLetter, args),
  "app/notifications:discard": (model, now, args) => model.call(now, functions.discardDeadLetter, args)
}

/** Changes of the roster and of the policies for tools, which the model takes from the rows. */
const ofSettings = new Set([
  "app/accounts:create",
  "app/accounts:configure",
  "app/agents:create",
  "app/agents:update",
  "app/policies:set",
  "app/policies:remove"
])

/** Refusals that the rules of the queue decide. Other codes are of arguments that the model does not check. */
const ofQueue = new Set(["lease_lost", "conflict"])

/** A claim may wake for work that it takes itself, an end of a task for the runs that follow its stopped ones. */
const wakesMore = new Set<string>([functions.claim, "app/tasks:setStatus", "app/approvals:approve"])

/** Arguments for which the model has no rule. */
const unruled: Readonly<Record<string, string>> = {
  [functions.createTask]: "status",
  [functions.rotateSessions]: "taskId",
  [functions.upsertDocument]: "documentId"
}

/** The answer or the refusal of the plane or the model. */
type Outcome = { readonly answer: unknown } | { readonly refused: string }

const outcomeOf = (act: () => unknown): Outcome => {
  try {
    return { answer: comparable(act()) }
  } catch (error) {
    if (error instanceof Refusal) return { refused: error.code }
    throw error
  }
}

const codeOf = ({ refused }: HistoricCall): string =>
  String((refused as { readonly code?: unknown } | null)?.code ?? "server error")

/** The calls of one account, judged by a separate model. */
export class AccountHistory {
  readonly account: string
  judged = 0
  /** Calls that the model does not judge, by function. */
  readonly unjudged = new Map<string, number>()
  divergence: Divergence | null = null
  /** The call from which on the model cannot follow the account, and why. */
  lost: { readonly call: HistoricCall; readonly why: string } | null = null
  private readonly rows: HistoricRows

  constructor(account: string, now: number) {
    this.account = account
    this.rows = new HistoricRows(now)
  }

  /** Judges the account's next call. After a divergence, or once the model is lost, it judges none. */
  take(call: HistoricCall): void {
    if (this.divergence !== null || this.lost !== null) return this.skip(call)
    try {
      this.judge(call)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      this.skip(call)
      this.lost = { call, why: error instanceof Lost ? error.message : `the model failed: ${error.message}` }
    }
  }

  private skip({ path }: HistoricCall): void {
    this.unjudged.set(path, (this.unjudged.get(path) ?? 0) + 1)
  }

  private judge(call: HistoricCall): void {
    const { rows } = this
    const { model } = rows
    const { path } = call
    const before = { plane: rows.wakes, model: model.queue.wakes }
    rows.apply(call)
    const expected = this.expect(call)
    if (expected === null) {
      if (rows.changesModel(call)) throw new Lost(`the model has no rule for ${path}`)
      return this.skip(call)
    }
    rows.noteRows()
    const found = this.found(call)
    const [isWoken, mustWake] = [rows.wakes > before.plane, model.queue.wakes > before.model]
    const difference = !isDeepStrictEqual(found, expected)
      ? { what: "the answer", expected, found }
      : rows.isInProgress
        ? undefined
        : (rows.firstDifference() ??
          (isWoken === mustWake || batches.has(path) || ofSettings.has(path) || (wakesMore.has(path) && isWoken)
            ? undefined
            : { what: "whether the runtimes are woken", expected: mustWake, found: isWoken }))
    if (difference !== undefined) this.divergence = { call, ...difference }
    this.judged += 1
  }

  /** The compared part of the plane's answer. */
  private found(call: HistoricCall): Outcome {
    if ("refused" in call) return { refused: codeOf(call) }
    return { answer: call.path.startsWith("service/") ? comparable(renamed(call.value, this.rows.ids.ofModel)) : null }
  }

  /** The model's answer; null if it does not judge this call. */
  private expect(call: HistoricCall): Outcome | null {
    const { at, path } = call
    const { model } = this.rows
    if ("refused" in call && !(path.startsWith("service/") && ofQueue.has(codeOf(call)))) return null
    if (batches.has(path)) return { answer: null }
    if (ofSettings.has(path)) return outcomeOf(() => this.rows.changeRoster(at))
    const args = this.rows.argumentsOf(call)
    const deed = deeds[path]
    if (deed !== undefined) return outcomeOf(() => void deed(model, at, args))
    const hasRule = model.has(path) && args[unruled[path] ?? ""] === undefined
    return hasRule ? outcomeOf(() => model.call(at, path, args)) : null
  }
}

/** Replays a history; answers one verdict for each of its accounts, in the order of their creation. */
export const replay = (calls: Iterable<HistoricCall>): ReadonlyArray<AccountHistory> => {
  const accounts = new Map<string, AccountHistory>()
  for (const call of calls) {
    const [args, value] = [call.args as Args, call.value as Args | null]
    const { accountId: account = value?.["accountId"] ?? accountOf(call) } = args
    if (call.path === "app/accounts:create" && "value" in call) {
      accounts.set(account, new AccountHistory(account, call.at))
    }
    accounts.get(account)?.take(call)
  }
  return [...accounts.values()]
}

/** The account of a call that names none, from the rows that it wrote. */
const accountOf = ({ changes }: HistoricCall): string =>
  changes.map(({ after }) => (after as Args | null)?.["accountId"]).find((id) => typeof id === "string") ?? "none"

/** How many calls belong to none of the accounts, such as jobs that wrote nothing. */
const countStrayed = (calls: ReadonlyArray<HistoricCall>, accounts: ReadonlyArray<AccountHistory>): number =>
  accounts.reduce((left, { judged, unjudged }) => left - judged - unjudged.values().reduce(sum, 0), calls.length)

const sum = (left: number, right: number): number => left + right

const short = (value: unknown): string => JSON.stringify(value) ?? "undefined"

const whenOf = ({ at, number, path }: HistoricCall): string =>
  `call ${number} at ${new Date(at).toISOString()}, ${path}`

/** The verdicts as lines. */
export const linesOf = (
  calls: ReadonlyArray<HistoricCall>,
  accounts: ReadonlyArray<AccountHistory>
): ReadonlyArray<string> => [
  `${calls.length} calls${calls.length < maxCalls ? "" : ", the most that a file holds: later ones were not recorded"}`,
  `${countStrayed(calls, accounts)} calls of no account that the history contains`,
  ...accounts.flatMap(({ account, divergence, judged, lost, unjudged }) => {
    const others = [...unjudged].toSorted(([, left], [, right]) => right - left)
    return [
      `account ${account}: ${judged} calls judged, ${unjudged.values().reduce(sum, 0)} not judged by the model`,
      ...others.map(([path, times]) => `  ${path} ${times}`),
      ...(lost === null ? [] : [`the model follows until ${whenOf(lost.call)}: ${lost.why}`]),
      ...(divergence === null
        ? ["no call contradicts the model"]
        : [
            `${whenOf(divergence.call)} contradicts the model in ${divergence.what}`,
            `arguments ${short(divergence.call.args)}`,
            `expected ${short(divergence.expected)}`,
            `found    ${short(divergence.found)}`
          ])
    ]
  })
]
