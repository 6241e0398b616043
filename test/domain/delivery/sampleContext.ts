import type {
  Actor,
  DeliveryContext,
  MessageView,
  NotificationEvent,
  TaskView
} from "../../../src/domain/delivery/DeliveryContext.ts"
import type { BrokenRun, NotificationRun } from "../../../src/domain/delivery/Run.ts"

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

/** An event of a notification: a person's message in a thread. */
export const sampleEvent = (changes: Partial<NotificationEvent> = {}): NotificationEvent => ({
  index: 0,
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

/** The engineer of an account. */
export const sampleOwner = {
  account: { id: "testaccount1", name: "Acme" },
  agent: {
    id: "agent_engineer",
    slug: "engineer",
    name: "Engineer",
    role: "Engineer",
    isOrchestrator: false,
    flags: defaultFlags
  }
}

/** The engineer's context for a person's message; the notification follows its first event. */
export const sampleContext = (changes: Partial<DeliveryContext> = {}): DeliveryContext => {
  const events = changes.events ?? [sampleEvent()]
  const first = events[0] ?? sampleEvent()
  return {
    notification: {
      id: "notification_1",
      type: first.type,
      createdAt: first.createdAt,
      hops: 0,
      isRequired: true
    },
    ...sampleOwner,
    sessionKey: "agent:engineer:testaccount1",
    generation: 1,
    textNumber: 7,
    delta: null,
    fenceMark: "0123456789abcdef",
    stoppedRuns: [],
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
    ...changes,
    events
  }
}

/** The engineer's run of that notification. */
export const sampleRun = (
  context: Partial<DeliveryContext> = {},
  changes: Partial<NotificationRun> = {}
): NotificationRun => ({
  kind: "notification",
  id: "notification_1",
  session: "session_1",
  epoch: 7,
  expiresAt: 90_000,
  attempt: 1,
  failures: 0,
  silences: 0,
  readyAt: 0,
  allowance: null,
  context: sampleContext(context),
  ...changes
})

/** The same run with a context that is missing or damaged. */
export const brokenRun = (broken: string, kind: BrokenRun["kind"] = "notification"): BrokenRun => {
  const { context: _, ...claimed } = sampleRun()
  return { ...claimed, kind, broken }
}
