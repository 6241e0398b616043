import type {
  Actor,
  DeliveryContext,
  FoldedNotification,
  MessageView,
  TaskView
} from "../../src/domain/DeliveryContext.ts"

/** A person, the orchestrator and two agents, as they appear in the samples. */
export const person: Actor = { type: "person", id: "user_1", name: "Pat Person", slug: null }
export const lead: Actor = { type: "agent", id: "agent_lead", name: "Squad Lead", slug: "squad-lead" }
export const engineer: Actor = { type: "agent", id: "agent_engineer", name: "Engineer", slug: "engineer" }
export const quality: Actor = { type: "agent", id: "agent_qa", name: "QA", slug: "qa" }
export const system: Actor = { type: "system", id: null, name: "System", slug: null }

/** What an agent may do by default. */
export const defaultFlags = {
  canCreateTasks: false,
  canModifyTaskStatus: true,
  canCreateDocuments: true,
  canMentionAgents: true,
  canReviewTasks: false,
  canMarkDone: false
}

/** A message of a person. */
export const sampleMessage = (changes: Partial<MessageView> = {}): MessageView => ({
  id: "message_1",
  author: person,
  content: "Please look at the login page.",
  kind: "message",
  createdAt: 1_000,
  isCut: false,
  answersType: null,
  ...changes
})

/** One row of a fold: a person's message in a thread. */
export const sampleRow = (changes: Partial<FoldedNotification> = {}): FoldedNotification => ({
  id: "notification_1",
  type: "thread_update",
  createdAt: 1_000,
  message: sampleMessage(),
  actor: person,
  previousStatus: null,
  newStatus: null,
  request: null,
  ...changes
})

/** A task in progress that the engineer is assigned to. */
export const sampleTask = (changes: Partial<TaskView> = {}): TaskView => ({
  id: "task_1",
  title: "Fix the login page",
  description: "The button does nothing.",
  status: "in_progress",
  priority: 3,
  labels: ["web"],
  assignees: [{ id: "agent_engineer", slug: "engineer", name: "Engineer" }],
  blockedReason: null,
  dueDate: null,
  prNumber: null,
  isOrchestratorChat: false,
  createdBy: person,
  updatedAt: 1_000,
  ...changes
})

/** The engineer's context for a person's message; the notification follows the first row of the fold. */
export const sampleContext = (changes: Partial<DeliveryContext> = {}): DeliveryContext => {
  const fold = changes.fold ?? [sampleRow()]
  const first = fold[0] ?? sampleRow()
  return {
    notification: {
      id: first.id,
      type: first.type,
      createdAt: first.createdAt,
      hops: 0,
      isRequired: true,
      lane: 0
    },
    account: { id: "testaccount1", name: "Acme" },
    agent: {
      id: "agent_engineer",
      slug: "engineer",
      name: "Engineer",
      role: "Engineer",
      isOrchestrator: false,
      flags: defaultFlags
    },
    sessionKey: "agent:engineer:testaccount1",
    generation: 1,
    task: sampleTask(),
    recipientIsAssignee: true,
    thread: [sampleMessage()],
    orchestrator: { id: "agent_lead", slug: "squad-lead", name: "Squad Lead" },
    primaryPerson: { name: "Pat Person" },
    mentionableAgents: [{ slug: "qa", name: "QA", role: "Quality" }],
    repositoryDocument: null,
    documents: [],
    briefing: null,
    taskOverview: null,
    earlier: { attempts: 0, lastError: null, effects: [] },
    failures: 0,
    silences: 0,
    sharedSince: null,
    ...changes,
    fold
  }
}
