import { Context, Effect, Layer, Stream, SubscriptionRef } from "effect"
import { rosterChange } from "../domain/tasks/Roster.ts"
import type { Roster as Agents, RosterAgent } from "../domain/tasks/Roster.ts"
import { counted } from "../domain/text/Count.ts"

const slugs = (agents: ReadonlyArray<RosterAgent>): string => agents.map(({ slug }) => slug).join(", ")

/** The last known agents of the account, also available while the control plane is down. */
export class Roster extends Context.Service<
  Roster,
  {
    /** Null until the first roster arrives. */
    readonly current: Effect.Effect<Agents | null>
    /** The current roster, once it is known, and each different one. */
    readonly changes: Stream.Stream<Agents>
    /**
     * Makes this the current roster and returns whether it differs. Ignores an earlier revision, because answers can arrive
     * out of order, unless it is known to be the latest (`isLatest`).
     */
    accept(roster: Agents, options?: { readonly isLatest: boolean }): Effect.Effect<boolean>
  }
>()("runtime-service/services/Roster") {
  static readonly layer = Layer.effect(
    Roster,
    Effect.gen(function* () {
      const ref = yield* SubscriptionRef.make<Agents | null>(null)
      const accept = Effect.fn("Roster.accept")(function* (roster: Agents, options?: { readonly isLatest: boolean }) {
        const before = yield* SubscriptionRef.get(ref)
        if (before !== null && roster.revision < before.revision && options?.isLatest !== true) return false
        const { added, changed, removed } = rosterChange(before, roster)
        // A new revision can also mean changed skills or texts, which are not in the roster.
        const isNew = before === null || before.revision !== roster.revision
        if (!isNew && added.length + changed.length + removed.length === 0) return false
        yield* SubscriptionRef.set(ref, roster)
        const parts = [
          ...(added.length === 0 ? [] : [`added ${slugs(added)}`]),
          ...(changed.length === 0 ? [] : [`changed ${slugs(changed)}`]),
          ...(removed.length === 0 ? [] : [`removed ${slugs(removed)}`])
        ]
        if (parts.length > 0) {
          yield* Effect.logInfo(
            before === null ? `roster: ${counted(roster.agents.length, "agent")}` : `roster: ${parts.join("; ")}`
          )
        }
        return true
      })
      return Roster.of({
        current: SubscriptionRef.get(ref),
        changes: Stream.filter(SubscriptionRef.changes(ref), (roster) => roster !== null),
        accept
      })
    })
  )
}
