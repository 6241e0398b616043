/** Mistakes that a runtime or a control plane could make, planted from outside, each with the invariant it breaks. */
import { Effect, Fiber } from "effect"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { leaseKey, noUsage } from "../../src/domain/delivery/Run.ts"
import type { Fence, Lease } from "../../src/domain/delivery/Run.ts"
import { ConnectionLost, ProviderFailed, TurnSilent } from "../../src/domain/delivery/TurnFailure.ts"
import type { ConvexClient } from "../../src/layers/ConvexClient.ts"
import type { Mistake } from "./queueState.ts"
import type { Wrappers } from "./runtimeProcess.ts"
import type { Profile } from "./world.ts"

/** Where a mistake shows soonest: machines that stop and die, a bad network, or nothing but a slow gateway. */
const badMachines: Profile = { controlPlane: 0.03, process: 0.12, gateway: 0.3 }
const badTools: Profile = { controlPlane: 0.4, process: 0.2, gateway: 0.2 }
const dying: Profile = { controlPlane: 0, process: 0.1, gateway: 0.4 }
const badNetwork: Profile = { controlPlane: 0.2, process: 0, gateway: 0.3 }
const outages: Profile = { controlPlane: 0.1, process: 0, gateway: 0.3, outages: 10 }
const stops: Profile = { controlPlane: 0, process: 0, gateway: 0.6, stops: 10 }
const stopsOnBadNetwork: Profile = { controlPlane: 0.5, process: 0, gateway: 0, stops: 20, outages: 0 }
const haltsOnBadMachines: Profile = { controlPlane: 0.3, process: 0.1, gateway: 0.3, halts: 10 }
const halts: Profile = { controlPlane: 0, process: 0, gateway: 0.3, halts: 10 }
const haltsOfSlowTurns: Profile = { controlPlane: 0, process: 0, gateway: 0.6, halts: 10 }
const pauses: Profile = { controlPlane: 0, process: 0, gateway: 0.3, pauses: 10 }
const badTurns: Profile = { controlPlane: 0.02, process: 0.1, gateway: 0.5 }
const approvals: Profile = { controlPlane: 0.05, process: 0.02, gateway: 0.05, approvals: true }
const builtInTools: Profile = { controlPlane: 0, process: 0, gateway: 0.2, stops: 0, halts: 0, pauses: 0 }
const slowGateway: Profile = { controlPlane: 0, process: 0, gateway: 0.3 }

/** One planted mistake. */
export interface PlantedMistake {
  readonly name: string
  readonly breaks: string
  readonly wrappers?: Wrappers
  readonly mistakes?: ReadonlySet<Mistake>
  readonly profile?: Profile
}

type Convex = ConvexClient["Service"]

const inTheModel = (name: Mistake, breaks: string, profile: Profile = badMachines): PlantedMistake => ({
  name,
  breaks,
  mistakes: new Set([name]),
  profile
})

/** A client whose claims are answered with other contexts. */
const withContexts = (
  inner: Convex,
  change: (context: { readonly events: ReadonlyArray<object> }) => object
): Convex => ({
  ...inner,
  mutation: (path, args) =>
    Effect.map(inner.mutation(path, args), (answer) => {
      if (path !== functions.claim) return answer
      const { runs, ...rest } = answer as { readonly runs: ReadonlyArray<{ readonly context?: any }> }
      const isNotification = (context: any) => Array.isArray(context?.events)
      return {
        ...rest,
        runs: runs.map((run) => (isNotification(run.context) ? { ...run, context: change(run.context) } : run))
      }
    })
})

const ends: ReadonlySet<string> = new Set([functions.complete, functions.fail, functions.release])

/** A client that names a lease in claims only until the call that ends its run is sent. */
const forgettingEnds = (inner: Convex): Convex => {
  const ending = new Set<string>()
  return {
    ...inner,
    mutation: (path, args) => {
      if (ends.has(path)) ending.add(leaseKey(args as Fence))
      if (path !== functions.claim) return inner.mutation(path, args)
      const { held, ...rest } = args as unknown as { readonly held: ReadonlyArray<Lease> }
      return inner.mutation(path, { ...rest, held: held.filter((lease) => !ending.has(leaseKey(lease))) })
    }
  }
}

/** Every mistake the simulation must notice. */
export const plantedMistakes: ReadonlyArray<PlantedMistake> = [
  {
    name: "a timeout that does not cancel",
    breaks: "I3",
    wrappers: {
      gateway: (inner, world) => ({
        ...inner,
        // The caller stops waiting; its request continues.
        sendToOpenClaw: (request) => Effect.flatMap(world.fork(inner.sendToOpenClaw(request)), Fiber.join)
      })
    }
  },
  {
    name: "policy asked of one event only",
    breaks: "I5",
    wrappers: {
      convex: (inner) =>
        withContexts(inner, (context) => ({
          ...context,
          events: context.events.map((_, index) => ({ ...context.events[0], index }))
        }))
    }
  },
  {
    name: "an assignment or status judged by the task as it was",
    breaks: "I5",
    profile: slowGateway,
    wrappers: {
      convex: (inner) =>
        withContexts(inner, (context) => {
          const { newStatus = null } = (context.events.at(-1) ?? {}) as { readonly newStatus?: string | null }
          const { task } = context as { readonly task?: object | null }
          return { ...context, ...(task ? { task: { ...task, status: newStatus ?? "assigned" } } : {}) }
        })
    }
  },
  {
    name: "a token accepted in answer to an assignment or a request",
    breaks: "I5",
    profile: slowGateway,
    wrappers: {
      convex: (inner) =>
        withContexts(inner, (context) => ({
          ...context,
          events: context.events.map((event: { readonly type?: string }) =>
            event.type === "assignment" || event.type === "response_request" ? { ...event, type: "mention" } : event
          )
        }))
    }
  },
  { name: "a lease no longer named before its end is answered", breaks: "I3", wrappers: { convex: forgettingEnds } },
  inTheModel("coalescing into a row that is running", "I18", slowGateway),
  inTheModel("unfenced complete", "I3"),
  inTheModel("unfenced tool", "I3", badTools),
  inTheModel("attempts counted only on failure", "I6"),
  inTheModel("retry counter in memory", "I6"),
  inTheModel("a ledger that forgets", "I2"),
  inTheModel("hops without a limit", "I11"),
  inTheModel("a heartbeat next to a delivery", "I4", slowGateway),
  inTheModel("several suspects at once", "I9", dying),
  inTheModel("a claim that forgets unnamed leases", "I3", badNetwork),
  inTheModel("an unnamed lease offered again without a new epoch", "I3", badNetwork),
  inTheModel("a late claim that leases", "I3", badNetwork),
  inTheModel("a named lease taken by its own process", "I3"),
  inTheModel("an abandoned run not rescued", "I3", outages),
  inTheModel("a last claim that counts attempts", "I7", stops),
  inTheModel("a last claim that leaves leases behind", "I7", stops),
  inTheModel("a claim after the last one", "I7", stopsOnBadNetwork),
  inTheModel("a push that misses an insert", "I9", slowGateway),
  inTheModel("a push that misses an end", "I9", slowGateway),
  inTheModel("a claim that takes a paused agent's work", "I15", pauses),
  inTheModel("a stop that does not fence", "I14", haltsOnBadMachines),
  inTheModel("a stop that leaves work to be retried", "I14", halts),
  inTheModel("a stop that frees the session at once", "I4", haltsOfSlowTurns),
  inTheModel("a stop that is not pushed", "I14", haltsOfSlowTurns),
  inTheModel("an old turn's change over a person's", "decision", slowGateway),
  inTheModel("a failed turn that counts as seen", "I13"),
  inTheModel("what came during a turn counts as seen", "I13", slowGateway),
  inTheModel("a delta in a new generation", "I13", slowGateway),
  inTheModel("a delta on a history that was seen to be shorter", "I13", slowGateway),
  inTheModel("turns without a limit", "turns", slowGateway),
  inTheModel("turns that every message forgives", "turns", slowGateway),
  inTheModel("agents' events beyond the limit of turns", "turns", slowGateway),
  inTheModel("heartbeats beyond the limit of turns", "turns", slowGateway),
  inTheModel("a limit that no one is told of", "turns", slowGateway),
  inTheModel("updates that do not wait", "quiet", slowGateway),
  inTheModel("quiet without a limit", "quiet", slowGateway),
  inTheModel("a mention that waits with updates", "quiet", slowGateway),
  inTheModel("an end that records no usage", "I16", slowGateway),
  inTheModel("a rescue that records no usage", "I16", dying),
  inTheModel("a report counted next to its estimate", "I16"),
  inTheModel("a budget without reservations", "I17", slowGateway),
  inTheModel("a held notification taken before its time", "I17", slowGateway),
  inTheModel("a reservation that holds work until the window ends", "I17", slowGateway),
  inTheModel("a run that gets more without asking the budget", "I17", slowGateway),
  {
    name: "model calls that are not compared with the allowance",
    breaks: "I17",
    profile: builtInTools,
    wrappers: { events: (call) => ({ ...call, hasTools: false }) }
  },
  {
    name: "model calls of an unanswered request that are forgotten",
    breaks: "I16",
    profile: builtInTools,
    wrappers: { events: (call) => ({ ...call, usage: noUsage }) }
  },
  {
    name: "model calls counted next to the answer that includes them",
    breaks: "I16",
    profile: builtInTools,
    wrappers: {
      gateway: (inner) => ({
        ...inner,
        // Without the response's id the runtime does not know which events are late.
        sendToOpenClaw: (request) =>
          Effect.map(inner.sendToOpenClaw(request), (answer) => ({ ...answer, responseId: "unknown" }))
      })
    }
  },
  inTheModel("an estimate without the request that may go beyond the allowance", "I17"),
  inTheModel("a join that leaves the message where it waited", "I18", slowGateway),
  inTheModel("a join that drops the other events", "I18", slowGateway),
  inTheModel("a join that renews no attempts", "I6", badTurns),
  inTheModel("a join without a fence", "I3", badNetwork),
  inTheModel("a join that moves what was seen", "I13", slowGateway),
  inTheModel("an end that drops what it did not show", "I18", badNetwork),
  inTheModel("an end that keeps what it did not show", "I18", badNetwork),
  inTheModel("joined events lost at a failure", "I18", slowGateway),
  inTheModel("new messages that are not pushed", "I18", slowGateway),
  {
    name: "an end that does not report what its turn showed",
    breaks: "I18",
    profile: slowGateway,
    wrappers: {
      convex: (inner) => ({
        ...inner,
        mutation: (path, args) => {
          const { joined: _, ...rest } = args as { readonly joined?: number }
          return inner.mutation(path, rest as never)
        }
      })
    }
  },
  inTheModel("an answer that only subscribers hear", "questions", slowGateway),
  inTheModel("a question answered twice", "questions", slowGateway),
  inTheModel("an approved call executed again", "I19", approvals),
  inTheModel("a call executed after its denial", "I19", approvals),
  inTheModel("a stop that leaves requests for approval open", "I19", approvals),
  inTheModel("an approval although the task has changed", "I19", approvals),
  inTheModel("a repeated call that asks again", "I19", { ...approvals, controlPlane: 0.3, process: 0.1 }),
  inTheModel("a removed policy that forgets open requests", "I19", {
    ...approvals,
    controlPlane: 0.3,
    process: 0.1,
    gateway: 0.3
  }),
  inTheModel("a decision that the agent is not notified of", "I19", approvals),
  inTheModel("a request under a lost lease", "I19", { ...badTools, process: 0.05, approvals: true }),
  {
    name: "a request without an answer treated as free",
    breaks: "I16",
    profile: slowGateway,
    wrappers: {
      convex: (inner) => ({
        ...inner,
        mutation: (path, args) => {
          const { usage } = args as { readonly usage?: object }
          return inner.mutation(
            path,
            usage === undefined ? args : ({ ...args, usage: { ...usage, unanswered: 0 } } as never)
          )
        }
      })
    }
  },
  {
    name: "500 treated as silence",
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
    name: "a restarted gateway's 500 treated as silence",
    breaks: "classes",
    wrappers: {
      gateway: (inner) => ({
        ...inner,
        sendToOpenClaw: (request) =>
          Effect.mapError(inner.sendToOpenClaw(request), (failure) =>
            failure._tag === "GatewayRestarted" ? new TurnSilent({ detail: failure.detail }) : failure
          )
      })
    }
  },
  {
    name: "an overflow that stays in its session",
    breaks: "rotate",
    profile: slowGateway,
    wrappers: {
      convex: (inner) => ({
        ...inner,
        mutation: (path, args) =>
          inner.mutation(path, path === functions.fail ? ({ ...args, rotate: false } as never) : args)
      })
    }
  },
  {
    name: "a stop in OpenClaw treated as a lost connection",
    breaks: "classes",
    profile: slowGateway,
    wrappers: {
      gateway: (inner) => ({
        ...inner,
        sendToOpenClaw: (request) =>
          Effect.mapError(inner.sendToOpenClaw(request), (failure) =>
            failure._tag === "TurnStopped" ? new ConnectionLost({ detail: failure.detail }) : failure
          )
      })
    }
  },
  {
    name: "a timeout blamed on a provider that works",
    breaks: "classes",
    wrappers: {
      gateway: (inner) => ({
        ...inner,
        sendToOpenClaw: (request) =>
          Effect.mapError(inner.sendToOpenClaw(request), (failure) =>
            failure._tag === "TurnTimeout" ? new ProviderFailed({ detail: failure.detail, status: 429 }) : failure
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
