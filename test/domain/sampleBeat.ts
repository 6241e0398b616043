import type { TaskView } from "../../src/domain/DeliveryContext.ts"
import type { BeatContext, BeatTask, ClaimedBeat } from "../../src/domain/Heartbeat.ts"
import { defaultFlags, sampleTask } from "./sampleContext.ts"

/** A task as a heartbeat sees it. */
export const sampleBeatTask = (task: Partial<TaskView> = {}, changes: Partial<BeatTask> = {}): BeatTask => ({
  task: sampleTask(task),
  lastMessageAt: null,
  lastAssigneeAt: null,
  ...changes
})

/** The engineer's heartbeat with one task in progress. */
export const sampleBeatContext = (changes: Partial<BeatContext> = {}): BeatContext => ({
  heartbeat: { id: "agent_engineer:1000", dueAt: 1_000, schedule: 15, lastHeartbeatAt: null },
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
  tasks: [sampleBeatTask()],
  orchestrator: { id: "agent_lead", slug: "squad-lead", name: "Squad Lead" },
  primaryPerson: { name: "Pat Person" },
  mentionableAgents: [{ slug: "qa", name: "QA", role: "Quality" }],
  briefing: null,
  earlier: { attempts: 0, effects: [] },
  failures: 0,
  isUnchanged: false,
  ...changes
})

/** The orchestrator, as it appears in its own heartbeat. */
export const orchestratorAgent: BeatContext["agent"] = {
  id: "agent_lead",
  slug: "squad-lead",
  name: "Squad Lead",
  role: "plans",
  isOrchestrator: true,
  flags: defaultFlags
}

/** A claimed heartbeat. */
export const sampleBeat = (context: Partial<BeatContext> = {}, changes: Partial<ClaimedBeat> = {}): ClaimedBeat => {
  const full = sampleBeatContext(context)
  return {
    heartbeatId: full.heartbeat.id,
    session: `session_${full.agent.slug}`,
    epoch: 1,
    expiresAt: 90_000,
    attempt: 1,
    context: full,
    ...changes
  }
}
