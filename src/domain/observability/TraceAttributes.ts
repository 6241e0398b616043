import { markdownTable } from "../text/MarkdownTable.ts"

/**
 * Every attribute of the runtime's spans: which spans have it, and what it means. The types of the attributes that code
 * may set and the table in docs/observability.md derive from it. `gen_ai.*` and `error.type` are OpenTelemetry's
 * conventions.
 */
export const traceAttributes = {
  "gen_ai.operation.name": { on: "round, tool", meaning: "`invoke_agent` or `execute_tool`" },
  "gen_ai.provider.name": { on: "round", meaning: "`openclaw`" },
  "gen_ai.agent.id": { on: "root, round, tool, endpoint", meaning: "the agent's id in Convex" },
  "gen_ai.agent.name": { on: "root, round, tool, endpoint", meaning: "the agent's name" },
  "gen_ai.conversation.id": {
    on: "root, round, tool, endpoint",
    meaning: "the session key, as the gateway knows it too"
  },
  "gen_ai.request.model": { on: "round", meaning: "`openclaw/` and the agent's slug" },
  "gen_ai.response.id": { on: "round", meaning: "the gateway's id of the run" },
  "gen_ai.response.model": { on: "root, round", meaning: "the model that answered, if the gateway's events name it" },
  "gen_ai.response.finish_reasons": { on: "round", meaning: "`tool_calls`, `stop` or `length`" },
  "gen_ai.usage.input_tokens": { on: "root, round", meaning: "of the round; on the root the sum of all rounds" },
  "gen_ai.usage.output_tokens": { on: "root, round", meaning: "the same" },
  "gen_ai.usage.cache_read.input_tokens": {
    on: "root, round",
    meaning: "the part of the input tokens that the provider read from its prompt cache"
  },
  "gen_ai.usage.cache_creation.input_tokens": {
    on: "root, round",
    meaning: "the part that it wrote to its prompt cache"
  },
  "gen_ai.tool.name": { on: "tool", meaning: "the tool that was called" },
  "gen_ai.tool.type": { on: "tool", meaning: "`function`" },
  "gen_ai.tool.call.id": { on: "tool", meaning: "the gateway's id of the call; `http` for a call of an endpoint" },
  "gen_ai.system_instructions": { on: "round", meaning: "only with `TRACE_CONTENT=true`, cut at 16,000 characters" },
  "gen_ai.input.messages": { on: "round", meaning: "the same" },
  "gen_ai.output.messages": { on: "round", meaning: "the same" },
  "gen_ai.tool.call.arguments": { on: "tool", meaning: "the same" },
  "gen_ai.tool.call.result": { on: "tool", meaning: "the same" },
  "error.type": {
    on: "any",
    meaning: "the class of the failure, or the code of a refused call; absent without a failure"
  },
  "mission_control.account.id": { on: "resource", meaning: "the account" },
  "mission_control.runtime.id": { on: "resource", meaning: "`RUNTIME_ID`" },
  "mission_control.version": { on: "resource", meaning: "the runtime's version" },
  "mission_control.gateway.version": { on: "root of a run", meaning: "the gateway's version, once it is known" },
  "mission_control.run.id": {
    on: "root of a run, round, tool, endpoint",
    meaning: "the notification or heartbeat, the same in all attempts and in the gateway's input"
  },
  "mission_control.run.kind": { on: "root of a run", meaning: "`notification` or `heartbeat`" },
  "mission_control.session": {
    on: "root of a run",
    meaning: "the session key's hash, the same as in log lines"
  },
  "mission_control.attempt": { on: "root of a run", meaning: "the attempt, from 1" },
  "mission_control.failures": { on: "root of a run", meaning: "failures in a row before it" },
  "mission_control.outcome": {
    on: "root of a run",
    meaning: "as in the metric of deliveries or heartbeats"
  },
  "mission_control.interrupted": { on: "any", meaning: "true if it was interrupted by a drain or a lost lease" },
  "mission_control.rounds": { on: "root of a run", meaning: "requests to the gateway" },
  "mission_control.tool_calls": { on: "root of a run", meaning: "calls in those rounds" },
  "mission_control.notification.id": { on: "root of a delivery", meaning: "the notification" },
  "mission_control.notification.type": { on: "root of a delivery", meaning: "its type" },
  "mission_control.event.count": { on: "root of a delivery", meaning: "how many events the notification has" },
  "mission_control.task.id": { on: "root of a delivery", meaning: "the task" },
  "mission_control.hops": { on: "root of a delivery", meaning: "the number of agents' runs in the chain before it" },
  "mission_control.silences": { on: "root of a delivery", meaning: "silences before it" },
  "mission_control.is_silence": { on: "root of a delivery", meaning: "true if an owed answer is missing" },
  "mission_control.queue.wait_ms": {
    on: "root of a run",
    meaning: "from ready (of a heartbeat: due) to claimed, in milliseconds"
  },
  "mission_control.claim.runs": { on: "ControlPlane.claim", meaning: "how many runs the claim returned" },
  "mission_control.round": { on: "round", meaning: "which round of the turn, from 1" },
  "mission_control.tool.transport": { on: "tool", meaning: "`gateway` or `http`" },
  "mission_control.agents": { on: "AgentSync, ProfileSync", meaning: "agents on the roster" },
  "mission_control.roster.revision": { on: "AgentSync", meaning: "the roster's revision" },
  "mission_control.profiles.written": { on: "ProfileSync.sync", meaning: "files written" },
  "mission_control.profiles.removed": { on: "ProfileSync.sync", meaning: "files removed" },
  "mission_control.stop.reason": { on: "Runtime.drain", meaning: "`signal`, `restart` or `upgrade`" },
  "mission_control.stop.live_turns": { on: "Runtime.drain", meaning: "turns that were running when it began" }
} as const satisfies Record<string, { readonly on: string; readonly meaning: string }>

export type AttributeName = keyof typeof traceAttributes

/** The attributes that code may set; undefined sets none. */
export type Attributes = {
  readonly [Name in AttributeName]?: string | number | boolean | ReadonlyArray<string> | undefined
}

/** The table in docs/observability.md. */
export const traceAttributesTable: string = markdownTable(
  ["attribute", "on", "meaning"],
  Object.entries(traceAttributes).map(([name, { on, meaning }]) => [`\`${name}\``, on, meaning])
)
