import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { cut } from "../database/cut.ts"

const maxAttempts = 5
const firstRetryMs = 30_000

/** Whether this deployment can link pull requests on GitHub. */
export const hasGitHub = (): boolean => Boolean(process.env["GITHUB_TOKEN"]) && Boolean(process.env["GITHUB_REPO"])

/**
 * Stores a pull request's number on the task. If the deployment has GitHub's token and repository, also schedules an
 * action that links it.
 */
export const linkPullRequest = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  prNumber: number,
  actor: Actor
): Promise<{ changed: boolean; github: "queued" | "off" }> => {
  if (!(Number.isInteger(prNumber) && prNumber >= 1 && prNumber <= 1_000_000_000)) {
    throw refusal("invalid", "The number of a pull request is a whole number of 1 or more.")
  }
  const changed = task.prNumber !== prNumber
  if (changed) {
    await ctx.db.patch("tasks", task._id, { prNumber, updatedAt: Date.now() })
    await recordActivity(ctx, {
      accountId: task.accountId,
      type: "pull_request_linked",
      actor,
      taskId: task._id,
      summary: `pull request #${prNumber}`
    })
  }
  if (!hasGitHub()) return { changed, github: "off" }
  const found = await ctx.db
    .query("pullRequestLinks")
    .withIndex("by_task", (q) => q.eq("taskId", task._id).eq("prNumber", prNumber))
    .first()
  // A pending link is in progress and a linked one is done. A failed one is tried again.
  if (found !== null && found.state !== "failed") return { changed, github: "queued" }
  const intent = { state: "pending" as const, attempts: 0 }
  const id =
    found?._id ??
    (await ctx.db.insert("pullRequestLinks", { accountId: task.accountId, taskId: task._id, prNumber, ...intent }))
  if (found !== null) await ctx.db.patch("pullRequestLinks", id, { ...intent, error: undefined })
  await ctx.scheduler.runAfter(0, internal.scheduled.gitHub.link, { id })
  return { changed, github: "queued" }
}

/** Stores the result of an attempt to link. A failed attempt is retried; the last failure becomes an activity. */
export const recordLink = async (ctx: MutationCtx, id: Id<"pullRequestLinks">, error: string | null): Promise<void> => {
  const link = await ctx.db.get("pullRequestLinks", id)
  if (link === null || link.state !== "pending") return
  const attempts = link.attempts + 1
  const isOver = error === null || attempts >= maxAttempts
  await ctx.db.patch("pullRequestLinks", id, {
    attempts,
    state: error === null ? "linked" : isOver ? "failed" : "pending",
    error: error === null ? undefined : cut(error, 500)
  })
  if (!isOver) {
    await ctx.scheduler.runAfter(firstRetryMs * 2 ** link.attempts, internal.scheduled.gitHub.link, { id })
    return
  }
  await recordActivity(ctx, {
    accountId: link.accountId,
    type: error === null ? "pull_request_linked_on_github" : "pull_request_link_failed",
    actor: systemActor,
    taskId: link.taskId,
    summary:
      error === null
        ? `pull request #${link.prNumber} names this task on GitHub`
        : `pull request #${link.prNumber} could not be linked on GitHub: ${cut(error, 300)}`
  })
}
