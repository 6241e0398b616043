/** Requests for approval and policies for tools, as the commands for people show them. */
import { Schema } from "effect"
import { taskStatuses } from "../shared/TaskStatus.ts"
import { policedTools, policyEffects } from "../shared/ToolPolicy.ts"
import { shortIds } from "../text/ShortId.ts"
import { textTable } from "../text/TextTable.ts"
import { minute } from "./PersonViews.ts"

export const Approval = Schema.Struct({
  id: Schema.String,
  state: Schema.Literals(["pending", "approved", "denied", "expired", "withdrawn"]),
  agentSlug: Schema.NullOr(Schema.String),
  tool: Schema.Literals(policedTools),
  arguments: Schema.String,
  hash: Schema.String,
  run: Schema.String,
  taskId: Schema.String,
  taskTitle: Schema.NullOr(Schema.String),
  taskStatus: Schema.Literals(taskStatuses),
  createdAt: Schema.Finite,
  expiresAt: Schema.Finite,
  endedAt: Schema.NullOr(Schema.Finite),
  decidedBy: Schema.NullOr(Schema.Struct({ name: Schema.String })),
  reason: Schema.NullOr(Schema.String),
  result: Schema.NullOr(Schema.String)
})
export type Approval = typeof Approval.Type

export const Policy = Schema.Struct({
  id: Schema.String,
  tool: Schema.Literals(policedTools),
  effect: Schema.Literals(policyEffects),
  agentSlug: Schema.NullOr(Schema.String),
  role: Schema.optionalKey(Schema.String),
  when: Schema.optionalKey(Schema.String)
})
export type Policy = typeof Policy.Type

const agentOf = ({ agentSlug }: Approval): string => (agentSlug === null ? "-" : `@${agentSlug}`)

/** The requests in a table, without their arguments: all open, or all ended. */
export const approvalTable = (approvals: ReadonlyArray<Approval>): string => {
  const isOpen = approvals.every(({ state }) => state === "pending")
  const short = shortIds(approvals.map(({ id }) => id))
  return textTable(
    ["APPROVAL", "STATE", "AGENT", "TOOL", isOpen ? "EXPIRES (UTC)" : "ENDED (UTC)", "TASK"],
    approvals.map((approval) => [
      short(approval.id),
      approval.state,
      agentOf(approval),
      approval.tool,
      minute(approval.endedAt ?? approval.expiresAt),
      approval.taskTitle ?? approval.taskId
    ])
  )
}

const indented = (json: string): string => JSON.stringify(JSON.parse(json), null, 2).replaceAll("\n", "\n            ")

/** One request with everything that a person needs for a decision. */
export const describeApproval = (approval: Approval): string => {
  const { createdAt, decidedBy, endedAt, expiresAt, hash, id, reason, result, run, state, tool } = approval
  const by = decidedBy === null ? "" : ` by ${decidedBy.name}`
  return [
    `id          ${id}`,
    `state       ${state}${by}${endedAt === null ? "" : `, ${minute(endedAt)} UTC`}`,
    ...(reason === null ? [] : [`reason      ${reason}`]),
    `agent       ${agentOf(approval)}`,
    `tool        ${tool}`,
    `task        ${approval.taskTitle ?? "-"} (${approval.taskId}), ${approval.taskStatus} when asked`,
    `asked       ${minute(createdAt)} UTC`,
    ...(state === "pending" ? [`expires     ${minute(expiresAt)} UTC`] : []),
    `run         ${run}`,
    `sha256      ${hash}`,
    `arguments   ${indented(approval.arguments)}`,
    ...(result === null ? [] : [`result      ${indented(result)}`]),
    ...(state === "pending" ? [`decide      approvals approve ${shortIds([id])(id)}, or approvals deny`] : [])
  ].join("\n")
}

/** The policies in a table. */
export const policyTable = (policies: ReadonlyArray<Policy>): string => {
  const short = shortIds(policies.map(({ id }) => id))
  return textTable(
    ["POLICY", "TOOL", "EFFECT", "FOR", "WHEN"],
    policies.map(({ agentSlug, effect, id, role, tool, when }) => [
      short(id),
      tool,
      effect,
      agentSlug !== null ? `@${agentSlug}` : role === undefined ? "all agents" : `role ${role}`,
      when ?? "always"
    ])
  )
}
