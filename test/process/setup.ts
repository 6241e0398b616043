/** The setup of a process test: plane, gateway, account and person, which the scope stops. */
import { Effect, Schedule } from "effect"
import type { Scope } from "effect"
import { demoTeam, makeAccount, runtimeEnv } from "../../local/account.ts"
import type { Account, NewAgent } from "../../local/account.ts"
import { launchGateway, launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Launched, LaunchedPlane, LaunchFailed, RuntimeOptions } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import { personAt } from "../../local/person.ts"
import type { Person } from "../../local/person.ts"
import { entry } from "./entry.ts"

/** A message as people see it. */
export type Message = {
  readonly id: string
  readonly author: { readonly name: string; readonly type: string }
  readonly content: string
  readonly kind: string
}

/** A notification as people see it. */
export type NotificationRow = {
  readonly id: string
  readonly recipientType: string
  readonly recipientName: string | null
  readonly type: string
  readonly state: string
  readonly attempts: number
  readonly outcome: string | null
  readonly outcomeReason: string | null
  readonly error: { readonly class: string; readonly message: string } | null
}

export type Setup = {
  readonly plane: LaunchedPlane
  readonly gateway: Launched
  readonly account: Account
  readonly person: Person
  /** Starts the runtime of this account; `env` wins over the setup's. */
  readonly startRuntime: (
    env?: Record<string, string>,
    options?: Omit<RuntimeOptions, "env">
  ) => Effect.Effect<Launched, LaunchFailed, Scope.Scope>
  readonly script: (script: Script) => Effect.Effect<void>
  /** Applies this fault to the gateway's next requests. */
  readonly fault: (fault: Record<string, unknown>) => Effect.Effect<void>
  /** Sends an event of the gateway for each session that the runtime follows. */
  readonly gatewayEvent: (event: string, payload: Record<string, unknown>) => Effect.Effect<void>
  /** Applies this fault to the plane's next calls. */
  readonly planeFault: (fault: Record<string, unknown>) => Effect.Effect<void>
  /** Number of turns that the gateway has started. */
  readonly posts: Effect.Effect<number>
  /** The gateway's requests, oldest first. */
  readonly requests: Effect.Effect<
    ReadonlyArray<{ readonly at: number; readonly agent: string; readonly input: string }>
  >
  readonly newTask: (title?: string) => Effect.Effect<string>
  readonly post: (taskId: string, content: string) => Effect.Effect<void>
  readonly messages: (taskId: string) => Effect.Effect<ReadonlyArray<Message>>
  /** The agents' notifications of the account. */
  readonly notifications: Effect.Effect<ReadonlyArray<NotificationRow>>
  readonly runtimeStatus: Effect.Effect<string>
  readonly health: (runtime: Launched) => Effect.Effect<Record<string, any>>
}

/** Checks the condition every 25 ms. Only the test's time limit ends it; the last value is then logged. */
export const eventually = <A, E, R>(
  look: Effect.Effect<A, E, R>,
  isSo: (value: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let seen: A | undefined
    return look.pipe(
      Effect.tap((value) => Effect.sync(() => (seen = value))),
      Effect.repeat({ schedule: Schedule.spaced("25 millis"), until: isSo }),
      Effect.onInterrupt(() => Effect.logError(`waited in vain until ${isSo}; seen last:`, seen))
    )
  })

const json = (url: string, method = "GET", body?: unknown, headers: Record<string, string> = {}): Effect.Effect<any> =>
  Effect.promise(async () => {
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await response.text()
    if (response.status >= 400) throw new Error(`${method} ${url}: ${response.status} ${text}`)
    return text === "" ? null : JSON.parse(text)
  })

/**
 * Only on 29 February. Otherwise a first heartbeat would run at some time in the first two minutes, take a fault that
 * was meant for a delivery, or count as its request. Tests of heartbeats set their own interval.
 */
const RARELY = "0 0 29 2 *"

/** The demo's team, with an engineer who may create tasks. */
export const creatingTeam = demoTeam.map((agent) =>
  agent.slug === "engineer" ? { ...agent, flags: { ...agent.flags, canCreateTasks: true } } : agent
)

export const makeSetup = (
  options: {
    readonly team?: ReadonlyArray<NewAgent>
    readonly planeArgs?: ReadonlyArray<string>
    readonly gatewayArgs?: ReadonlyArray<string>
    /** The checkout of plane and runtime; this one by default. */
    readonly root?: string
  } = {}
): Effect.Effect<Setup, LaunchFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const from = options.root === undefined ? {} : { root: options.root }
    const team = (options.team ?? demoTeam).map((agent) => ({ heartbeat: RARELY, ...agent }))
    const [plane, gateway] = yield* Effect.all(
      [
        launchPlane({ ...from, args: options.planeArgs ?? [] }),
        launchGateway({ args: ["--agents", team.map(({ slug }) => slug).join(","), ...(options.gatewayArgs ?? [])] })
      ],
      { concurrency: 2 }
    )
    const person = personAt(plane.url, plane.adminKey)
    const account = yield* Effect.promise(() => makeAccount(person, team))
    const { accountId } = account
    return {
      plane,
      gateway,
      account,
      person,
      startRuntime: (env = {}, more = {}) =>
        launchRuntime({
          ...from,
          ...(options.root === undefined ? { entry } : {}),
          ...more,
          env: runtimeEnv(account, plane.url, { url: gateway.url }, { RUNTIME_ID: "test", ...env })
        }),
      script: (script) => Effect.asVoid(json(`${gateway.url}/__local/script`, "POST", script)),
      fault: (fault) => Effect.asVoid(json(`${gateway.url}/__local/faults`, "POST", fault)),
      gatewayEvent: (event, payload) =>
        Effect.asVoid(json(`${gateway.url}/__local/events`, "POST", { event, payload })),
      planeFault: (fault) =>
        Effect.asVoid(
          json(`${plane.url}/__local/faults`, "POST", fault, { authorization: `Convex ${plane.adminKey}` })
        ),
      posts: Effect.map(json(`${gateway.url}/__local/requests`), (requests: { count: number }) => requests.count),
      requests: Effect.map(json(`${gateway.url}/__local/requests`), ({ requests }) => requests),
      newTask: (title = "Fix the login button") =>
        Effect.promise(() => person.mutation("app/tasks:create", { accountId, title })).pipe(
          Effect.map(({ taskId }) => String(taskId))
        ),
      post: (taskId, content) =>
        Effect.asVoid(Effect.promise(() => person.mutation("app/messages:post", { accountId, taskId, content }))),
      messages: (taskId) => Effect.promise(() => person.query("app/messages:list", { accountId, taskId })),
      notifications: Effect.promise(() => person.query("app/notifications:list", { accountId, limit: 500 })).pipe(
        Effect.map((rows: ReadonlyArray<NotificationRow>) => rows.filter((row) => row.recipientType === "agent"))
      ),
      runtimeStatus: Effect.promise(() => person.query("app/runtimes:list", { accountId })).pipe(
        Effect.map((rows) => String(rows[0]?.status ?? "none"))
      ),
      health: (runtime) => json(`${runtime.url}/health`)
    }
  })
