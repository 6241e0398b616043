import { ConvexError, v } from "convex/values"
import { internal } from "../_generated/api.js"
import { internalMutation } from "../_generated/server.js"
import { accountFile } from "../model/fleet/accountFile.ts"
import { type Provisioned, provision } from "../model/fleet/provisioning.ts"
import { operator } from "../model/notifications/deadLetters.ts"

const plan = v.object({ changes: v.array(v.string()), createsToken: v.boolean() })

/**
 * Makes an account agree with an operator's file, and returns the changes and the text of a new service token, which is
 * not shown again. For holders of the deploy key. Reads the account with its members, agents, budgets and tokens. With
 * `isTrial` it fails with the changes, so that nothing is written.
 */
export const apply = internalMutation({
  args: { file: accountFile, isTrial: v.optional(v.boolean()) },
  returns: v.object({
    accountId: v.string(),
    changes: v.array(v.string()),
    serviceToken: v.union(v.string(), v.null())
  }),
  handler: async (ctx, { file, isTrial = false }): Promise<Provisioned> => {
    const done = await provision(ctx, file, operator)
    if (!isTrial) return done
    throw new ConvexError({ trial: { changes: done.changes, createsToken: done.serviceToken !== null } })
  }
})

interface Plan {
  readonly changes: Array<string>
  readonly createsToken: boolean
}

/** The plan in the failure of a trial; undefined for any other failure. */
const planIn = (error: unknown): Plan | undefined => {
  const data: unknown = error instanceof ConvexError ? error.data : undefined
  return typeof data === "object" && data !== null && "trial" in data ? (data.trial as Plan) : undefined
}

/**
 * The changes that `apply` would make, found by applying the file in a transaction that is rolled back, so that it
 * fails as `apply` would. For holders of the deploy key. Reads the same.
 */
export const dryRun = internalMutation({
  args: { file: accountFile },
  returns: plan,
  handler: async (ctx, { file }): Promise<Plan> => {
    try {
      await ctx.runMutation(internal.operator.provisioning.apply, { file, isTrial: true })
    } catch (error) {
      const found = planIn(error)
      if (found !== undefined) return found
      throw error
    }
    throw new Error("The trial was not rolled back.")
  }
})
