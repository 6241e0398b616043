/** The tools over both transports before a real plane: live runs of claimed deliveries, and a switch for its failures. */
import { createServer } from "node:http"
import { NodeCrypto, NodeHttpServer } from "@effect/platform-node"
import { Clock, Duration, Effect, Layer, Option, Redacted, Ref, Scope } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest } from "effect/http"
import { makeAccount } from "../../../local/account.ts"
import type { NewAgent } from "../../../local/account.ts"
import { launchPlane } from "../../../local/launcher.ts"
import { personAt } from "../../../local/person.ts"
import {
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  TokenRefused
} from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { DeliveryContext } from "../../../src/domain/delivery/DeliveryContext.ts"
import { fenceOf } from "../../../src/domain/delivery/Run.ts"
import type { Fence, Lease } from "../../../src/domain/delivery/Run.ts"
import { CAPABILITY_HEADER, SESSION_KEY_HEADER } from "../../../src/domain/http/Capability.ts"
import { noSpending } from "../../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import * as AgentEndpoints from "../../../src/programs/http/AgentEndpoints.ts"
import { AgentTools } from "../../../src/services/AgentTools.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { LiveRuns } from "../../../src/services/LiveRuns.ts"
import type { LiveRun } from "../../../src/services/LiveRuns.ts"

/** Whoever may do everything but orchestrate, and the orchestrator; both may make tasks. */
export const team: ReadonlyArray<NewAgent> = [
  { slug: "lead", name: "Lead", role: "plans", isOrchestrator: true, flags: { canCreateTasks: true } },
  { slug: "engineer", name: "Engineer", role: "builds", flags: { canCreateTasks: true } },
  { slug: "qa", name: "QA", role: "tests", flags: { canReviewTasks: true } }
]

/** How the control plane behaves towards tools. */
export type Mode = "real" | "away" | "conflict" | "limit" | "token"

const failureOf = (mode: Mode): ControlPlaneFailure => {
  switch (mode) {
    case "away":
      return new ControlPlaneUnavailable({ function: "test", detail: "ECONNREFUSED" })
    case "token":
      return new TokenRefused({ function: "test", detail: "revoked" })
    default:
      return new ControlPlaneRefused({ function: "test", code: mode, detail: `the plane says ${mode}` })
  }
}

/** What a call over HTTP came to. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: any
}

/** The tools, their runs and their endpoints on a port of their own; the settings are the test's. */
export const makeToolSide = (
  settings: Partial<Settings>,
  controlPlane: Layer.Layer<ControlPlane, never, RuntimeConfig | Metrics | Redactor>
) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const services = Layer.mergeAll(AgentTools.layer, LiveRuns.layer).pipe(
      Layer.provideMerge(controlPlane),
      Layer.provideMerge(Metrics.layer),
      Layer.provideMerge(Redactor.layer),
      Layer.provide(NodeCrypto.layerMac),
      Layer.provide(NodeCrypto.layerSecureRandom)
    )
    const server = HttpRouter.serve(AgentEndpoints.layer, {
      disableLogger: true,
      disableListenLog: true,
      // Stands for a socket of that address, which no test can open.
      middleware: (app) =>
        Effect.updateService(app, HttpServerRequest.HttpServerRequest, (request) => {
          const remote = request.headers["x-test-remote-address"]
          return remote === undefined ? request : request.modify({ remoteAddress: Option.some(remote) })
        }) as never
    }).pipe(
      Layer.provideMerge(services),
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
      Layer.provide(RuntimeConfig.layerTest(settings))
    )
    const context = yield* Layer.build(server).pipe(Effect.provideService(Clock.Clock, clock))
    const { agentTools, liveRuns, plane, redactor } = yield* Effect.all({
      agentTools: AgentTools,
      liveRuns: LiveRuns,
      plane: ControlPlane,
      redactor: Redactor
    }).pipe(Effect.provideContext(context))
    const { address } = yield* HttpServer.HttpServer.pipe(Effect.provideContext(context))
    const port = "port" in address ? Number(address.port) : 0
    const url = `http://127.0.0.1:${port}`
    const http = (path: string, init: RequestInit = {}): Effect.Effect<HttpAnswer> =>
      Effect.promise(async () => {
        const response = await fetch(`${url}${path}`, init)
        const text = await response.text()
        const isJson = response.headers.get("content-type")?.includes("json") === true
        return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
      })
    const headersOf = (run: Pick<LiveRun, "capability" | "context">): Record<string, string> => ({
      "content-type": "application/json",
      [SESSION_KEY_HEADER]: run.context.sessionKey,
      [CAPABILITY_HEADER]: Redacted.value(run.capability)
    })
    return {
      url,
      port,
      http,
      headersOf,
      agentTools,
      liveRuns,
      plane,
      redactor,
      /** One call over HTTP, with the run's headers and what the test adds. */
      post: (path: string, run: LiveRun, body: unknown, headers: Record<string, string> = {}) =>
        http(path, {
          method: "POST",
          headers: { ...headersOf(run), ...headers },
          body: typeof body === "string" ? body : JSON.stringify(body)
        })
    }
  })

/** A plane with two accounts of the same team, and the runtime's side of the first. */
export const makeToolHouse = Effect.fnUntraced(function* (members: ReadonlyArray<NewAgent> = team) {
  const launched = yield* launchPlane()
  const person = personAt(launched.url, launched.adminKey)
  const account = yield* Effect.promise(() => makeAccount(person, members))
  const foreign = yield* Effect.promise(() => makeAccount(person, members, "Other"))
  yield* Effect.promise(() =>
    person.mutation("app/agents:create", {
      accountId: foreign.accountId,
      slug: "outsider",
      name: "Outsider",
      role: "works elsewhere"
    })
  )
  const make = (accountId: string, title: string, assigneeIds: ReadonlyArray<string> = []) =>
    Effect.promise(() => person.mutation("app/tasks:create", { accountId, title, assigneeIds: [...assigneeIds] })).pipe(
      Effect.map(({ taskId }) => String(taskId))
    )
  const { accountId, agents, serviceToken } = account
  const ids = {
    own: yield* make(accountId, "Own", Object.values(agents).slice(1, 2)),
    other: yield* make(accountId, "Another", Object.values(agents).slice(2, 3)),
    foreign: yield* make(foreign.accountId, "Foreign")
  }

  const mode = { current: "real" as Mode }
  const switched = Layer.effect(
    ControlPlane,
    Effect.map(
      ControlPlane,
      (real) =>
        new Proxy(real, {
          get: (target, name) => {
            const value = Reflect.get(target, name)
            return mode.current !== "real" && typeof value === "function"
              ? () => Effect.fail(failureOf(mode.current))
              : value
          }
        })
    )
  ).pipe(
    Layer.provide(ControlPlane.layer),
    Layer.provide(ConvexClient.layer),
    Layer.provide(NodeCrypto.layerSecureRandom)
  )
  const side = yield* makeToolSide(
    {
      accountId,
      convexUrl: launched.url,
      serviceToken: Redacted.make(serviceToken),
      deliveryLease: Duration.minutes(10)
    },
    switched
  )
  const scope = yield* Effect.scope
  yield* side.plane.pulse({ status: "online", reasons: [], health: "{}", openclawVersion: null })

  let number = 0
  const held: Array<Lease> = []
  /** Claims the due notifications and answers their runs, opened in this process. */
  const claimEach: Effect.Effect<ReadonlyArray<LiveRun>, ControlPlaneFailure, Scope.Scope> = Effect.gen(function* () {
    const claimed = yield* side.plane.claim({
      number: (number += 1),
      limit: 100,
      heartbeatLimit: 0,
      held: held.map(({ epoch, session }) => ({ session, epoch })),
      abandoned: [],
      recoverUnnamed: false
    })
    const runs: Array<LiveRun> = []
    for (const run of claimed.runs) {
      if (!("context" in run) || run.kind === "heartbeat") continue
      held.push(run)
      runs.push(
        yield* side.liveRuns.open({ context: run.context, fence: fenceOf(run), spending: Ref.makeUnsafe(noSpending) })
      )
    }
    return runs
  })
  /** The same by slug, where each agent has one. */
  const claimRuns = Effect.map(claimEach, (runs): Record<string, LiveRun> =>
    Object.fromEntries(runs.map((run) => [run.context.agent.slug, run]))
  )
  /** The same runs, shown what has happened since: this process forgets its leases, and is offered them again. */
  const claimAgain = Effect.suspend(() => {
    held.splice(0)
    return claimEach
  })
  const mention = (taskId: string, content: string) =>
    Effect.promise(() => person.mutation("app/messages:post", { accountId, taskId, content }))

  return {
    ...side,
    accountId,
    agents,
    ids,
    person,
    claimEach,
    claimRuns,
    claimAgain,
    mention,
    make: (title: string, assignees: ReadonlyArray<string> = []) =>
      make(
        accountId,
        title,
        assignees.map((slug) => agents[slug]!)
      ),
    /** Runs the effect while tools find the control plane so. */
    during: <A, E, R>(so: Mode, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.acquireUseRelease(
        Effect.sync(() => void (mode.current = so)),
        () => effect,
        () => Effect.sync(() => void (mode.current = "real"))
      ),
    /** Makes the run the live one of its session again, for as long as the house stands. */
    reopen: (run: LiveRun) => Scope.provide(side.liveRuns.open(run), scope),
    /** The same run as another agent's settings, task or lease would make it. */
    variant: (
      run: LiveRun,
      changes: { readonly context?: Partial<DeliveryContext>; readonly fence?: Partial<Fence> }
    ) =>
      side.liveRuns.open({
        context: { ...run.context, ...changes.context },
        fence: { ...run.fence, ...changes.fence },
        spending: run.spending
      })
  }
})
