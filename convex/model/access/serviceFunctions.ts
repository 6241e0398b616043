import { customMutation, customQuery } from "convex-helpers/server/customFunctions"
import { v } from "convex/values"
import { mutation, query } from "../../_generated/server.js"
import { principal } from "./principal.ts"

/** Strings, so that a malformed account is refused as `unauthenticated` and not by the validator, which echoes it. */
const credentials = { accountId: v.string(), serviceToken: v.string() }

/** A query a runtime may call: the token is checked, then stripped; `ctx.accountId` is its account. */
export const serviceQuery = customQuery(query, {
  args: credentials,
  input: async (ctx, { accountId, serviceToken }) => ({
    ctx: await principal(ctx, accountId, serviceToken),
    args: {}
  })
})

/** A mutation a runtime may call: the token is checked, then stripped; `ctx.accountId` is its account. */
export const serviceMutation = customMutation(mutation, {
  args: credentials,
  input: async (ctx, { accountId, serviceToken }) => ({
    ctx: await principal(ctx, accountId, serviceToken),
    args: {}
  })
})
