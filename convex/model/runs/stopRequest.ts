import { v } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { refusal } from "../access/refusal.ts"
import { agentByIdOrSlug } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { taskOf } from "../tasks/taskView.ts"
import { stopAll, stopRun } from "./stops.ts"

/** What is to be stopped: exactly one of a run, an agent (its id or slug) and a task. */
export const stopArgs = {
  run: v.optional(v.string()),
  agent: v.optional(v.string()),
  task: v.optional(v.string()),
  reason: v.optional(v.string())
}

export const stopAnswer = v.object({
  /** How many runs ended in this call; those that an agent or a task has beyond thirty end right after it. */
  stopped: v.number(),
  /** Of a run: `stopped`, or what it had ended with before. */
  outcome: v.union(v.string(), v.null())
})

/** Stops what the arguments name. */
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
