/** What a turn may spend: it asks the control plane for more in time, and ends if it gets no more. */
import { Effect, Queue, Ref } from "effect"
import type { BootConflict, LeaseLost } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { BudgetRefusal, Fence, Usage } from "../domain/delivery/Run.ts"
import type { ModelCall } from "../domain/gateway/GatewayEvent.ts"
import { weightedTokensOf } from "../domain/shared/TokenPrice.ts"
import { modelCalled, spentSoFar } from "../domain/usage/Spending.ts"
import type { Spending } from "../domain/usage/Spending.ts"
import type { ToolInterruption } from "./AgentTools.ts"
import type { ControlPlane } from "./ControlPlane.ts"

/**
 * How long a request stays open after its budget is used up: if the model called one of the runtime's tools, the answer
 * arrives in this time, and the work is not lost.
 */
const ANSWER_WAIT = "2 seconds"

/** The turn got no more. */
export interface NoMore {
  readonly refusal: BudgetRefusal
  /** Its allowance is used up. Otherwise it allows one more request or model call. */
  readonly isUsedUp: boolean
}

/** The budget of one turn. */
export interface TurnBudget {
  /** Asks for more if the allowance may not cover this many price-weighted tokens. Null if it does now. */
  check(next: number): Effect.Effect<NoMore | null, ToolInterruption>
  /** Notes a model call of the gateway's run, as an event shows it. Never waits. */
  onModelCall(runId: string, call: ModelCall): Effect.Effect<void>
  /** Ends when a model call of the running request has used up the allowance and the turn got no more. */
  readonly usedUp: Effect.Effect<BudgetRefusal, LeaseLost | BootConflict>
}

const isOutage = (failure: ToolInterruption): failure is Exclude<ToolInterruption, LeaseLost | BootConflict> =>
  failure._tag !== "LeaseLost" && failure._tag !== "BootConflict"

/** The budget of a turn with this allowance in price-weighted tokens; null is without limit. */
export const makeTurnBudget = Effect.fnUntraced(function* (
  { allow }: Pick<ControlPlane["Service"], "allow">,
  turn: { readonly allowance: number | null; readonly fence: Fence; readonly spending: Ref.Ref<Spending> }
) {
  let { allowance } = turn
  // Only the latest call counts, because each check reads all that was spent.
  const calls = yield* Queue.sliding<Usage>(1)

  const check = Effect.fnUntraced(function* (next: number): Effect.fn.Return<NoMore | null, ToolInterruption> {
    const used = weightedTokensOf(spentSoFar(yield* Ref.get(turn.spending)))
    if (allowance === null || used + next <= allowance) return null
    const allowed = yield* allow(turn.fence, used).pipe(
      Effect.catchTag("ControlPlaneRefused", ({ code, detail }) =>
        Effect.succeed({ reason: `${code}: ${detail}`, until: null })
      )
    )
    if ("reason" in allowed) return { refusal: allowed, isUsedUp: used >= allowance }
    allowance = allowed.allowance
    return null
  })

  const onModelCall = Effect.fnUntraced(function* (runId: string, { hasTools, usage }: ModelCall) {
    yield* Ref.update(turn.spending, (spending) => modelCalled(spending, runId, usage))
    // The answer to a request arrives soon after its last model call, which has nothing left to save.
    if (hasTools) yield* Queue.offer(calls, usage)
  })

  const checkCall = Effect.flatMap(Queue.take(calls), (usage) => check(weightedTokensOf(usage))).pipe(
    // Without an answer of the control plane the request continues: the next model call or the end of the round asks.
    Effect.catchIf(isOutage, () => Effect.succeed(null))
  )

  const usedUp: TurnBudget["usedUp"] = Effect.flatMap(checkCall, (noMore) =>
    noMore?.isUsedUp === true ? Effect.delay(Effect.succeed(noMore.refusal), ANSWER_WAIT) : usedUp
  )

  const budget: TurnBudget = { check, onModelCall, usedUp }
  return budget
})
