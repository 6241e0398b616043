import { Context, Effect, Layer, Stream, SubscriptionRef } from "effect"
import { rosterChange } from "../domain/tasks/Roster.ts"
import type { Roster as Agents, RosterAgent } from "../domain/tasks/Roster.ts"
import { counted } from "../domain/text/Count.ts"

const slugs = (agents: ReadonlyArray<RosterAgent>): string => agents.map(({ slug }) => slug).join(", ")

/** The account's agents as last heard of: what programs work by, also while the control plane is away. */
export class Roster extends Context.Service<
  Roster,
  {
    /** Null until the first one has come. */
    readonly current: Effect.Effect<Agents | null>
    /** The roster now, once it is known, and then each one that differs. */
    readonly changes: Stream.Stream<Agents>
    /**
     * Takes a roster for the present one and says whether it differs. One of an earlier revision is passed over, since
     * answers can overtake each other, unless it is known to be the latest (`isLatest`).
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
        // Skills and texts of agents are not in the roster, but a new revision tells of them too.
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
