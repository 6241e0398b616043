import { defineSchema, defineTable } from "convex/server"
import { type Infer, v } from "convex/values"
import { actor } from "./model/actor.ts"

export const taskStatus = v.union(
  v.literal("inbox"),
  v.literal("assigned"),
  v.literal("in_progress"),
  v.literal("review"),
  v.literal("done"),
  v.literal("blocked"),
  v.literal("archived")
)

export const notificationType = v.union(
  v.literal("mention"),
  v.literal("thread_update"),
  v.literal("assignment"),
  v.literal("status_change"),
  v.literal("response_request")
)
export type NotificationType = Infer<typeof notificationType>

/** Where a notification stands; `unread` is the only state of a person's. */
export const notificationState = v.union(
  v.literal("ready"),
  v.literal("claimed"),
  v.literal("folded"),
  v.literal("waiting"),
  v.literal("delivered"),
  v.literal("dead"),
  v.literal("discarded"),
  v.literal("unread")
)

export const notificationOutcome = v.union(
  v.literal("replied"),
  v.literal("acted"),
  v.literal("skipped"),
  v.literal("coalesced"),
  v.literal("fallback")
)

export const messageKind = v.union(v.literal("message"), v.literal("reply"), v.literal("fallback"), v.literal("note"))

/** What an account or an agent says about its flags; what neither says is the default. */
export const flagSettings = v.object({
  canCreateTasks: v.optional(v.boolean()),
  canModifyTaskStatus: v.optional(v.boolean()),
  canCreateDocuments: v.optional(v.boolean()),
  canMentionAgents: v.optional(v.boolean()),
  canReviewTasks: v.optional(v.boolean()),
  canMarkDone: v.optional(v.boolean())
})

export const role = v.union(v.literal("owner"), v.literal("admin"), v.literal("member"))

export const documentType = v.union(
  v.literal("deliverable"),
  v.literal("note"),
  v.literal("template"),
  v.literal("reference")
)

export const runtimeStatus = v.union(
  v.literal("booting"),
  v.literal("online"),
  v.literal("degraded"),
  v.literal("draining"),
  v.literal("offline")
)

export const versions = v.object({ runtime: v.string(), openclaw: v.union(v.string(), v.null()) })

export const infrastructure = v.object({
  dropletId: v.union(v.string(), v.null()),
  ipAddress: v.union(v.string(), v.null()),
  region: v.union(v.string(), v.null())
})

/** Why a turn failed: the class of design, a redacted text, and when (epoch milliseconds). */
export const failure = v.object({ class: v.string(), message: v.string(), at: v.number() })

/** The one live turn of a session. `holder` is the run: a notification's id or a heartbeat's. */
export const lease = v.object({
  runtimeId: v.string(),
  bootId: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  holder: v.string(),
  kind: v.union(v.literal("notification"), v.literal("heartbeat")),
  /** Its runtime runs nothing beside it, because the row's last two attempts took a runtime with them. */
  alone: v.boolean(),
  /** Its row's budget was used up when it was claimed: no attempt was taken, and none can be given back. */
  spent: v.optional(v.boolean()),
  generation: v.number(),
  taskId: v.optional(v.id("tasks"))
})

/** How a lease ended, so that repeating the call that ended it answers as the first time. */
export const leaseEnd = v.object({ epoch: v.number(), kind: v.string(), answer: v.any() })

export const usage = v.object({ inputTokens: v.number(), outputTokens: v.number(), totalTokens: v.number() })

/** All times are epoch milliseconds of the control plane. */
export default defineSchema({
  accounts: defineTable({
    name: v.string(),
    agentFlags: flagSettings,
    /** `task` gives an agent one session per task instead of one for all. */
    sessionScope: v.union(v.literal("agent"), v.literal("task")),
    briefing: v.union(v.string(), v.null()),
    /** Grows with every change of agents, skills or flags; the pulse and agents:list carry it. */
    rosterRevision: v.number()
  }),

  members: defineTable({
    accountId: v.id("accounts"),
    tokenIdentifier: v.string(),
    name: v.string(),
    /** The name in lower case, as mentions look it up. */
    nameKey: v.string(),
    role
  })
    .index("by_account", ["accountId"])
    .index("by_name", ["accountId", "nameKey"])
    .index("by_identity", ["tokenIdentifier", "accountId"]),

  serviceTokens: defineTable({
    accountId: v.id("accounts"),
    hash: v.string(),
    label: v.string(),
    createdBy: actor,
    revokedAt: v.optional(v.number())
  })
    .index("by_hash", ["hash"])
    .index("by_account", ["accountId"]),

  agents: defineTable({
    accountId: v.id("accounts"),
    slug: v.string(),
    name: v.string(),
    /** The name in lower case, as mentions look it up. */
    nameKey: v.string(),
    role: v.string(),
    isOrchestrator: v.boolean(),
    flags: flagSettings,
    /** Minutes between beats, or a cron expression in UTC. */
    heartbeat: v.union(v.number(), v.string()),
    model: v.union(v.string(), v.null()),
    skillIds: v.array(v.id("skills")),
    removedAt: v.optional(v.number())
  })
    .index("by_account", ["accountId", "removedAt"])
    .index("by_slug", ["accountId", "removedAt", "slug"])
    .index("by_name", ["accountId", "removedAt", "nameKey"])
    .index("by_orchestrator", ["accountId", "removedAt", "isOrchestrator"]),

  /** One per agent: what its workspace files are made of. Apart from agents, because many mutations read the roster. */
  agentTexts: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    soul: v.string(),
    identity: v.string(),
    userText: v.string()
  }).index("by_agent", ["agentId"]),

  skills: defineTable({
    accountId: v.id("accounts"),
    slug: v.string(),
    name: v.string(),
    description: v.string(),
    content: v.string(),
    isEnabled: v.boolean()
  }).index("by_account", ["accountId", "slug"]),

  tasks: defineTable({
    accountId: v.id("accounts"),
    title: v.string(),
    description: v.string(),
    /** Title and description together, for the search index. */
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
    createdBy: actor,
    /** The run (notification or heartbeat) in which an agent created it. */
    createdInRun: v.optional(v.string()),
    updatedAt: v.number()
  })
    .index("by_status", ["accountId", "status", "updatedAt"])
    .index("by_account", ["accountId", "updatedAt"])
    .searchIndex("search_text", { searchField: "searchText", filterFields: ["accountId"] }),

  /** One row per task and assignee, with the task's status and updatedAt, so that an agent's tasks cost their number. */
  assignments: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    agentId: v.id("agents"),
    status: taskStatus,
    updatedAt: v.number()
  })
    .index("by_task", ["taskId"])
    .index("by_agent", ["agentId", "status", "updatedAt"]),

  /** One row per task and author. Only the author's own messages and status changes write it. */
  participants: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    /** The id of the agent or member. */
    authorId: v.string(),
    lastMessageAt: v.union(v.number(), v.null()),
    /** When the author last wrote here or changed the task's status. */
    lastSignAt: v.number()
  }).index("by_task", ["taskId", "authorId"]),

  /** Tasks whose hop limit a person was told of; the row is deleted when a person writes. */
  hopNotices: defineTable({ accountId: v.id("accounts"), taskId: v.id("tasks") }).index("by_task", ["taskId"]),

  subscriptions: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    agentId: v.optional(v.id("agents")),
    memberId: v.optional(v.id("members")),
    /** Ends with the assignment, unless the subscriber also took part. */
    isAssignee: v.boolean(),
    hasTakenPart: v.boolean()
  })
    .index("by_task", ["taskId"])
    .index("by_agent", ["taskId", "agentId"])
    .index("by_member", ["taskId", "memberId"])
    .index("by_agent_all", ["agentId"])
    .index("by_member_all", ["memberId"]),

  messages: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    author: actor,
    content: v.string(),
    kind: messageKind,
    hops: v.number(),
    /** The run, its epoch and the type of what it answered, when a run wrote it. */
    runId: v.optional(v.string()),
    epoch: v.optional(v.number()),
    answersType: v.optional(notificationType),
    isTruncated: v.optional(v.boolean())
  }).index("by_task", ["taskId"]),

  documents: defineTable({
    accountId: v.id("accounts"),
    taskId: v.optional(v.id("tasks")),
    title: v.string(),
    content: v.string(),
    type: documentType,
    author: actor,
    /** The one document that tells every agent where the code lives. */
    isRepository: v.boolean(),
    updatedAt: v.number()
  })
    .index("by_task", ["taskId", "updatedAt"])
    .index("by_account", ["accountId", "updatedAt"])
    .index("by_type", ["accountId", "type", "updatedAt"])
    .index("by_repository", ["accountId", "isRepository"]),

  activities: defineTable({
    accountId: v.id("accounts"),
    type: v.string(),
    actor,
    taskId: v.optional(v.id("tasks")),
    summary: v.string()
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId"]),

  /** One per agent (and task, where the account says so): the unit of exclusion. The last seven fields serve indexes. */
  sessions: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    taskId: v.optional(v.id("tasks")),
    generation: v.number(),
    /** Takes effect at the next claim. */
    nextGeneration: v.optional(v.number()),
    epoch: v.number(),
    lease: v.optional(lease),
    recentEnds: v.array(leaseEnd),
    isLeased: v.boolean(),
    /** Of the best ready row: the lowest lane, then the oldest. */
    lane: v.optional(v.number()),
    readyAt: v.optional(v.number()),
    /** readyAt of the oldest ready row of any lane. */
    oldestAt: v.optional(v.number()),
    /** The least nextAttemptAt of its waiting rows. */
    retryAt: v.optional(v.number()),
    /** Since when its oldest ready row that must run alone could have been claimed. */
    aloneAt: v.optional(v.number()),
    expiresAt: v.optional(v.number()),
    leaseRuntimeId: v.optional(v.string())
  })
    .index("by_agent", ["agentId", "taskId"])
    .index("by_lane", ["accountId", "isLeased", "lane", "readyAt"])
    .index("by_oldest", ["accountId", "isLeased", "oldestAt"])
    .index("by_retry", ["accountId", "isLeased", "retryAt"])
    .index("by_alone", ["accountId", "isLeased", "aloneAt"])
    .index("by_expiry", ["accountId", "isLeased", "expiresAt"])
    .index("by_runtime", ["accountId", "leaseRuntimeId", "expiresAt"]),

  notifications: defineTable({
    accountId: v.id("accounts"),
    recipientType: v.union(v.literal("agent"), v.literal("person")),
    agentId: v.optional(v.id("agents")),
    memberId: v.optional(v.id("members")),
    sessionId: v.optional(v.id("sessions")),
    type: notificationType,
    taskId: v.id("tasks"),
    messageId: v.optional(v.id("messages")),
    actor,
    previousStatus: v.optional(taskStatus),
    newStatus: v.optional(taskStatus),
    /** The text of a response request, or why a person is told. */
    request: v.optional(v.string()),
    state: notificationState,
    /** 0 a person's message or mention, 1 response request, 2 assignment, 3 the rest. */
    lane: v.number(),
    readyAt: v.number(),
    nextAttemptAt: v.optional(v.number()),
    attempts: v.number(),
    /** How often it was claimed; unlike attempts never given back. */
    claims: v.number(),
    /** Consecutive failures, own and shared. */
    failures: v.number(),
    silences: v.number(),
    /** Consecutive attempts that ended by expiry or boot release. */
    crashes: v.number(),
    /** The first of an unbroken row of shared failures that are not waited for without end. */
    sharedSince: v.optional(v.number()),
    /** Since when it could have been claimed; only on a ready row that must run alone. */
    aloneAt: v.optional(v.number()),
    /** Its task, while it is an untried thread_update that can be folded. */
    foldTaskId: v.optional(v.id("tasks")),
    foldedInto: v.optional(v.id("notifications")),
    hops: v.number(),
    isRequired: v.boolean(),
    hasFallback: v.boolean(),
    /** The next try runs in the next generation, which is kept only if that try completes. */
    runsInNextGeneration: v.boolean(),
    outcome: v.optional(notificationOutcome),
    outcomeReason: v.optional(v.string()),
    error: v.optional(failure),
    usage: v.optional(usage),
    traceId: v.optional(v.string()),
    /** The root span of that trace, to which the next attempt's links. */
    spanId: v.optional(v.string()),
    endedAt: v.optional(v.number())
  })
    .index("by_state", ["accountId", "state", "readyAt"])
    .index("by_ended", ["accountId", "state", "foldedInto", "endedAt"])
    .index("by_retention", ["state", "endedAt"])
    .index("by_lane", ["sessionId", "state", "lane", "readyAt"])
    .index("by_age", ["sessionId", "state", "readyAt"])
    .index("by_retry", ["sessionId", "state", "nextAttemptAt"])
    .index("by_alone", ["sessionId", "state", "aloneAt"])
    .index("by_fold", ["sessionId", "state", "foldTaskId", "readyAt"])
    .index("by_folded_into", ["foldedInto"])
    .index("by_task", ["taskId", "state"])
    .index("by_task_age", ["taskId"])
    .index("by_account", ["accountId"])
    .index("by_request", ["agentId", "taskId", "type"])
    .index("by_member", ["memberId", "state"]),

  /** The answer to each runtime's last claim, and how many claims it made. */
  claims: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    requestId: v.string(),
    count: v.number(),
    answer: v.any()
  }).index("by_runtime", ["accountId", "runtimeId"]),

  /** What runs did, so that a creation happens once per run and arguments, and a redelivery lists it. */
  effects: defineTable({
    accountId: v.id("accounts"),
    runId: v.string(),
    tool: v.string(),
    /** SHA-256 of the canonical arguments; absent on setters, which may repeat. */
    key: v.optional(v.string()),
    summary: v.string(),
    result: v.any(),
    epoch: v.number()
  })
    .index("by_run", ["runId"])
    .index("by_key", ["runId", "tool", "key"]),

  /** One per agent; apart from agents, so that a beat re-runs no subscription of the roster. */
  heartbeats: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** The schedule by which dueAt was made. */
    schedule: v.union(v.number(), v.string()),
    dueAt: v.number(),
    /** The beat after dueAt, when the schedule is a cron expression. */
    followingAt: v.optional(v.number()),
    notBefore: v.optional(v.number()),
    requestId: v.optional(v.string()),
    attempts: v.number(),
    /** How often this beat was claimed; unlike attempts never given back. */
    tries: v.number(),
    /** Own failures of this beat. */
    failures: v.number(),
    crashes: v.number(),
    error: v.optional(failure),
    /** Of the last attempt that wrote how it ended; the span only until the next beat. */
    traceId: v.optional(v.string()),
    spanId: v.optional(v.string()),
    status: v.string(),
    currentTaskId: v.optional(v.id("tasks")),
    lastHeartbeatAt: v.optional(v.number()),
    /** Of what the agent saw at its last finished beat. */
    fingerprint: v.optional(v.string()),
    pendingFingerprint: v.optional(v.string())
  })
    .index("by_agent", ["agentId"])
    .index("by_account", ["accountId"]),

  /**
   * One per RUNTIME_ID: which boot may claim. Apart from runtimes, so that the minute's pulse does not write what every
   * claim and renewal reads.
   */
  boots: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    bootId: v.string(),
    /** The last twenty boots before this one. */
    formerBootIds: v.array(v.string())
  }).index("by_runtime", ["accountId", "runtimeId"]),

  /** One per RUNTIME_ID: presence and health. */
  runtimes: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    status: runtimeStatus,
    reasons: v.array(v.string()),
    health: v.union(v.string(), v.null()),
    versions,
    infrastructure,
    intervalMs: v.number(),
    lastPulseAt: v.number(),
    lapseJobId: v.optional(v.id("_scheduled_functions"))
  })
    .index("by_runtime", ["accountId", "runtimeId"])
    .index("by_status", ["status", "lastPulseAt"]),

  /** What people asked a runtime to do. */
  runtimeCommands: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    kind: v.union(v.literal("restart"), v.literal("upgrade"), v.literal("rollback")),
    runtimeVersion: v.union(v.string(), v.null()),
    openclawVersion: v.union(v.string(), v.null()),
    requestedBy: actor,
    state: v.union(
      v.literal("pending"),
      v.literal("taken"),
      v.literal("success"),
      v.literal("failed"),
      v.literal("rolled_back")
    ),
    isOpen: v.boolean(),
    takenAt: v.optional(v.number()),
    /** The boot that took it, and when it last said how far it is. */
    takenBy: v.optional(v.string()),
    heardAt: v.optional(v.number()),
    /** How far it is, or why it failed. */
    message: v.optional(v.string())
  })
    .index("by_open", ["accountId", "runtimeId", "isOpen"])
    .index("by_account", ["accountId"]),

  /** Whether the account's runtimes hold still; a row of its own, so that only the pause re-runs its subscribers. */
  pauses: defineTable({ accountId: v.id("accounts"), isPaused: v.boolean() }).index("by_account", ["accountId"]),

  /** Pull requests to be linked on GitHub. */
  pullRequestLinks: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    prNumber: v.number(),
    state: v.union(v.literal("pending"), v.literal("linked"), v.literal("failed")),
    attempts: v.number(),
    error: v.optional(v.string())
  }).index("by_task", ["taskId", "prNumber"])
})
