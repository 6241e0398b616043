import { customMutation, customQuery } from "convex-helpers/server/customFunctions"
import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import { mutation, query, type QueryCtx } from "../../_generated/server.js"
import type { role } from "../../tables/accounts.ts"
import type { Actor } from "../../tables/actor.ts"
import { personActor } from "../accounts/actor.ts"
import { refusal } from "./refusal.ts"

/** The person who calls a function, as a member of the account. */
export interface Caller {
  readonly accountId: Id<"accounts">
  readonly member: Doc<"members">
  readonly actor: Actor
}

/** The identity of the person who calls. Fails with `unauthenticated` if no one is signed in. */
export const signedIn = async (ctx: Pick<QueryCtx, "auth">) => {
  const identity = await ctx.auth.getUserIdentity()
  if (identity === null) throw refusal("unauthenticated", "No one is signed in. Sign in and call again.")
  return identity
}

/**
 * The caller's membership. Fails with `forbidden` if the account is unknown or the caller is not a member; the two look
 * alike.
 */
const membership = async (ctx: Pick<QueryCtx, "auth" | "db">, accountId: string): Promise<Caller> => {
  const identity = await signedIn(ctx)
  const id = ctx.db.normalizeId("accounts", accountId)
  const member =
    id === null
      ? null
      : await ctx.db
          .query("members")
          .withIndex("by_identity", (q) => q.eq("tokenIdentifier", identity.tokenIdentifier).eq("accountId", id))
          .unique()
  if (id === null || member === null) {
    throw refusal("forbidden", "You are not a member of this account. Ask its owner to add you.")
  }
  return { accountId: id, member, actor: personActor(member) }
}

/** Fails with `forbidden` unless the caller is an owner or admin. */
const mustManage = (caller: Caller): Caller => {
  const roles: ReadonlyArray<Infer<typeof role>> = ["owner", "admin"]
  if (!roles.includes(caller.member.role)) {
    throw refusal("forbidden", "Only an owner or admin may do this. Ask one of them.")
  }
  return caller
}

const args = { accountId: v.string() }

/** A query that any member of the account may call. Reads one row for the membership. */
export const memberQuery = customQuery(query, {
  args,
  input: async (ctx, { accountId }) => ({ ctx: await membership(ctx, accountId), args: {} })
})

/** A mutation that any member of the account may call. Reads one row for the membership. */
export const memberMutation = customMutation(mutation, {
  args,
  input: async (ctx, { accountId }) => ({ ctx: await membership(ctx, accountId), args: {} })
})

/** A query that only owners and admins may call. Reads one row for the membership. */
export const managerQuery = customQuery(query, {
  args,
  input: async (ctx, { accountId }) => ({ ctx: mustManage(await membership(ctx, accountId)), args: {} })
})

/** A mutation that only owners and admins may call. Reads one row for the membership. */
export const managerMutation = customMutation(mutation, {
  args,
  input: async (ctx, { accountId }) => ({ ctx: mustManage(await membership(ctx, accountId)), args: {} })
})
