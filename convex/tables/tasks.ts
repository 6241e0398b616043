import { defineTable } from "convex/server"
import { v } from "convex/values"
import { actor } from "./actor.ts"

export const taskStatus = v.union(
  v.literal("inbox"),
  v.literal("assigned"),
  v.literal("in_progress"),
  v.literal("review"),
  v.literal("done"),
  v.literal("blocked"),
  v.literal("archived")
)

export const taskTables = {
  tasks: defineTable({
    accountId: v.id("accounts"),
    title: v.string(),
    description: v.string(),
    /** Title and description, for the search index. */
    searchText: v.string(),
    status: taskStatus,
    /** 1 (highest) to 5. */
    priority: v.number(),
    labels: v.array(v.string()),
    isOrchestratorChat: v.boolean(),
    assigneeIds: v.array(v.id("agents")),
    blockedReason: v.union(v.string(), v.null()),
    dueDate: v.union(v.number(), v.null()),
    prNumber: v.union(v.number(), v.null()),
    /** Agents have used up their turns on it until a person acts on it. */
    isAtTurnLimit: v.boolean(),
    createdBy: actor,
    /** The run (notification or heartbeat) in which an agent created it. */
    createdInRun: v.optional(v.string()),
    /** By field: when a person set the current value, and the person's name. */
    decided: v.optional(v.record(v.string(), v.object({ at: v.number(), by: v.string() }))),
    updatedAt: v.number()
  })
    .index("by_account_age", ["accountId"])
    .index("by_status", ["accountId", "status", "updatedAt"])
    .index("by_account", ["accountId", "updatedAt"])
    .searchIndex("search_text", { searchField: "searchText", filterFields: ["accountId"] }),

  /**
   * One row per task and assignee, with the task's status and updatedAt, so that listing an agent's tasks reads only
   * those.
   */
  assignments: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    agentId: v.id("agents"),
    status: taskStatus,
    updatedAt: v.number()
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId"])
    .index("by_agent", ["agentId", "status", "updatedAt"]),

  /** One row per task and author. Only the author's own messages and status changes write it. */
  participants: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    /** The id of the agent or member. */
    authorId: v.string(),
    lastMessageAt: v.union(v.number(), v.null()),
    /** When the author last wrote in the thread or changed the task's status. */
    lastSignAt: v.number()
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId", "authorId"]),

  /**
   * What agents did on a task since a person last acted on it; a person's action deletes the row. Separate from the
   * task, because each first claim writes it.
   */
  taskLoops: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    /** The number of agents' turns on the task. */
    turns: v.number(),
    /** A person was notified that a chain of turns reached the hop limit. */
    isHopLimitTold: v.boolean()
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId"]),

  subscriptions: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    agentId: v.optional(v.id("agents")),
    memberId: v.optional(v.id("members")),
    /** The subscription ends with the assignment unless the subscriber also participated. */
    isAssignee: v.boolean(),
    hasTakenPart: v.boolean()
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId"])
    .index("by_agent", ["taskId", "agentId"])
    .index("by_member", ["taskId", "memberId"])
    .index("by_agent_all", ["agentId"])
    .index("by_member_all", ["memberId"]),

  /** Pull requests to link on GitHub. */
  pullRequestLinks: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    prNumber: v.number(),
    state: v.union(v.literal("pending"), v.literal("linked"), v.literal("failed")),
    attempts: v.number(),
    error: v.optional(v.string())
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId", "prNumber"])
}
