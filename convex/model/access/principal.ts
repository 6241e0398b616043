import { parseServiceToken } from "../../../src/domain/shared/ServiceToken.ts"
import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { sha256 } from "../database/sha256.ts"
import { refusal } from "./refusal.ts"

/** Who calls a service function. */
export interface Principal {
  readonly accountId: Id<"accounts">
}

/**
 * Returns the account of a service token. The only place that authenticates runtimes. Fails with `unauthenticated` if
 * the account id or the token is malformed, or the token is unknown or revoked, and with `forbidden` if the token
 * belongs to another account. Reads one row, so that a revocation reaches open subscriptions at once.
 */
export const principal = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: string,
  serviceToken: string
): Promise<Principal> => {
  const parts = parseServiceToken(serviceToken)
  if (parts === null) {
    throw refusal("unauthenticated", "The service token is malformed. Provision one and set SERVICE_TOKEN to it.")
  }
  const hash = await sha256(parts.secret)
  const row = await ctx.db
    .query("serviceTokens")
    .withIndex("by_hash", (q) => q.eq("hash", hash))
    .unique()
  if (row === null || row.revokedAt !== undefined) {
    throw refusal("unauthenticated", "The service token is unknown or revoked. Provision a new one for this account.")
  }
  const id = ctx.db.normalizeId("accounts", accountId)
  if (id === null) throw refusal("unauthenticated", "The account id is malformed. Check ACCOUNT_ID.")
  if (row.accountId !== id || ctx.db.normalizeId("accounts", parts.accountId) !== id) {
    throw refusal("forbidden", "The service token belongs to another account. Check ACCOUNT_ID and SERVICE_TOKEN.", {
      reason: "token"
    })
  }
  return { accountId: id }
}
