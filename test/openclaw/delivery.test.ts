import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import { personAt } from "../../local/person.ts"
import { eventually } from "../process/house.ts"
import type { Message, NotificationRow } from "../process/house.ts"

const setting = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is missing: run npm run test:openclaw`)
  return value
}

const call = (path: string, method: string, body?: unknown): Effect.Effect<any> =>
  Effect.promise(async () => {
    const response = await fetch(`${setting("OPENCLAW_TEST_MODEL_URL")}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } })
    })
    return response.json()
  })

const taskId = { taskId: "task id: ([A-Za-z0-9]+)" }
const script: Script = {
  rules: [
    { matchSystem: "You are Alpha One", match: '"status":"in_progress"', actions: [{ text: "I have taken it." }] },
    {
      matchSystem: "You are Alpha One",
      match: '"tool":"task_load"',
      capture: taskId,
      actions: [{ toolCalls: [{ name: "task_status", args: { taskId: "{{taskId}}", status: "in_progress" } }] }]
    },
    {
      matchSystem: "You are Alpha One",
      match: "mentioned you",
      capture: taskId,
      actions: [{ toolCalls: [{ name: "task_load", args: { taskId: "{{taskId}}" } }] }]
    }
  ]
}

describe("the runtime before a real gateway", () => {
  it.live(
    "a person's message: two tool rounds, the task in progress, the reply in the thread, Ctrl-C leaves it offline",
    () =>
      Effect.gen(function* () {
        yield* call("/__local/script", "POST", script)
        const plane = yield* launchPlane({})
        const person = personAt(plane.url, plane.adminKey)
        const account = yield* Effect.promise(() =>
          makeAccount(person, [{ slug: "alpha", name: "Alpha One", role: "builds" }])
        )
        const { accountId, agents } = account
        const task = yield* Effect.promise(() =>
          person.mutation("app/tasks:create", {
            accountId,
            title: "Fix the login button",
            assigneeIds: [agents["alpha"]!]
          })
        )
        yield* Effect.promise(() =>
          person.mutation("app/messages:post", { accountId, taskId: task.taskId, content: "@alpha can you take this?" })
        )
        const runtime = yield* launchRuntime({
          env: runtimeEnv(account, plane.url, {
            url: setting("OPENCLAW_TEST_URL"),
            token: setting("OPENCLAW_TEST_TOKEN")
          })
        })
        const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
          person.query("app/messages:list", { accountId, taskId: task.taskId })
        )
        yield* eventually(messages, (thread) => thread.some(({ content }) => content === "I have taken it."))
        const { task: after } = yield* Effect.promise(() =>
          person.query("app/tasks:get", { accountId, taskId: task.taskId })
        )
        assert.strictEqual(after.status, "in_progress")
        const notifications: Effect.Effect<ReadonlyArray<NotificationRow>> = Effect.promise(() =>
          person.query("app/notifications:list", { accountId })
        ).pipe(Effect.map((all: ReadonlyArray<NotificationRow>) => all.filter((row) => row.recipientType === "agent")))
        const rows = yield* eventually(notifications, (all) => all.every(({ state }) => state === "delivered"))
        assert.strictEqual(rows.find(({ type }) => type === "mention")?.outcome, "replied")
        const tools = runtime
          .output()
          .split("\n")
          .filter((line) => line.includes('"tool called"'))
          .map((line) => JSON.parse(line))
        assert.deepStrictEqual(
          tools.slice(0, 2).map(({ success, tool }) => [tool, success]),
          [
            ["task_load", true],
            ["task_status", true]
          ]
        )
        yield* runtime.signal("SIGINT")
        assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
        const [presence] = yield* Effect.promise(() => person.query("app/runtimes:list", { accountId }))
        assert.strictEqual(presence.status, "offline")
      }).pipe(Effect.scoped)
  )
})
