import { Context, Effect, Layer } from "effect"
import { FleetPage } from "../domain/fleet/FleetAccount.ts"
import type { attentions, FleetAccount } from "../domain/fleet/FleetAccount.ts"
import { fleetFunctions } from "../domain/fleet/FleetFunctions.ts"
import type { FleetMutation, FleetQuery } from "../domain/fleet/FleetFunctions.ts"
import type { CallFailure } from "../layers/convex/SignedCalls.ts"
import { FleetClient } from "../layers/fleet/FleetClient.ts"
import { decodedCalls } from "./ControlPlaneCalls.ts"
import type { Call } from "./ControlPlaneCalls.ts"

/** What accounts are listed by. */
export interface FleetFilter {
  readonly only?: (typeof attentions)[number]
  readonly name?: string
  readonly runtimeVersion?: string
  readonly openclawVersion?: string
}

/** The accounts of a deployment, for the holder of its deploy key: typed calls, once each. */
export class Fleet extends Context.Service<
  Fleet,
  {
    readonly query: Call<FleetQuery, CallFailure>
    readonly mutation: Call<FleetMutation, CallFailure>
    /** The accounts that pass the filter, in the order of their creation. `after` and `next` are cursors. */
    accounts(
      filter: FleetFilter,
      page: { readonly after: number; readonly limit: number }
    ): Effect.Effect<{ readonly accounts: ReadonlyArray<FleetAccount>; readonly next: number | null }, CallFailure>
  }
>()("runtime-service/services/Fleet") {
  static readonly layer = Layer.effect(
    Fleet,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const { call } = yield* FleetClient
  const { mutation, query } = decodedCalls<FleetQuery, FleetMutation, CallFailure>(call)

  const accounts = Effect.fn("Fleet.accounts")(function* (
    filter: FleetFilter,
    { after, limit }: { readonly after: number; readonly limit: number }
  ) {
    const found: Array<FleetAccount> = []
    let next: number | null = after
    // A deployment reads at most 50 accounts in a call.
    while (next !== null && found.length < limit) {
      const page: typeof FleetPage.Type = yield* query(fleetFunctions.accounts, FleetPage, {
        ...filter,
        after: next,
        limit: limit - found.length
      })
      found.push(...page.accounts)
      next = page.next
    }
    return { accounts: found, next }
  })

  return Fleet.of({ query, mutation, accounts })
})
