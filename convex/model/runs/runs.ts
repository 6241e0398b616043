import { v } from "convex/values"
import type { AgentFlags } from "../../../src/domain/shared/AgentFlags.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { StoredPolicy } from "../../tables/approvals.ts"
import { type RunSettings, runSettings } from "../../tables/runs.ts"
import { byPolicy, refusal } from "../access/refusal.ts"
import { agentActor } from "../accounts/actor.ts"
import { accountOf, agentOf, flagsOf } from "../agents/agents.ts"
import { chainOf } from "../notifications/events.ts"
import type { Origin } from "../notifications/origin.ts"
import { type Fence, heldSession, notificationOf } from "../queue/fences.ts"

/** The arguments of every call that stores an effect of a run. */
export const fenceArgs = { run: v.string(), session: v.string(), epoch: v.number() }
export const runArgs = { ...fenceArgs, settings: runSettings }

/** A run that acts: its agent, its work and its permissions. */
export interface Run {
  readonly accountId: Id<"accounts">
  /** The notification's id, or the agent and due time of a heartbeat. The same in all attempts. */
  readonly id: string
  /** The run in which its chain of agents' turns began. */
  readonly chain: string
  readonly kind: "notification" | "heartbeat"
  readonly epoch: number
  /** When its context was built. */
  readonly claimedAt: number
  readonly agent: Doc<"agents">
  readonly flags: AgentFlags
  /** The account's policies for tools; null if it has never had any. */
  readonly policies: ReadonlyArray<StoredPolicy> | null
  /** The notification's task; null for a heartbeat. */
  readonly taskId: Id<"tasks"> | null
  readonly origin: Origin
}

/** A heartbeat starts a chain at one hop. */
const heartbeatHops = 1

/** The live run of the fence. Fails with `lease_lost` before anything is written. Reads four rows. */
export const liveRun = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  fence: Fence & { readonly settings: RunSettings }
): Promise<Run> => {
  const session = await heldSession(ctx, accountId, fence)
  const { lease } = session
  const row = await notificationOf(ctx, lease.run)
  const agent = await agentOf(ctx, accountId, session.agentId)
  const chain = row === null ? lease.run : chainOf(row)
  const account = await accountOf(ctx, accountId)
  return {
    accountId,
    id: lease.run,
    chain,
    kind: lease.kind,
    epoch: lease.epoch,
    claimedAt: lease.claimedAt,
    agent,
    flags: flagsOf(account, agent),
    policies: account.toolPolicies ?? null,
    taskId: row?.taskId ?? null,
    origin: {
      actor: agentActor(agent),
      hops: (row?.hops ?? heartbeatHops) + 1,
      chain,
      settings: fence.settings
    }
  }
}

/** Fails with `forbidden` unless the run's agent has the flag. */
export const mustHaveFlag = (run: Run, flag: keyof AgentFlags): void => {
  if (!run.flags[flag]) {
    throw refusal(
      "forbidden",
      `This agent does not have ${flag}. An owner or admin of the account can grant it.`,
      byPolicy
    )
  }
}

/** Fails with `forbidden` unless the run's agent is the orchestrator. */
export const mustOrchestrate = (run: Run): void => {
  if (!run.agent.isOrchestrator)
    throw refusal("forbidden", "Only the orchestrator may do this. Ask it in the thread.", byPolicy)
}

/**
 * Fails with `forbidden` unless the run may act on the task. The orchestrator may act on any task, other agents on
 * their notification's task and on tasks that they created in this run, and a heartbeat on the tasks of its agent.
 */
export const mustActOn = (run: Run, task: Doc<"tasks">): void => {
  const isOwn =
    run.agent.isOrchestrator ||
    task._id === run.taskId ||
    task.createdInRun === run.id ||
    (run.kind === "heartbeat" && task.assigneeIds.includes(run.agent._id))
  if (!isOwn) {
    throw refusal("forbidden", "This run may act only on its own task and on tasks that it created.", byPolicy)
  }
}
