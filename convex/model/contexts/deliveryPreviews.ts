import type { Infer } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { ownRow } from "../access/ownRow.ts"
import { accountContextOf } from "./accountContext.ts"
import { contextOf } from "./deliveryContext.ts"
import type { contextAnswer } from "./deliveryContextView.ts"
import { RunBudget } from "./readBudget.ts"

const maxIds = 100

/** The contexts of these notifications as their next attempt would get them, for dry runs. */
export const previews = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  ids: ReadonlyArray<string>
): Promise<Array<Infer<typeof contextAnswer>>> => {
  const answers: Array<Infer<typeof contextAnswer>> = []
  const accountContext = await accountContextOf(ctx, accountId)
  for (const notificationId of ids.slice(0, maxIds)) {
    const row = await ownRow(ctx, "notifications", accountId, notificationId)
    const session = row?.sessionId === undefined ? null : await ctx.db.get("sessions", row.sessionId)
    if (row === null || session === null) {
      answers.push({ id: notificationId, broken: "notification_missing" })
      continue
    }
    const { outcome, state } = row
    const built = await contextOf(
      ctx,
      row,
      {
        session,
        generation: session.lease?.generation ?? session.generation,
        epoch: session.lease?.epoch ?? session.epoch + 1,
        earlierAttempts: Math.max(0, row.claims - (state === "claimed" ? 1 : 0))
      },
      accountContext,
      new RunBudget()
    )
    answers.push(
      typeof built === "string"
        ? { id: notificationId, broken: built }
        : { id: notificationId, context: built.context, state, ...(outcome === undefined ? {} : { outcome }) }
    )
  }
  return answers
}
