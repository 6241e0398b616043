import { isVersion } from "../../../src/domain/shared/Versions.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { endCommand, openCommands, timeOutIn } from "./commands.ts"

/** A command for a runtime, without its progress. */
export type RequestedCommand = Pick<
  Doc<"runtimeCommands">,
  "accountId" | "runtimeId" | "kind" | "runtimeVersion" | "openclawVersion" | "requestedBy"
>

/** The target versions of a request, null where none is given. Fails with `invalid` for none at all or a wrong form. */
export const targetOf = (args: {
  readonly runtimeVersion?: string
  readonly openclawVersion?: string
}): Pick<RequestedCommand, "runtimeVersion" | "openclawVersion"> => {
  const given = [args.runtimeVersion, args.openclawVersion].filter((version) => version !== undefined)
  if (given.length === 0)
    throw refusal("invalid", "No target version is given. Set runtimeVersion, openclawVersion or both.")
  if (!given.every(isVersion)) {
    throw refusal("invalid", "A version has 1 to 64 letters, digits, dots, pluses and hyphens.")
  }
  return { runtimeVersion: args.runtimeVersion ?? null, openclawVersion: args.openclawVersion ?? null }
}

/** The runtime's open commands that exclude one of this kind: restarts, or upgrades and rollbacks. */
export const rivalsOf = async (
  ctx: Pick<QueryCtx, "db">,
  { accountId, kind, runtimeId }: Pick<RequestedCommand, "accountId" | "runtimeId" | "kind">
): Promise<ReadonlyArray<Doc<"runtimeCommands">>> => {
  const open = await openCommands(ctx, accountId, runtimeId)
  return open.filter((command) => (command.kind === "restart") === (kind === "restart"))
}

/** How long a command waits for its runtime to take it. */
const expiryMs = 24 * 60 * 60 * 1_000

/** Ends a command that no boot has taken, so that none will. */
export const withdrawCommand = (ctx: MutationCtx, command: Doc<"runtimeCommands">, message: string): Promise<void> =>
  endCommand(ctx, command, { state: "failed", message })

/**
 * Adds a command for a runtime, and replaces an open one of the same kind. It expires after a day if it is not taken.
 * Fails with `conflict` while an upgrade or rollback is in progress that it would replace.
 */
export const requestCommand = async (ctx: MutationCtx, command: RequestedCommand): Promise<Id<"runtimeCommands">> => {
  for (const rival of await rivalsOf(ctx, command)) {
    if (rival.state === "taken") {
      throw refusal("conflict", "An upgrade or rollback of this runtime is in progress. Wait until it ends.")
    }
    await withdrawCommand(ctx, rival, "replaced")
  }
  const id = await ctx.db.insert("runtimeCommands", { ...command, state: "pending", isOpen: true })
  await timeOutIn(ctx, id, expiryMs)
  return id
}
