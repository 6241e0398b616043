import { formatServiceToken } from "../../../src/domain/shared/ServiceToken.ts"
import type { Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { recordActivity } from "../accounts/activities.ts"
import { cut } from "../database/cut.ts"
import { randomHex } from "../database/randomHex.ts"
import { sha256 } from "../database/sha256.ts"

/** Creates a token of 256 random bits. Returns its text this one time; the database stores only its hash. */
export const provisionToken = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  label: string,
  createdBy: Actor
): Promise<{ id: Id<"serviceTokens">; serviceToken: string }> => {
  const secret = randomHex(32)
  const id = await ctx.db.insert("serviceTokens", {
    accountId,
    hash: await sha256(secret),
    label: cut(label, 100),
    createdBy
  })
  await recordActivity(ctx, {
    accountId,
    type: "token_provisioned",
    actor: createdBy,
    summary: `service token "${cut(label, 100)}" provisioned`
  })
  return { id, serviceToken: formatServiceToken({ accountId, secret }) }
}
