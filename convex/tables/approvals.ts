import { defineTable } from "convex/server"
import { type Infer, v } from "convex/values"
import { policedTools, policyEffects } from "../../src/domain/shared/ToolPolicy.ts"
import { actor } from "./actor.ts"
import { runKind, runSettings } from "./runs.ts"
import { taskStatus } from "./tasks.ts"

export const policedTool = v.union(...policedTools.map((tool) => v.literal(tool)))

export const policyEffect = v.union(...policyEffects.map((effect) => v.literal(effect)))

/** A policy for calls of a tool by an agent, by agents of a role, or by every agent of the account. */
export const toolPolicy = v.object({
  id: v.string(),
  tool: policedTool,
  effect: policyEffect,
  agentId: v.optional(v.id("agents")),
  role: v.optional(v.string()),
  /** A condition on the arguments, such as status=done. */
  when: v.optional(v.string())
})
export type StoredPolicy = Infer<typeof toolPolicy>

/** `withdrawn`: its run, agent or task was stopped before a person decided. */
export const approvalState = v.union(
  v.literal("pending"),
  v.literal("approved"),
  v.literal("denied"),
  v.literal("expired"),
  v.literal("withdrawn")
)

export const approvalTables = {
  /** A call of a tool that a person must approve before it is executed. */
  approvals: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** The run that called the tool, with the fields that its effects need. */
    run: v.string(),
    kind: runKind,
    epoch: v.number(),
    chain: v.string(),
    settings: runSettings,
    /** The notification's task, in which the agent is notified of the decision; absent for a heartbeat. */
    runTaskId: v.optional(v.id("tasks")),
    tool: policedTool,
    args: v.record(v.string(), v.any()),
    /** SHA-256 of the tool and the canonical arguments. */
    hash: v.string(),
    /** The task that the call concerns, and its status and assignees when the agent asked. */
    taskId: v.id("tasks"),
    taskStatus,
    assigneeIds: v.array(v.id("agents")),
    state: approvalState,
    expiresAt: v.number(),
    /** The notification of the person who was asked. */
    noticeId: v.optional(v.id("notifications")),
    endedAt: v.optional(v.number()),
    /** Who approved, denied or withdrew it. */
    decidedBy: v.optional(actor),
    reason: v.optional(v.string()),
    /** The result of the executed call. */
    result: v.optional(v.any())
  })
    .index("by_account", ["accountId"])
    .index("by_state", ["accountId", "state"])
    .index("by_run", ["run", "state"])
    .index("by_agent", ["agentId", "state"])
    .index("by_task", ["taskId", "state"])
    .index("by_run_task", ["runTaskId", "state"])
    .index("by_retention", ["endedAt"])
}
