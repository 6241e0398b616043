import { type Infer, type ObjectType, type PropertyValidators, type Validator, v } from "convex/values"
import type { PolicedCall, PolicedTool } from "../../../src/domain/shared/ToolPolicy.ts"
import type { Doc } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Run } from "../runs/runs.ts"

/** A call whose checks have passed. Nothing is written before `act`. */
export interface Prepared<Result> {
  /** The task that the call concerns; null for none. */
  readonly task: Doc<"tasks"> | null
  /** The parts of the arguments that policies judge. */
  readonly judged?: Pick<PolicedCall, "status" | "priority" | "hasOutsideAssignee">
  /** The arguments that identify a creation, which happens once per run. */
  readonly once?: Readonly<Record<string, unknown>>
  /** Executes the call, in the same transaction. */
  readonly act: () => Promise<Result>
}

/** The result of a call that changes nothing, for example because a person decided otherwise during the turn. */
interface Settled<Result> {
  readonly settled: Result
}

/** A tool that changes data. A run's call and an approved call both execute it. */
export interface AgentTool<Args, Result> {
  readonly name: PolicedTool
  /** Checks the call without writing. Fails with a refusal if the agent may not make it. */
  readonly prepare: (ctx: MutationCtx, run: Run, args: Args) => Promise<Prepared<Result> | Settled<Result>>
}

/** Keeps the types between a tool's validators and its implementation. */
export const defineTool = <const Args extends PropertyValidators, Returns extends Validator<any, "required", any>>(
  tool: {
    readonly name: PolicedTool
    /** The arguments without those of the run. */
    readonly args: Args
    readonly returns: Returns
  } & Pick<AgentTool<ObjectType<Args>, Infer<Returns>>, "prepare">
) => tool

/** The answer to a call that a person must approve first. */
const needsApproval = v.object({ needsApproval: v.object({ id: v.string(), message: v.string() }) })
export type NeedsApproval = Infer<typeof needsApproval>

/** What a function answers that executes a tool. */
export const orNeedsApproval = <Returns extends Validator<any, "required", any>>(returns: Returns) =>
  v.union(returns, needsApproval)
