import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchGateway, launchRuntime } from "../../local/launcher.ts"
import { eventually } from "../process/setup.ts"
import type { Message, NotificationRow } from "../process/setup.ts"
import { deploymentUrl, newPerson } from "./target.ts"

describe("the runtime before this deployment", () => {
  it.live("delivers a person's message to an agent and posts the reply, and is offline after it stopped", () =>
    Effect.gen(function* () {
      const person = newPerson()
      const account = yield* Effect.promise(() =>
        makeAccount(
          person,
          [{ slug: "engineer", name: "Engineer", role: "builds", heartbeat: "0 0 29 2 *" }],
          "Conformance test"
        )
      )
      const { accountId } = account
      const gateway = yield* launchGateway({ args: ["--agents", "engineer"] })
      const script = { fallback: { text: "The button works again." } }
      yield* Effect.promise(() =>
        fetch(`${gateway.url}/__local/script`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(script)
        })
      )
      // A runtime refuses to start with the deploy key, which this test has from its environment.
      const own = { RUNTIME_ID: "conformance", CONVEX_DEPLOY_KEY: "" }
      const runtime = yield* launchRuntime({ env: runtimeEnv(account, deploymentUrl, { url: gateway.url }, own) })
      const { taskId } = yield* Effect.promise(() =>
        person.mutation("app/tasks:create", { accountId, title: "Fix the login button" })
      )
      yield* Effect.promise(() =>
        person.mutation("app/messages:post", { accountId, taskId, content: "@engineer please fix it" })
      )
      const thread = yield* eventually(
        Effect.promise((): Promise<ReadonlyArray<Message>> => person.query("app/messages:list", { accountId, taskId })),
        (messages) => messages.length > 1
      )
      assert.deepStrictEqual(
        thread.map(({ author, content }) => [author.type, content]),
        [
          ["person", "@engineer please fix it"],
          ["agent", "The button works again."]
        ]
      )
      const rows: ReadonlyArray<NotificationRow> = yield* Effect.promise(() =>
        person.query("app/notifications:list", { accountId, taskId })
      )
      const agentRows = rows.filter(({ recipientType }) => recipientType === "agent")
      assert.deepStrictEqual(
        agentRows.map(({ attempts, outcome, state }) => ({ attempts, outcome, state })),
        [{ attempts: 1, outcome: "replied", state: "delivered" }]
      )
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const [status] = yield* Effect.promise(() => person.query("app/runtimes:list", { accountId }))
      assert.strictEqual(status.status, "offline")
    })
  )
})
