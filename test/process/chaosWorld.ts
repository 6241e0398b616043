/** Plane, gateway and account in which every process can be killed and started again. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import type { Account, NewAgent } from "../../local/account.ts"
import { freePort, launchGateway, launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Launched, LaunchFailed } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import { personAt } from "../../local/person.ts"
import type { Person } from "../../local/person.ts"
import { readHistory } from "../../local/plane/callHistory.ts"
import { replay } from "../simulation/history.ts"
import { entry } from "./entry.ts"
import { restartable } from "./restartable.ts"
import type { Restartable } from "./restartable.ts"
import { eventually } from "./setup.ts"
import type { Message, NotificationRow } from "./setup.ts"

const team: ReadonlyArray<NewAgent> = Array.from({ length: 6 }, (_, index) => ({
  slug: `agent-${index}`,
  name: `Agent ${index}`,
  role: "answers",
  flags: { canCreateTasks: true }
}))

/** Each turn creates a task and then answers. Both must exist once, even if a process dies in between. */
const script: Script = {
  rules: [
    {
      match: '"tool":"task_create","success":true',
      repeat: true,
      capture: { n: "request number (\\d+)" },
      actions: [{ delayMs: 60, text: "Answer {{n}}" }]
    },
    {
      match: "mentioned you",
      repeat: true,
      capture: { n: "request number (\\d+)" },
      actions: [{ delayMs: 60, toolCalls: [{ name: "task_create", args: { title: "Follow-up {{n}}" } }] }]
    }
  ],
  fallback: { text: "NO_ACTION" }
}

export type World = {
  readonly plane: Restartable
  readonly gateway: Restartable
  readonly account: Account
  readonly person: Person
  readonly runtimeOf: (id: string, env?: Record<string, string>) => Effect.Effect<Launched, LaunchFailed, Scope.Scope>
  /** Posts one request in its own task. */
  readonly request: (n: number) => Effect.Effect<void>
  /** The agents' notifications of the account. */
  readonly notifications: Effect.Effect<ReadonlyArray<NotificationRow>>
  /** The thread of a request. */
  readonly thread: (n: number) => Effect.Effect<ReadonlyArray<Message>>
  readonly quiet: Effect.Effect<void>
  /** Attempts of each request: claims that were not released. */
  readonly attempts: Effect.Effect<ReadonlyArray<number>>
  /** Makes the next `turns` turns hang in the gateway. Returns the effect that waits until all of them do. */
  readonly hang: (turns: number) => Effect.Effect<Effect.Effect<void>>
  /**
   * Asserts that each request was answered once, that nothing was created twice, and that the simulation's model agrees
   * with each call. Kills the plane and starts it again.
   */
  readonly check: (requests: number) => Effect.Effect<void>
}

const open = new Set(["ready", "claimed"])

export const makeWorld = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-chaos-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const [planePort, gatewayPort] = [yield* freePort, yield* freePort]
  const adminKey = "local|chaos"
  const planeUrl = `http://127.0.0.1:${planePort}`
  const gatewayUrl = `http://127.0.0.1:${gatewayPort}`
  const data = join(folder, "plane.db")
  const plane = yield* restartable(
    launchPlane({ args: ["--port", String(planePort), "--data", data, "--history", "--admin-key", adminKey] })
  )
  const startGateway = launchGateway({
    args: ["--port", String(gatewayPort), "--agents", team.map(({ slug }) => slug).join(",")]
  }).pipe(
    Effect.tap(() =>
      Effect.promise(() => fetch(`${gatewayUrl}/__local/script`, { method: "POST", body: JSON.stringify(script) }))
    )
  )
  const gateway = yield* restartable(startGateway)
  // A call that meets the restarting plane is repeated, as a web application does.
  const direct = personAt(planeUrl, adminKey)
  const again = (call: () => Promise<any>) => async (): Promise<any> => {
    for (;;) {
      try {
        return await call()
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
  const person: Person = {
    query: (path, args) => again(() => direct.query(path, args))(),
    mutation: (path, args) => direct.mutation(path, args)
  }
  const account = yield* Effect.promise(() => makeAccount(person, team))
  const { accountId } = account
  yield* Effect.promise(() => person.mutation("app/accounts:configure", { accountId, sessionScope: "task" }))
  // A killed run counts as if it had spent its allowance, and many kills would use up an account's first budget.
  const large = { period: "day", unit: "tokens", limit: 1_000_000_000 }
  yield* Effect.promise(() => person.mutation("app/budgets:set", { accountId, ...large }))
  const tasks = new Map<number, string>()
  const notifications: Effect.Effect<ReadonlyArray<NotificationRow>> = Effect.promise(() =>
    person.query("app/notifications:list", { accountId, limit: 500 })
  ).pipe(Effect.map((rows: ReadonlyArray<NotificationRow>) => rows.filter((row) => row.recipientType === "agent")))
  const world: World = {
    plane,
    gateway,
    account,
    person,
    notifications,
    thread: (n) => Effect.promise(() => person.query("app/messages:list", { accountId, taskId: tasks.get(n)! })),
    runtimeOf: (id, env = {}) =>
      launchRuntime({
        entry,
        env: runtimeEnv(
          account,
          planeUrl,
          { url: gatewayUrl },
          {
            RUNTIME_ID: id,
            DELIVERY_MAX_ATTEMPTS: "40",
            DELIVERY_BACKOFF_BASE_MS: "1000",
            DELIVERY_BACKOFF_MAX_MS: "2000",
            ...env
          }
        )
      }),
    request: (n) =>
      Effect.promise(async () => {
        const { taskId } = await person.mutation("app/tasks:create", { accountId, title: `Request ${n}` })
        tasks.set(n, taskId)
        const content = `@agent-${n % team.length} this is request number ${n}`
        await person.mutation("app/messages:post", { accountId, taskId, content })
      }),
    quiet: eventually(notifications, (rows) => rows.every((row) => !open.has(row.state))).pipe(
      Effect.timeoutOrElse({
        duration: "200 seconds",
        orElse: () =>
          Effect.flatMap(notifications, (rows) =>
            Effect.die(`never quiet: ${JSON.stringify(rows.filter((row) => open.has(row.state)))}`)
          )
      }),
      Effect.asVoid
    ),
    attempts: Effect.map(notifications, (rows) =>
      rows.filter(({ type }) => type === "mention").map(({ attempts }) => attempts)
    ),
    hang: (turns) =>
      Effect.promise(() =>
        fetch(`${gatewayUrl}/__local/faults`, { method: "POST", body: JSON.stringify({ kind: "hang", count: turns }) })
      ).pipe(
        Effect.as(
          Effect.asVoid(
            eventually(
              Effect.promise(async (): Promise<{ readonly waiting: number }> => {
                const response = await fetch(`${gatewayUrl}/__local/faults`)
                return (await response.json()) as { readonly waiting: number }
              }),
              ({ waiting }) => waiting === 0
            )
          )
        )
      ),
    check: Effect.fnUntraced(function* (requests) {
      const mentions = (yield* notifications).filter(({ type }) => type === "mention")
      assert.strictEqual(mentions.length, requests)
      for (const { outcome, state } of mentions) assert.include(["delivered", "dead"], state, String(outcome))
      for (let n = 0; n < requests; n++) {
        const messages = yield* world.thread(n)
        const answers = messages.filter(({ kind }) => kind === "reply" || kind === "fallback" || kind === "note")
        assert.strictEqual(answers.length, 1, `answers to request ${n}: ${JSON.stringify(answers)}`)
      }
      const all: ReadonlyArray<{ readonly title: string }> = yield* Effect.promise(() =>
        person.query("app/tasks:list", { accountId, limit: 500 })
      )
      const created = all.map(({ title }) => title).filter((title) => title.startsWith("Follow-up "))
      const replied = mentions.filter(({ outcome }) => outcome === "replied").length
      assert.isAtLeast(replied, requests * 0.9, "agents answered fewer requests than expected")
      assert.isAtLeast(created.length, replied, "an answer exists without its creation")
      assert.deepStrictEqual(created.toSorted(), [...new Set(created)].toSorted(), "a task was created twice")
      yield* plane.kill
      const [judged] = replay(readHistory(data))
      yield* Effect.orDie(plane.start)
      assert.isNull(judged?.lost)
      assert.isNull(judged?.divergence, "a call contradicts the simulation's model")
    })
  }
  return world
})
