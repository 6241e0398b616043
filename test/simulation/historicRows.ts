/** One account's rows as its recorded calls left them, and the model that follows them. */
import { isDeepStrictEqual } from "node:util"
import type { Doc } from "../../convex/_generated/dataModel.js"
import { plainName } from "../../convex/model/notifications/questions.ts"
import type { HistoricCall } from "../../local/plane/callHistory.ts"
import { jobsTable } from "../../local/plane/jobs.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { agentFlagNames, defaultAgentFlags, effectiveFlags } from "../../src/domain/shared/AgentFlags.ts"
import { AccountModel } from "./accountModel.ts"
import { firstDifference, Ids, isQuestion, renamed } from "./comparison.ts"
import type { Difference, PlaneRows } from "./comparison.ts"

/** The model cannot follow the account any further. */
export class Lost extends Error {}

/** Tables of which the model has every row. Of tasks it has only some fields. */
const modelled = new Set(["sessions", "heartbeats", "pauses", "boots", "taskLoops", "stops", "approvals"])

/** The flags whose other values the model does not know. */
const assumedFlags = agentFlagNames.filter((name) => name !== "canReviewTasks" && name !== "canCreateTasks")

/** Functions that do the next batch of a change that the model made in one transaction. */
export const batches = new Set(
  ["stops:continueStop", "removals:agent", "pauses:hold", "pauses:offer"].map((name) => `scheduled/${name}`)
)

interface Job {
  readonly name: string
  readonly state: { readonly kind: string }
}

type Table =
  | "accounts"
  | "agents"
  | "approvals"
  | "heartbeats"
  | "members"
  | "notifications"
  | "sessions"
  | "tasks"
  | "taskLoops"
  | "wakes"

/** The rows of one account, and its model. */
export class HistoricRows {
  readonly ids = new Ids()
  readonly model: AccountModel
  private readonly tables = new Map<string, Map<string, unknown>>()
  private readonly contents = new Map<string, string>()
  private readonly waitingBatches = new Set<string>()
  private newTask = "none"

  constructor(now: number) {
    this.model = new AccountModel({
      agents: [],
      scope: "agent",
      now,
      nextTaskId: () => this.newTask,
      firstHeartbeatAt: (agent) => this.all("heartbeats").find(({ agentId }) => agentId === agent)?.dueAt ?? 0
    })
  }

  private all<Name extends Table>(table: Name): ReadonlyArray<Doc<Name>> {
    return [...((this.tables.get(table)?.values() ?? []) as Iterable<Doc<Name>>)]
  }

  /** Names the account's rows, after the model has made the call. */
  noteRows(): void {
    this.ids.note(this.rows, this.model.queue.notifications.keys())
  }

  private get rows(): PlaneRows {
    return {
      notifications: this.all("notifications"),
      sessions: this.all("sessions"),
      heartbeats: this.all("heartbeats"),
      tasks: this.all("tasks"),
      taskLoops: this.all("taskLoops"),
      approvals: this.all("approvals"),
      contents: this.contents
    }
  }

  /** How often the plane has woken the runtimes. */
  get wakes(): number {
    return this.all("wakes").reduce((sum, { count }) => sum + count, 0)
  }

  /** Applies the call's changes. Fails with Lost if the model cannot know their meaning. */
  apply({ changes, path, value }: HistoricCall): void {
    for (const { after, id, table } of changes) {
      const rows = this.tables.get(table) ?? new Map<string, unknown>()
      this.tables.set(table, rows)
      if (after === null) rows.delete(id)
      else if (table !== jobsTable) rows.set(id, after)
      if (table === jobsTable) this.noteJob(id, after as unknown as Job)
      if (table === "tasks" && !this.model.tasks.has(id)) this.newTask = id
      if (table === "members") this.ids.ofModel.set(id, "person")
      if (table === "messages" && after !== null) this.contents.set(id, (after as unknown as Doc<"messages">).content)
    }
    const tables = new Set(changes.map(({ table }) => table))
    if (tables.has("accounts") || tables.has("agents")) this.followRoster()
    if (tables.has("accounts")) this.followPolicies()
    if (tables.has("members") || tables.has("notifications")) this.followMembers()
    const { heldBack = 0, until } = (value ?? {}) as { readonly heldBack?: number; readonly until?: number }
    if (heldBack > 0 || (path === functions.allowUsage && until !== undefined)) throw new Lost("a budget held work")
  }

  private noteJob(id: string, { name, state }: Job): void {
    if (batches.has(name) && state.kind === "pending") this.waitingBatches.add(id)
    else this.waitingBatches.delete(id)
  }

  /** The call's arguments with the model's ids. Agents are named by their ids. */
  argumentsOf({ args, path }: HistoricCall): Readonly<Record<string, any>> {
    const given = renamed(args, this.ids.ofModel)
    const named = this.model.agents.find(({ slug }) => slug === given.agent)
    if (named !== undefined) return { ...given, agent: named.id }
    if (path !== functions.requestResponses) return given
    return { ...given, recipientSlugs: given.recipientSlugs.map(plainName), message: given.message.trim() }
  }

  /** The model has one person: the account's only member. */
  private followMembers(): void {
    const members = this.all("members")
    const [member] = members
    if (member !== undefined) this.model.personName = member.name
    const isOpen = (row: Doc<"notifications">) => isQuestion(row) && row.outcome === undefined
    if (members.length !== 1 && this.all("notifications").some(isOpen)) {
      throw new Lost("an agent asked one of several people")
    }
  }

  /** Takes the account's policies for tools from its row. */
  private followPolicies(): void {
    const [account] = this.all("accounts")
    const policies = account?.toolPolicies
    if (policies === undefined) return
    if (policies.some(({ agentId, role, when }) => (agentId ?? role ?? when) !== undefined)) {
      throw new Lost("a policy applies to some agents or arguments only")
    }
    this.model.policies = new Map(policies.map(({ effect, tool }) => [tool, effect]))
  }

  /** Takes the account's settings and the agents' roles from their rows. */
  private followRoster(): void {
    const [account] = this.all("accounts")
    if (account !== undefined) this.model.scope = account.sessionScope
    for (const { _id, flags: own, isOrchestrator, name } of this.all("agents")) {
      const flags = effectiveFlags(account?.agentFlags, own)
      if (assumedFlags.some((flag) => flags[flag] !== defaultAgentFlags[flag])) {
        throw new Lost("an agent's flags are not the defaults")
      }
      const agent = this.model.everyone.find(({ id }) => id === _id)
      if (agent !== undefined) Object.assign(agent, { isOrchestrator, name, canReview: flags.canReviewTasks })
    }
  }

  /** Adds the agents and changes the schedules that the rows have. */
  changeRoster(now: number): void {
    const [account] = this.all("accounts")
    for (const { _id: id, flags, heartbeat, isOrchestrator, name, slug } of this.all("agents")) {
      const agent = this.model.everyone.find((each) => each.id === id)
      const canReview = effectiveFlags(account?.agentFlags, flags).canReviewTasks
      if (agent === undefined) this.model.hire(now, { id, slug, name, heartbeat, isOrchestrator, canReview })
      else if (agent.heartbeat !== heartbeat) this.model.reschedule(now, id, heartbeat)
    }
  }

  /** Whether a batch is still to run. */
  get isInProgress(): boolean {
    return this.waitingBatches.size > 0
  }

  /** Whether the call changed rows that the model has too. */
  changesModel({ changes }: HistoricCall): boolean {
    return changes.some(({ after, id, table }) => {
      if (table === "notifications") return (after as Partial<Doc<"notifications">> | null)?.recipientType !== "person"
      if (table !== "tasks") return modelled.has(table)
      const task = this.model.tasks.get(id)
      const { assigneeIds, isAtTurnLimit, status } = (after ?? {}) as Partial<Doc<"tasks">>
      const own = [task?.status, task?.assignees, task?.isAtTurnLimit]
      return !isDeepStrictEqual([status, assigneeIds, isAtTurnLimit], own)
    })
  }

  /** The first row in which the model differs. */
  firstDifference(): Difference | undefined {
    return firstDifference(this.model, this.rows, this.ids)
  }
}
