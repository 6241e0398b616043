import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import { internalAction, internalMutation, internalQuery } from "../_generated/server.js"
import { cut } from "../model/database/cut.ts"
import { recordLink } from "../model/tasks/pullRequests.ts"

/** A pending link: the pull request's number and the task. */
export const pending = internalQuery({
  args: { id: v.id("pullRequestLinks") },
  returns: v.union(v.object({ prNumber: v.number(), taskId: v.string(), title: v.string() }), v.null()),
  handler: async (ctx, { id }): Promise<{ prNumber: number; taskId: string; title: string } | null> => {
    const link = await ctx.db.get("pullRequestLinks", id)
    const task = link === null || link.state !== "pending" ? null : await ctx.db.get("tasks", link.taskId)
    return link === null || task === null ? null : { prNumber: link.prNumber, taskId: task._id, title: task.title }
  }
})

/** Stores the result of an attempt. */
export const record = internalMutation({
  args: { id: v.id("pullRequestLinks"), error: v.union(v.string(), v.null()) },
  returns: v.null(),
  handler: async (ctx, { id, error }): Promise<null> => {
    await recordLink(ctx, id, error)
    return null
  }
})

/** Sends a request to GitHub. Fails with the status and the start of the answer, which contains none of our secrets. */
const gitHub = async (path: string, token: string, init: RequestInit = {}): Promise<unknown> => {
  const response = await fetch(`https://api.github.com/repos/${path}`, {
    ...init,
    signal: AbortSignal.timeout(20_000),
    headers: {
      accept: "application/vnd.github+json",
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "user-agent": "mission-control",
      "x-github-api-version": "2022-11-28"
    }
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`GitHub answered ${response.status}: ${cut(text, 200)}`)
  return JSON.parse(text)
}

const bodyOf = (answer: unknown): string => {
  const body = typeof answer === "object" && answer !== null && "body" in answer ? answer.body : null
  return typeof body === "string" ? body : ""
}

/**
 * Adds the task to the pull request's description, with a hidden marker that makes a repeated attempt change nothing.
 * Scheduled when a pull request is linked, and retried with growing delays.
 */
export const link = internalAction({
  args: { id: v.id("pullRequestLinks") },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    const intent = await ctx.runQuery(internal.scheduled.gitHub.pending, { id })
    if (intent === null) return null
    let error: string | null = null
    try {
      const token = process.env["GITHUB_TOKEN"]
      const repository = process.env["GITHUB_REPO"]
      if (!token || !repository) throw new Error("GITHUB_TOKEN or GITHUB_REPO is not set on the deployment.")
      const path = `${repository}/pulls/${intent.prNumber}`
      const marker = `<!-- mission-control-task:${intent.taskId} -->`
      const body = bodyOf(await gitHub(path, token))
      if (!body.includes(marker)) {
        const line = `${marker}\nMission Control task \`${intent.taskId}\`: ${intent.title.replace(/\s+/g, " ")}`
        const next = body === "" ? line : `${body}\n\n${line}`
        await gitHub(path, token, { method: "PATCH", body: JSON.stringify({ body: next }) })
      }
    } catch (cause) {
      error = cause instanceof Error ? cause.message : String(cause)
    }
    await ctx.runMutation(internal.scheduled.gitHub.record, { id, error })
    return null
  }
})
