import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { timeOutCommand as timeOut } from "../model/runtimes/commands.ts"
import { lapse as lapseRuntime } from "../model/runtimes/presence.ts"

/** Marks a runtime offline whose pulse did not come in time. Scheduled by each pulse, which cancels the one before. */
export const lapse = internalMutation({
  args: { id: v.id("runtimes"), lastPulseAt: v.number() },
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    await lapseRuntime(ctx, args)
    return null
  }
})

/** Gives up a command that was not taken, or an upgrade of which nothing was heard. Scheduled when it is requested or taken. */
export const timeOutCommand = internalMutation({
  args: { id: v.id("runtimeCommands") },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    await timeOut(ctx, id)
    return null
  }
})
