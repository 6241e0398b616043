import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { timeOutCommand as timeOut } from "../model/runtimes/commands.ts"
import { lapse as lapseRuntime } from "../model/runtimes/presence.ts"

/**
 * Marks a runtime as offline if its next pulse did not arrive in time. Scheduled by each pulse, which cancels the
 * previous one.
 */
export const lapse = internalMutation({
  args: { id: v.id("runtimes"), lastPulseAt: v.number() },
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    await lapseRuntime(ctx, args)
    return null
  }
})

/**
 * Fails a command that no boot took, or an upgrade without a report. Scheduled when the command is requested or taken.
 */
export const timeOutCommand = internalMutation({
  args: { id: v.id("runtimeCommands") },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    await timeOut(ctx, id)
    return null
  }
})
