import { customMutation, customQuery } from "convex-helpers/server/customFunctions"
import { v } from "convex/values"
import { mutation, query } from "../../_generated/server.js"
import { principal } from "./principal.ts"

/**
 * Strings, so that a malformed account id is refused as `unauthenticated` and not by the validator, which would echo
 * it.
 */
const credentials = { accountId: v.string(), serviceToken: v.string() }

/** A query that a runtime may call. Checks and removes the token; `ctx.accountId` is its account. */
export const serviceQuery = customQuery(query, {
  args: credentials,
  input: async (ctx, { accountId, serviceToken }) => ({
    ctx: await principal(ctx, accountId, serviceToken),
    args: {}
  })
})

/** A mutation that a runtime may call. Checks and removes the token; `ctx.accountId` is its account. */
export const serviceMutation = customMutation(mutation, {
  args: credentials,
  input: async (ctx, { accountId, serviceToken }) => ({
    ctx: await principal(ctx, accountId, serviceToken),
    args: {}
  })
})
