import { Context, Effect, Layer, Option, Schema, Stream } from "effect"
import { ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { ExportPage } from "../domain/fleet/Archive.ts"
import type { ExportRow } from "../domain/fleet/Archive.ts"
import { FleetPage, NamedAccount, onlyNamed } from "../domain/fleet/FleetAccount.ts"
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
    /** The only account with this id, key or name, or whose id or name begins with the text. */
    account(text: string): Effect.Effect<NamedAccount, CallFailure>
    /** All rows of an account, page by page. */
    rows(accountId: string): Stream.Stream<ReadonlyArray<ExportRow>, CallFailure>
  }
>()("runtime-service/services/Fleet") {
  static readonly layer = Layer.effect(
    Fleet,
    Effect.suspend(() => make)
  )
}

const FoundPage = Schema.Struct({ accounts: Schema.Array(NamedAccount), next: Schema.NullOr(Schema.Finite) })

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

  const account = Effect.fn("Fleet.account")(function* (text: string) {
    const found: Array<NamedAccount> = []
    let next: number | null = 0
    while (next !== null) {
      const page: typeof FoundPage.Type = yield* query(fleetFunctions.find, FoundPage, { text, after: next })
      found.push(...page.accounts)
      next = page.next
    }
    return yield* Effect.mapError(
      Effect.fromResult(onlyNamed(found, text)),
      (detail) => new ControlPlaneRefused({ function: fleetFunctions.find, code: "not_found", detail })
    )
  })

  const rows = (accountId: string) =>
    Stream.paginate({ table: "accounts", after: 0 }, (from) =>
      Effect.map(query(fleetFunctions.exportPage, ExportPage, { accountId, from }), (page) => [
        [page.rows] as const,
        Option.fromNullOr(page.next)
      ])
    )

  return Fleet.of({ query, mutation, accounts, account, rows })
})
