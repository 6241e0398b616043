import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import { personAt } from "../../local/person.ts"
import { eventually } from "../process/setup.ts"
import type { Message } from "../process/setup.ts"
import { playScript, sharedGateway } from "./sharedGateway.ts"

/** The first heartbeats of this agent, which have their own session. */
const inHeartbeatOf = (name: string, match: string) => ({
  matchSystem: `You are ${name}`,
  match: { regex: `${match}[\\s\\S]*This is your heartbeat|This is your heartbeat[\\s\\S]*${match}` }
})

/** Alpha looks at its task and posts a text; after that, like beta from the start, it finds nothing to do. */
const script: Script = {
  rules: [
    {
      ...inHeartbeatOf("Alpha Beating", "your tasks"),
      capture: { taskId: "task id: ([A-Za-z0-9]+)" },
      actions: [{ toolCalls: [{ name: "task_status", args: { taskId: "{{taskId}}", status: "in_progress" } }] }]
    },
    {
      ...inHeartbeatOf("Alpha Beating", '"status":"in_progress"'),
      actions: [{ text: "I have begun with the button." }]
    },
    { match: "This is your heartbeat", repeat: true, actions: [{ text: "HEARTBEAT_OK" }] },
    { match: "assigned this task to you", repeat: true, actions: [{ text: "Noted." }] },
    { match: "wrote in the thread", repeat: true, actions: [{ text: "NO_ACTION" }] }
  ]
}

describe("heartbeats with a real gateway", () => {
  it.live("act with tools, post once in the task's thread, and post no HEARTBEAT_OK", () =>
    Effect.gen(function* () {
      yield* playScript(script)
      const plane = yield* launchPlane({})
      const person = personAt(plane.url, plane.adminKey)
      // The plane's ids repeat, and the tests share a gateway. Another account id gives this test its own sessions.
      for (const name of ["Not used", "Not used either"]) {
        yield* Effect.promise(() => person.mutation("app/accounts:create", { name }))
      }
      const account = yield* Effect.promise(() =>
        makeAccount(person, [
          { slug: "alpha", name: "Alpha Beating", role: "builds" },
          { slug: "beta", name: "Beta Beating", role: "tests" }
        ])
      )
      const { accountId, agents } = account
      const { taskId } = yield* Effect.promise(() =>
        person.mutation("app/tasks:create", {
          accountId,
          title: "Fix the login button",
          assigneeIds: [agents["alpha"]!]
        })
      )
      const runtime = yield* launchRuntime({
        env: runtimeEnv(account, plane.url, sharedGateway())
      })
      const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
        person.query("app/messages:list", { accountId, taskId })
      )
      yield* eventually(messages, (thread) => thread.length > 0)
      for (const agentId of Object.values(agents)) {
        yield* Effect.promise(() =>
          person.mutation("app/agents:update", { accountId, agentId, heartbeat: "*/2 * * * * *" })
        )
      }
      const health = () =>
        Effect.promise(async (): Promise<any> => (await fetch(`${runtime.url}/health`)).json()).pipe(
          Effect.map(({ heartbeats }) => heartbeats)
        )
      yield* eventually(
        Effect.suspend(health),
        ({ outcomes }) => (outcomes.posted ?? 0) + (outcomes.acted ?? 0) >= 1 && (outcomes.ok ?? 0) >= 3
      )
      const thread = yield* messages
      assert.lengthOf(
        thread.filter(({ content }) => content === "I have begun with the button."),
        1
      )
      assert.isFalse(thread.some(({ content }) => content.includes("HEARTBEAT_OK")))
      const { task } = yield* Effect.promise(() => person.query("app/tasks:get", { accountId, taskId }))
      assert.strictEqual(task.status, "in_progress")
      const { lastErrorMessage } = yield* Effect.suspend(health)
      assert.isNull(lastErrorMessage)
      yield* runtime.signal("SIGINT")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
    }).pipe(Effect.scoped)
  )
})
