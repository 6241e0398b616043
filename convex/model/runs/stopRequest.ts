import { v } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { refusal } from "../access/refusal.ts"
import { agentByIdOrSlug } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { taskOf } from "../tasks/taskView.ts"
import { stopAll, stopRun } from "./stops.ts"

/** What to stop: exactly one run, agent (its id or slug) or task. */
export const stopArgs = {
  run: v.optional(v.string()),
  agent: v.optional(v.string()),
  task: v.optional(v.string()),
  reason: v.optional(v.string())
}

export const stopAnswer = v.object({
  /** The number of runs that ended in this call. Beyond thirty, the runs of an agent or a task end shortly after. */
  stopped: v.number(),
  /** For a run: `stopped`, or its earlier outcome if it had ended. */
  outcome: v.union(v.string(), v.null())
})

/** Stops the run, the agent's runs or the task's runs. */
export const stopRequested = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  actor: Actor,
  { agent, reason = "", run, task }: { run?: string; agent?: string; task?: string; reason?: string }
): Promise<{ stopped: number; outcome: string | null }> => {
  if ([run, agent, task].filter((each) => each !== undefined).length !== 1) {
    throw refusal("invalid", "Name exactly one of run, agent and task.")
  }
  const stop = { actor, reason: cut(reason.trim(), 500) }
  if (run !== undefined) {
    const { hasStopped, outcome } = await stopRun(ctx, accountId, run, stop)
    return { stopped: hasStopped ? 1 : 0, outcome }
  }
  const target =
    task === undefined
      ? {
          agentId: (await agentByIdOrSlug(ctx, accountId, agent ?? ""))._id
        }
      : { taskId: (await taskOf(ctx, accountId, task))._id }
  return { stopped: await stopAll(ctx, accountId, target, stop), outcome: null }
}
