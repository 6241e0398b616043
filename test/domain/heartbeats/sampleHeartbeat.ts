import type { TaskView } from "../../../src/domain/delivery/DeliveryContext.ts"
import type { HeartbeatRun } from "../../../src/domain/delivery/Run.ts"
import type { HeartbeatContext, HeartbeatTask } from "../../../src/domain/heartbeats/Heartbeat.ts"
import { defaultFlags, sampleOwner, sampleTask } from "../delivery/sampleContext.ts"

/** A task as a heartbeat sees it. */
export const sampleHeartbeatTask = (
  task: Partial<TaskView> = {},
  changes: Partial<HeartbeatTask> = {}
): HeartbeatTask => ({
  task: sampleTask(task),
  lastMessageAt: null,
  lastAssigneeAt: null,
  ...changes
})

/** The engineer's heartbeat with one task in progress. */
export const sampleHeartbeatContext = (changes: Partial<HeartbeatContext> = {}): HeartbeatContext => ({
  heartbeat: { id: "agent_engineer:1000", dueAt: 1_000, schedule: 15, lastHeartbeatAt: null },
  ...sampleOwner,
  sessionKey: "agent:engineer:testaccount1",
  generation: 1,
  fenceMark: "0123456789abcdef",
  stoppedRuns: [],
  tasks: [sampleHeartbeatTask()],
  orchestrator: { id: "agent_lead", slug: "squad-lead", name: "Squad Lead" },
  primaryPerson: { name: "Pat Person" },
  mentionableAgents: [{ slug: "qa", name: "QA", role: "Quality" }],
  briefing: null,
  earlier: { attempts: 0, effects: [] },
  isUnchanged: false,
  ...changes
})

/** The orchestrator, as it appears in its own heartbeat. */
export const orchestratorAgent: HeartbeatContext["agent"] = {
  id: "agent_lead",
  slug: "squad-lead",
  name: "Squad Lead",
  role: "plans",
  isOrchestrator: true,
  flags: defaultFlags
}

/** A claimed heartbeat. */
export const sampleHeartbeatRun = (
  context: Partial<HeartbeatContext> = {},
  changes: Partial<HeartbeatRun> = {}
): HeartbeatRun => {
  const full = sampleHeartbeatContext(context)
  return {
    kind: "heartbeat",
    id: full.heartbeat.id,
    session: `session_${full.agent.slug}`,
    epoch: 1,
    expiresAt: 90_000,
    attempt: 1,
    failures: 0,
    silences: 0,
    readyAt: full.heartbeat.dueAt,
    allowance: null,
    context: full,
    ...changes
  }
}
