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

/** The states of a notification; `unread` is the only one of a person's until it is read. */
export const notificationState = v.union(
  v.literal("ready"),
  v.literal("claimed"),
  v.literal("delivered"),
  v.literal("dead"),
  v.literal("discarded"),
  v.literal("unread")
)

export const notificationOutcome = v.union(
  v.literal("replied"),
  v.literal("acted"),
  v.literal("skipped"),
  v.literal("fallback"),
  v.literal("stopped")
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

/** What a run is for: a notification or a heartbeat. */
export const runKind = v.union(v.literal("notification"), v.literal("heartbeat"))

/** What became of a run's turn: it was answered, it failed and may have run all the same, or there was none. */
export const turnState = v.union(v.literal("answered"), v.literal("failed"), v.literal("none"))

/** Input tokens of a turn's first gateway request and of its smallest: how long the session's history is. */
export const requestTokens = v.object({ first: v.number(), least: v.number() })

/** What a session has seen of a task once a turn is answered. */
export const seenTask = v.object({
  /** The number of the text that showed everything, on which later ones build. */
  fullText: v.number(),
  generation: v.number(),
  /** When the turn was claimed. */
  at: v.number(),
  /** When the newest message that was shown was created; 0 if there was none. */
  newestAt: v.number(),
  /** The messages shown that are about as new. */
  recentIds: v.array(v.id("messages")),
  /** By part of the prompt. */
  fingerprints: v.record(v.string(), v.string())
})
/** Why a lease was taken back from its process: its run was stopped, or its agent or account is paused. */
export const recall = v.union(v.literal("stopped"), v.literal("paused"))

/** The one live turn of a session. */
export const lease = v.object({
  runtimeId: v.string(),
  bootId: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  /** The notification's id, or the agent and due moment of a heartbeat. */
  run: v.string(),
  kind: runKind,
  /** Its last two attempts ended with their process. */
  isSuspect: v.boolean(),
  generation: v.number(),
  taskId: v.optional(v.id("tasks")),
  /** When its context was built: its turn knows nothing later. */
  claimedAt: v.number(),
  /** Price-weighted tokens that budgets let it spend; absent without a budget. */
  allowance: v.optional(v.number())
})

/** Of what a budget limits the spending; a budget of neither is the account's. */
export const budgetScope = { agentId: v.optional(v.id("agents")), taskId: v.optional(v.id("tasks")) }
export const budgetPeriod = v.union(v.literal("day"), v.literal("month"), v.literal("lifetime"))
/** US dollars, or price-weighted tokens. */
export const budgetUnit = v.union(v.literal("usd"), v.literal("tokens"))

/** Why a notification may not start, and until when; null means until the budget is raised. */
export const hold = v.object({
  budgetId: v.id("budgets"),
  reason: v.string(),
  until: v.union(v.number(), v.null()),
  /** Its order and readiness before. */
  at: v.number(),
  readyAt: v.number()
})

/** How a run's last attempt ended, so that a repeated call answers as the first time. */
export const runEnd = v.object({ run: v.string(), epoch: v.number(), kind: v.string(), answer: v.any() })

/** Why an agent has pending work on a task. */
export const notificationEvent = v.object({
  type: notificationType,
  actor,
  at: v.number(),
  /** How far down a chain of agents' turns it is; 0 for a person's. */
  hops: v.number(),
  /** The run with which its chain of agents' turns began; absent for a person's. */
  chain: v.optional(v.string()),
  messageId: v.optional(v.id("messages")),
  previousStatus: v.optional(taskStatus),
  newStatus: v.optional(taskStatus),
  /** The text of a response request, or why a person is told. */
  request: v.optional(v.string()),
  /** Why the policy refused it. */
  refusal: v.optional(v.string())
})
export type NotificationEvent = Infer<typeof notificationEvent>

/** US dollars per million tokens. */
export const tokenPrice = v.object({
  input: v.number(),
  output: v.number(),
  cacheRead: v.number(),
  cacheWrite: v.number()
})

const tokens = {
  inputTokens: v.number(),
  outputTokens: v.number(),
  /** The parts of inputTokens that the provider read from its prompt cache and wrote to it. */
  cacheReadTokens: v.number(),
  cacheWriteTokens: v.number()
}

/** What an attempt did: a request to the gateway, or a tool call; `error` says how it failed. */
export const runStep = v.union(
  v.object({
    kind: v.literal("round"),
    round: v.number(),
    durationMs: v.number(),
    inputTokens: v.number(),
    outputTokens: v.number(),
    error: v.union(v.string(), v.null())
  }),
  v.object({
    kind: v.literal("tool"),
    tool: v.string(),
    durationMs: v.number(),
    error: v.union(v.string(), v.null())
  })
)

/** The latest steps of an attempt in the order in which they ended, and how many came before them. */
const timeline = { steps: v.array(runStep), stepsLeftOut: v.number() }

/** What an attempt of a run did and spent, as its runtime reports it. */
export const spending = v.object({
  ...tokens,
  /** Requests to the gateway that were answered. */
  rounds: v.number(),
  /** Requests that were not answered and may have cost something. */
  unanswered: v.number(),
  /** Input tokens of the last request that was answered: the size of the session. */
  contextTokens: v.number(),
  model: v.union(v.string(), v.null()),
  /** Of the model; null if the runtime knows none. */
  price: v.union(tokenPrice, v.null()),
  /** Its prompt built on an earlier turn's and was no full text. */
  isDelta: v.boolean(),
  ...timeline
})

/** How an attempt ended; `finished` is a heartbeat. */
export const attemptEnd = v.union(
  notificationOutcome,
  recall,
  v.literal("finished"),
  v.literal("failed"),
  v.literal("released"),
  v.literal("process_ended"),
  v.literal("lease_lost"),
  v.literal("abandoned")
)

/** What an attempt spent, as it is recorded. */
export const attemptUsage = v.object({
  ...tokens,
  rounds: v.number(),
  model: v.union(v.string(), v.null()),
  /** What the tokens cost relative to uncached input: cache read 0.1, cache write 1.25, output 5. */
  weightedTokens: v.number(),
  /** US dollars; null without a price. */
  cost: v.union(v.number(), v.null()),
  isEstimated: v.boolean()
})

/** What several attempts spent. */
export const usageSum = v.object({
  attempts: v.number(),
  ...tokens,
  weightedTokens: v.number(),
  /** The part of weightedTokens that is estimated. */
  estimatedTokens: v.number(),
  /** US dollars of everything that has a price. */
  cost: v.number(),
  /** The part of weightedTokens that has no price. */
  unpricedTokens: v.number()
})

/** Running sums as of a day of the account's time zone (YYYY-MM-DD): of that day, of its month, and of all time. */
const runningSums = { day: v.string(), today: usageSum, month: usageSum, total: usageSum }

/** All times are epoch milliseconds of the control plane. */
export default defineSchema({
  accounts: defineTable({
    name: v.string(),
    agentFlags: flagSettings,
    /** `task` gives an agent one session per task instead of one for all. */
    sessionScope: v.union(v.literal("agent"), v.literal("task")),
    briefing: v.union(v.string(), v.null()),
    /** In which days and months of usage begin, e.g. Europe/Berlin. */
    timeZone: v.string(),
    /** Of models whose price the runtimes do not know; the model * stands for all others. */
    prices: v.array(v.object({ model: v.string(), price: tokenPrice })),
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
    /** Minutes between heartbeats, or a cron expression in UTC. */
    heartbeat: v.union(v.number(), v.string()),
    model: v.union(v.string(), v.null()),
    skillIds: v.array(v.id("skills")),
    /** The first generation of its sessions: no earlier agent of this slug has used it. */
    firstGeneration: v.number(),
    removedAt: v.optional(v.number())
  })
    .index("by_account", ["accountId", "removedAt"])
    .index("by_slug_ever", ["accountId", "slug"])
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
    /** The agents' turns on it are used up until a person acts on it. */
    isAtTurnLimit: v.boolean(),
    createdBy: actor,
    /** The run (notification or heartbeat) in which an agent created it. */
    createdInRun: v.optional(v.string()),
    /** By field: when a person set its present value, and the person's name. */
    decided: v.optional(v.record(v.string(), v.object({ at: v.number(), by: v.string() }))),
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

  /**
   * What agents did on a task since a person last acted on it, upon which the row is deleted. Apart from the task,
   * because each claim writes it.
   */
  taskLoops: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    /** The turns of agents on the task. */
    turns: v.number(),
    /** A person was told that a chain of turns reached the hop limit. */
    isHopLimitTold: v.boolean()
  }).index("by_task", ["taskId"]),

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

  /** One per agent (and task, if the account says so): the unit of exclusion. */
  sessions: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** Deliveries and heartbeats of an agent run in different sessions, one at a time. */
    kind: runKind,
    taskId: v.optional(v.id("tasks")),
    generation: v.number(),
    /** Random; the mark of the fences in its prompts derives from it and the generation. */
    fenceSecret: v.string(),
    /** Takes effect at the next claim. */
    nextGeneration: v.optional(v.number()),
    /** When its last lease ended. */
    usedAt: v.optional(v.number()),
    /** Full texts with a lower number may be gone from the gateway's history, which was seen to have become shorter. */
    historyFrom: v.optional(v.number()),
    /** About how many tokens the history held at the last answered turn of this generation. */
    historyTokens: v.optional(v.number()),
    /** Its last answered request, by which requests without an answer are estimated. */
    lastRequest: v.optional(
      v.object({ inputTokens: v.number(), model: v.union(v.string(), v.null()), price: v.union(tokenPrice, v.null()) })
    ),
    epoch: v.number(),
    lease: v.optional(lease),
    /** The least `at` of its ready notifications; absent while it is leased. */
    at: v.optional(v.number()),
    /** Of the lease, for the indexes. */
    expiresAt: v.optional(v.number()),
    leaseRuntimeId: v.optional(v.string()),
    leaseTaskId: v.optional(v.id("tasks")),
    /** The lease fences nothing any more, and keeps the session until its process has aborted the turn, or it expires. */
    recalled: v.optional(recall),
    /** Runs of this generation that were stopped after they began, since a turn completed: the gateway still shows them. */
    stoppedRuns: v.array(v.string())
  })
    .index("by_agent", ["agentId", "kind", "taskId"])
    .index("by_generation", ["agentId", "generation"])
    .index("by_agent_at", ["agentId", "at"])
    .index("by_agent_expiry", ["agentId", "kind", "expiresAt"])
    .index("by_at", ["accountId", "at"])
    .index("by_recalled", ["accountId", "recalled"])
    .index("by_lease_task", ["leaseTaskId"])
    .index("by_runtime", ["accountId", "leaseRuntimeId", "expiresAt"]),

  /** What the gateway's history of a session holds of a task. Of no use after four hours. */
  seenTasks: defineTable({
    accountId: v.id("accounts"),
    sessionId: v.id("sessions"),
    taskId: v.id("tasks"),
    /** Of the last turn that showed something. */
    epoch: v.number(),
    /** With that turn, and without it: until it is answered it does not count. */
    seen: seenTask,
    before: v.union(seenTask, v.null())
  })
    .index("by_session", ["sessionId", "taskId"])
    .index("by_age", ["seen.at"]),
  /**
   * Stops of an agent's or a task's runs that have not ended all of them yet. What is older than the row is not claimed and
   * takes no more events.
   */
  stops: defineTable({
    accountId: v.id("accounts"),
    agentId: v.optional(v.id("agents")),
    taskId: v.optional(v.id("tasks")),
    /** The run that archived the task: it continues. */
    exceptRun: v.optional(v.string()),
    actor,
    reason: v.string()
  }).index("by_account", ["accountId"]),

  /** The pending work of one agent on one task, with the events that caused it; or one event that a person is told of. */
  notifications: defineTable({
    accountId: v.id("accounts"),
    recipientType: v.union(v.literal("agent"), v.literal("person")),
    agentId: v.optional(v.id("agents")),
    memberId: v.optional(v.id("members")),
    sessionId: v.optional(v.id("sessions")),
    taskId: v.id("tasks"),
    /** Oldest first, at most 50. */
    events: v.array(notificationEvent),
    /** The strongest of the events' types. */
    type: notificationType,
    /** 0 if one of the events is a person's, otherwise the most hops of an event. */
    hops: v.number(),
    /** An answer is owed to one of the events. */
    isRequired: v.boolean(),
    state: notificationState,
    /** The order of claims: when it is due, less its head start. */
    at: v.number(),
    /** Since when it could be claimed. */
    readyAt: v.number(),
    /**
     * The time of its retry, or of the quiet that it waits for, until it is claimed: apart from readyAt, so that work that
     * is due at once conflicts with no claim.
     */
    retryAt: v.optional(v.number()),
    /** A budget keeps it waiting. */
    held: v.optional(hold),
    attempts: v.number(),
    /** How often it was claimed; unlike attempts never reduced. */
    claims: v.number(),
    /** Failures in a row, own and shared. */
    failures: v.number(),
    silences: v.number(),
    /** Attempts in a row that ended with their process. */
    crashes: v.number(),
    /** The first of an unbroken series of shared failures that have a time limit. */
    sharedSince: v.optional(v.number()),
    hasFallback: v.boolean(),
    /** The next attempt runs in the next generation, which is kept only if that attempt completes. */
    runsInNextGeneration: v.boolean(),
    outcome: v.optional(notificationOutcome),
    outcomeReason: v.optional(v.string()),
    error: v.optional(failure),
    traceId: v.optional(v.string()),
    /** The root span of that trace, to which the next attempt's links. */
    spanId: v.optional(v.string()),
    end: v.optional(runEnd),
    endedAt: v.optional(v.number())
  })
    .index("by_state", ["accountId", "state", "readyAt"])
    .index("by_ended", ["accountId", "state", "endedAt"])
    .index("by_retention", ["state", "endedAt"])
    .index("by_session", ["sessionId", "state", "at"])
    .index("by_retry", ["accountId", "retryAt"])
    .index("by_held", ["held.budgetId"])
    .index("by_untried", ["agentId", "taskId", "state", "claims"])
    .index("by_agent", ["agentId", "state"])
    .index("by_task", ["taskId", "state"])
    .index("by_task_age", ["taskId"])
    .index("by_account", ["accountId"])
    .index("by_member", ["memberId", "state"]),

  /** Who asked whom for a response about a task, so that nobody is asked twice in four hours. */
  responseRequests: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    askerId: v.id("agents"),
    recipientId: v.id("agents"),
    notificationId: v.id("notifications"),
    /** The position of its event in the notification. */
    event: v.number()
  }).index("by_pair", ["recipientId", "taskId", "askerId"]),

  /**
   * One per agent: grows when its work becomes claimable other than by time. Runtimes subscribe to the sum; a row of its
   * own, so that claims and ends re-run no subscription.
   */
  wakes: defineTable({ accountId: v.id("accounts"), agentId: v.id("agents"), count: v.number() })
    .index("by_account", ["accountId"])
    .index("by_agent", ["agentId"]),

  /** What runs did, so that a creation happens once per run and arguments, and a redelivery lists it. */
  effects: defineTable({
    accountId: v.id("accounts"),
    runId: v.string(),
    tool: v.string(),
    /** SHA-256 of the canonical arguments; absent on setters, which may repeat. */
    key: v.optional(v.string()),
    summary: v.string(),
    result: v.any(),
    epoch: v.number(),
    /** Of a created task: the chain of agents' turns in which it was created. */
    chain: v.optional(v.string())
  })
    .index("by_run", ["runId"])
    .index("by_chain", ["chain"])
    .index("by_key", ["runId", "tool", "key"]),

  /** One per run and epoch, however it ended; of heartbeats only those that sent a request to the gateway. */
  attempts: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** A heartbeat has none. */
    taskId: v.optional(v.id("tasks")),
    kind: runKind,
    run: v.string(),
    epoch: v.number(),
    /** Absent if its lease was gone when it was recorded. */
    claim: v.optional(v.object({ at: v.number(), runtimeId: v.string() })),
    endedAt: v.number(),
    end: attemptEnd,
    reason: v.optional(v.string()),
    traceId: v.optional(v.string()),
    /** Absent if no prompt was sent, or it is not known which. */
    isDelta: v.optional(v.boolean()),
    ...timeline,
    /** Null without a request to the gateway. */
    usage: v.union(attemptUsage, v.null())
  }).index("by_run", ["run", "epoch"]),

  /** One per agent and day with usage, by model. Only ends of the agent's own runs write it. */
  usageDays: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    ...runningSums,
    models: v.array(v.object({ model: v.union(v.string(), v.null()), sum: usageSum }))
  })
    .index("by_agent", ["agentId", "day"])
    .index("by_account", ["accountId", "day"])
    .index("by_day", ["day"]),

  /** One per task and agent that worked on it. Only ends of the agent's own runs write it. */
  usageTotals: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    taskId: v.id("tasks"),
    ...runningSums
  })
    .index("by_task", ["taskId", "agentId"])
    .index("by_account", ["accountId", "day"])
    .index("by_day", ["day"]),

  /** How much an account, an agent or the work on a task may spend. */
  budgets: defineTable({
    accountId: v.id("accounts"),
    ...budgetScope,
    period: budgetPeriod,
    unit: budgetUnit,
    limit: v.number(),
    /** Of the account's: the window (a day, a month or nothing) and what agents have drawn of it. */
    window: v.string(),
    drawn: v.number(),
    /** What agents had spent of it in the window when that was last counted, and when a claim last counted. */
    spent: v.number(),
    countedAt: v.number(),
    /** The windows in which people were last told of the warning and of the stop. */
    warnedIn: v.optional(v.string()),
    stoppedIn: v.optional(v.string())
  }).index("by_scope", ["accountId", "agentId", "taskId"]),

  /** What an agent drew of an account's budget in a window, in slices, so that the budget is written per slice. */
  budgetDraws: defineTable({
    budgetId: v.id("budgets"),
    agentId: v.id("agents"),
    window: v.string(),
    drawn: v.number()
  }).index("by_budget", ["budgetId", "agentId"]),

  /** One per agent; apart from agents, so that a heartbeat re-runs no subscription of the roster. */
  heartbeats: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    sessionId: v.id("sessions"),
    /** The schedule by which dueAt was calculated: minutes, or a cron expression in UTC. */
    schedule: v.union(v.number(), v.string()),
    /** The moment of this heartbeat; with the agent it identifies its run. */
    dueAt: v.number(),
    /** When it can be claimed: dueAt, or later after a failure; absent while it is claimed. */
    at: v.optional(v.number()),
    attempts: v.number(),
    /** How often this heartbeat was claimed; unlike attempts never reduced. */
    claims: v.number(),
    /** Own failures of this heartbeat, and the crashes before them. */
    failures: v.number(),
    crashes: v.number(),
    error: v.optional(failure),
    /** Of the last attempt that stored its end; the span only until the next heartbeat. */
    traceId: v.optional(v.string()),
    spanId: v.optional(v.string()),
    end: v.optional(runEnd),
    status: v.string(),
    currentTaskId: v.optional(v.id("tasks")),
    lastHeartbeatAt: v.optional(v.number()),
    /** Of what the agent saw at its last finished heartbeat. */
    fingerprint: v.optional(v.string()),
    pendingFingerprint: v.optional(v.string())
  })
    .index("by_agent", ["agentId", "at"])
    .index("by_account", ["accountId"])
    .index("by_at", ["accountId", "at"]),

  /**
   * One per RUNTIME_ID: which boot may claim. Apart from runtimes, so that the minute's pulse does not write what every
   * claim and renewal reads.
   */
  boots: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    bootId: v.string(),
    /** The last twenty boots before this one. */
    formerBootIds: v.array(v.string()),
    /** The number of the last claim that leased anything. */
    lastClaim: v.number(),
    /** It made its last claim: it releases what it held and claims no more. */
    hasEnded: v.boolean()
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
    .index("by_account", ["accountId", "status", "lastPulseAt"])
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

  /** One row while the account, or one of its agents, is paused; rows of their own, so that only a pause re-runs readers. */
  pauses: defineTable({ accountId: v.id("accounts"), agentId: v.optional(v.id("agents")), by: actor }).index(
    "by_account",
    ["accountId", "agentId"]
  ),

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
