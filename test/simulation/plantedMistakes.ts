/** Mistakes that a runtime or a control plane could make, planted from outside, each with the invariant it breaks. */
import { Effect, Fiber } from "effect"
import { TurnSilent } from "../../src/domain/TurnFailure.ts"
import type { Mistake } from "./queueModel.ts"
import type { Wrappers } from "./runtimeProcess.ts"
import type { Profile } from "./world.ts"

/** Where the mistake shows soonest: machines that stop and die, with a slow gateway too, or nothing but a slow gateway. */
const badMachines: Profile = { controlPlane: 0.03, process: 0.12, gateway: 0.3 }
const slowAndDying: Profile = { controlPlane: 0, process: 0.05, gateway: 0.6 }
const slowGateway: Profile = { controlPlane: 0, process: 0, gateway: 0.3 }

/** One planted mistake. */
export interface PlantedMistake {
  readonly name: string
  readonly breaks: string
  readonly wrappers?: Wrappers
  readonly mistakes?: ReadonlySet<Mistake>
  readonly profile?: Profile
}

interface Fold {
  readonly context?: { readonly notification: { readonly id: string }; readonly fold: ReadonlyArray<{ id: string }> }
}

const inTheModel = (name: Mistake, breaks: string): PlantedMistake => ({
  name,
  breaks,
  mistakes: new Set([name]),
  profile: badMachines
})

/** Every mistake the simulation must notice. */
export const plantedMistakes: ReadonlyArray<PlantedMistake> = [
  {
    name: "a timeout that does not cancel",
    breaks: "I3",
    wrappers: {
      gateway: (inner, world) => ({
        ...inner,
        // The caller goes; what it asked for runs on.
        sendToOpenClaw: (request) => Effect.flatMap(world.fork(inner.sendToOpenClaw(request)), Fiber.join)
      })
    }
  },
  {
    name: "policy asked of the kept row only",
    breaks: "I5",
    wrappers: {
      convex: (inner) => ({
        ...inner,
        query: (path, args) =>
          Effect.map(inner.query(path, args), (answer) =>
            path === "service/notifications:context"
              ? (answer as ReadonlyArray<Fold>).map((each) => {
                  const { context } = each
                  const kept = context?.fold.find(({ id }) => id === context.notification.id)
                  if (context === undefined || kept === undefined) return each
                  return { ...each, context: { ...context, fold: context.fold.map(({ id }) => ({ ...kept, id })) } }
                })
              : answer
          )
      })
    }
  },
  inTheModel("folding that ends rows too early", "I5"),
  inTheModel("unfenced complete", "I3"),
  inTheModel("unfenced tool", "I3"),
  inTheModel("attempts counted only on failure", "I6"),
  inTheModel("retry counter in memory", "I6"),
  inTheModel("a ledger that forgets", "I2"),
  inTheModel("hops without a limit", "I11"),
  { ...inTheModel("heartbeats with a lease of their own", "I4"), profile: slowGateway },
  { ...inTheModel("beats go on while a row waits to be alone", "I9"), profile: slowAndDying },
  {
    name: "500 taken as silence",
    breaks: "I5",
    wrappers: {
      gateway: (inner) => ({
        ...inner,
        sendToOpenClaw: (request) =>
          Effect.mapError(inner.sendToOpenClaw(request), (failure) =>
            failure._tag === "TurnAmbiguous" || failure._tag === "ProviderFailed"
              ? new TurnSilent({ detail: failure.detail })
              : failure
          )
      })
    }
  },
  {
    name: "barrier between batches",
    breaks: "I9",
    profile: slowGateway,
    wrappers: {
      permits: (inner) => ({ ...inner, free: Effect.map(inner.free, (free) => (free === inner.total ? free : 0)) })
    }
  }
]
