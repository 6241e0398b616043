import type { Infer } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { role } from "../../tables/accounts.ts"
import type { Actor } from "../../tables/actor.ts"
import { nameKey } from "../agents/agents.ts"
import { mustBeName } from "./accounts.ts"
import { recordActivity } from "./activities.ts"

/** The member with this identity; null if there is none. Reads one row. */
export const memberOf = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  tokenIdentifier: string
): Promise<Doc<"members"> | null> =>
  ctx.db
    .query("members")
    .withIndex("by_identity", (q) => q.eq("tokenIdentifier", tokenIdentifier).eq("accountId", accountId))
    .unique()

/** A person with their role in the account. */
export interface NewMember {
  readonly tokenIdentifier: string
  readonly name: string
  readonly role: Infer<typeof role>
}

/** Adds a member without an activity. */
export const insertMember = (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  { name: given, role, tokenIdentifier }: NewMember
): Promise<Id<"members">> => {
  const name = mustBeName(given)
  return ctx.db.insert("members", { accountId, tokenIdentifier, name, nameKey: nameKey(name), role })
}

/** Adds the person with this identity, or changes their name and role. */
export const putMember = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  member: NewMember,
  actor: Actor
): Promise<Id<"members">> => {
  const name = mustBeName(member.name)
  const { role, tokenIdentifier } = member
  const found = await memberOf(ctx, accountId, tokenIdentifier)
  if (found !== null) await ctx.db.patch("members", found._id, { name, nameKey: nameKey(name), role })
  const memberId = found?._id ?? (await insertMember(ctx, accountId, member))
  await recordActivity(ctx, { accountId, type: "member_added", actor, summary: `${name} is ${role}` })
  return memberId
}
