import { Effect, Schema } from "effect"
import { ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { ArgumentsOf, MutationPath, QueryPath, RunSettings } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { Fence } from "../domain/delivery/Run.ts"
import { NeedsApproval, toolChanges, toolReads } from "../domain/tasks/ToolAnswer.ts"
import { patiently } from "./ControlPlaneCalls.ts"
import type { ControlPlaneCalls, Reads } from "./ControlPlaneCalls.ts"

type Functions = typeof functions
type QueryName = { [Name in keyof Functions]: Functions[Name] extends QueryPath ? Name : never }[keyof Functions]
type MutationName = { [Name in keyof Functions]: Functions[Name] extends MutationPath ? Name : never }[keyof Functions]

/** Schemas that read every answer of their functions. */
type ReadingAll<Table extends Readonly<Record<string, Schema.Top>>, Names> = {
  readonly [Name in keyof Table]: Name extends Names & keyof Functions
    ? Reads<Functions[Name], Table[Name]["Type"], Table[Name]["Encoded"]>
    : never
}

/** A query of a tool, with the function's arguments. */
type Read<Name extends QueryName, Answer extends Schema.Top> = (
  options: ArgumentsOf<Functions[Name]>
) => Effect.Effect<Answer["Type"], ControlPlaneFailure>

/**
 * A change by a tool; one with a stale fence is refused with LeaseLost before anything is written. One that a person must
 * approve is refused with the code `needs_approval`: the control plane has stored it and asked.
 */
type Change<Name extends MutationName, Answer extends Schema.Top> = (
  fence: Fence,
  options: Omit<ArgumentsOf<Functions[Name]>, keyof Fence | "settings">
) => Effect.Effect<Exclude<Answer["Type"], NeedsApproval>, ControlPlaneFailure>

/** The control plane's functions for the agents' tools, each retried during a short outage; times are epoch milliseconds. */
export type ControlPlaneTools = {
  readonly [Name in keyof typeof toolReads]: Read<Name, (typeof toolReads)[Name]>
} & {
  readonly [Name in keyof typeof toolChanges]: Change<Name, (typeof toolChanges)[Name]>
}

const reads: ReadingAll<typeof toolReads, QueryName> = toolReads
const changes: ReadingAll<typeof toolChanges, MutationName> = toolChanges

type AnyCall = (
  path: (typeof functions)[keyof typeof functions],
  answer: Schema.Top,
  options: object
) => Effect.Effect<unknown, ControlPlaneFailure>

const needsApproval = Schema.is(NeedsApproval)

const orRefused = (path: string) => (answer: unknown) => {
  if (!needsApproval(answer)) return Effect.succeed(answer)
  const detail = answer.needsApproval.message
  return Effect.fail(new ControlPlaneRefused({ function: path, code: "needs_approval", detail }))
}

export const makeControlPlaneTools = (calls: ControlPlaneCalls, settings: RunSettings): ControlPlaneTools => {
  const query = calls.query as unknown as AnyCall
  const mutation = calls.mutation as unknown as AnyCall
  const read = ([name, answer]: [string, Schema.Top]) => [
    name,
    (options: object) => patiently(query(functions[name as keyof typeof reads], answer, options))
  ]
  const change = ([name, answer]: [string, Schema.Top]) => {
    const path = functions[name as keyof typeof changes]
    return [
      name,
      ({ epoch, run, session }: Fence, options: object) =>
        Effect.flatMap(
          patiently(mutation(path, answer, { ...options, run, session, epoch, settings })),
          orRefused(path)
        )
    ]
  }
  return Object.fromEntries([
    ...Object.entries(reads).map(read),
    ...Object.entries(changes).map(change)
  ]) as ControlPlaneTools
}
