import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import { startModel } from "../../local/model/server.ts"
import { personAt } from "../../local/person.ts"
import { allTools } from "../../src/services/tools/AllTools.ts"
import { eventually } from "../process/setup.ts"
import type { Message, NotificationRow } from "../process/setup.ts"
import { startGateway } from "./oneGateway.ts"
import { playScript, sharedGateway } from "./sharedGateway.ts"

/** A plane with Alpha, the orchestrator, and Beta; a task of Alpha's, and an unused one. */
const setUp = Effect.gen(function* () {
  const plane = yield* launchPlane({})
  const person = personAt(plane.url, plane.adminKey)
  const account = yield* Effect.promise(() =>
    makeAccount(person, [
      { slug: "alpha", name: "Alpha One", role: "plans", isOrchestrator: true, flags: { canCreateTasks: true } },
      { slug: "beta", name: "Beta Two", role: "builds" }
    ])
  )
  const { accountId, agents } = account
  const make = (title: string, assigneeIds: Array<string>) =>
    Effect.promise(() => person.mutation("app/tasks:create", { accountId, title, assigneeIds })).pipe(
      Effect.map(({ taskId }) => String(taskId))
    )
  const taskId = yield* make("Fix the login button", [agents["alpha"]!])
  const uselessId = yield* make("Nobody needs this", [])
  const notifications: Effect.Effect<ReadonlyArray<NotificationRow>> = Effect.promise(() =>
    person.query("app/notifications:list", { accountId, limit: 500 })
  ).pipe(Effect.map((rows: ReadonlyArray<NotificationRow>) => rows.filter((row) => row.recipientType === "agent")))
  const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
    person.query("app/messages:list", { accountId, taskId })
  )
  return { account, messages, notifications, person, plane, taskId, uselessId }
})

const calls = (tools: Record<string, object>) =>
  Object.entries(tools).map(([name, args]) => ({ name, args: args as unknown }))

const taskId = "{{taskId}}"
const capture = { taskId: "task id: ([A-Za-z0-9]+)" }

/** Nine calls in one round, eight in the next, then the text. */
const everyTool: Script = {
  fallback: { text: "NO_ACTION" },
  rules: [
    { matchSystem: "You are Alpha One", match: '"tool":"task_delete"', actions: [{ text: "All of it is done." }] },
    {
      matchSystem: "You are Alpha One",
      match: '"tool":"task_history"',
      capture: { ...capture, uselessId: "delete ([A-Za-z0-9]+)" },
      actions: [
        {
          toolCalls: calls({
            task_list: { assigneeSlug: "alpha", limit: 5 },
            task_get: { taskId },
            task_thread: { taskId, limit: 5 },
            task_search: { query: "login" },
            task_message: { taskId, content: "Beta will help." },
            task_assign: { taskId, assigneeSlugs: ["alpha", "beta"] },
            task_link_pr: { taskId, prNumber: 41 },
            task_delete: { taskId: "{{uselessId}}", reason: "Nobody needs it." }
          })
        }
      ]
    },
    {
      matchSystem: "You are Alpha One",
      match: "mentioned you",
      capture,
      actions: [
        {
          toolCalls: calls({
            task_status: { taskId, status: "in_progress" },
            task_update: { taskId, priority: 1, labels: ["web", "urgent"], dueDate: "2027-01-31" },
            task_create: { title: "Write a test for it", description: "In the browser.", assigneeSlugs: ["beta"] },
            document_upsert: { title: "Findings", content: "The handler is missing.", type: "note" },
            document_list: { taskId },
            response_request: { recipientSlugs: ["beta"], message: "Can you look at it too?" },
            task_load: { taskId, messageLimit: 5 },
            get_agent_skills: {},
            task_history: { taskId }
          })
        }
      ]
    }
  ]
}

describe("the tools with a real gateway", () => {
  it.live("are each called once, several in a round, with their documented effect", () =>
    Effect.gen(function* () {
      yield* playScript(everyTool)
      const { account, messages, person, plane, taskId, uselessId } = yield* setUp
      const { accountId } = account
      yield* Effect.promise(() =>
        person.mutation("app/messages:post", {
          accountId,
          taskId,
          content: `@alpha do it all, and delete ${uselessId}`
        })
      )
      const runtime = yield* launchRuntime({
        env: runtimeEnv(account, plane.url, sharedGateway())
      })
      const thread = yield* eventually(messages, (all) => all.some(({ content }) => content === "All of it is done."))
      const logged = runtime
        .output()
        .split("\n")
        .filter((line) => line.includes('"tool called"'))
        .map((line) => JSON.parse(line) as { readonly tool: string; readonly success: boolean })
      assert.deepStrictEqual(
        logged.filter(({ success }) => !success),
        []
      )
      assert.sameMembers(
        logged.map(({ tool }) => tool),
        allTools.map(({ name }) => name)
      )
      const { task } = yield* Effect.promise(() => person.query("app/tasks:get", { accountId, taskId }))
      assert.strictEqual(task.status, "in_progress")
      assert.strictEqual(task.priority, 1)
      assert.strictEqual(task.prNumber, 41)
      assert.deepStrictEqual(
        task.assignees.map(({ slug }: { readonly slug: string }) => slug),
        ["alpha", "beta"]
      )
      assert.isTrue(thread.some(({ content }) => content === "Beta will help."))
      const tasks: ReadonlyArray<{ readonly id: string; readonly title: string; readonly status: string }> =
        yield* Effect.promise(() => person.query("app/tasks:list", { accountId }))
      assert.strictEqual(tasks.find(({ id }) => id === uselessId)?.status, "archived")
      assert.lengthOf(
        tasks.filter(({ title }) => title === "Write a test for it"),
        1
      )
    }).pipe(Effect.scoped)
  )

  it.live(
    "are used through exec and curl, by the agent's instructions, with OPENCLAW_CLIENT_TOOLS_ENABLED=false",
    () =>
      Effect.gen(function* () {
        const curl = (path: string, body: string) =>
          `curl -sS -X POST {{base}}${path} -H 'content-type: application/json' -H 'x-openclaw-session-key: {{key}}' -H 'x-mission-control-capability: {{capability}}' -d '${body}'`
        const script: Script = {
          fallback: { text: "NO_ACTION" },
          rules: [
            {
              matchSystem: "You are Alpha One",
              match: '"tool":"document_upsert"',
              actions: [{ text: "Done with curl." }]
            },
            {
              matchSystem: "You are Alpha One",
              match: "mentioned you",
              capture: {
                ...capture,
                base: "curl -sS -X POST (http://[^ /]+)/agent/",
                key: "x-openclaw-session-key: ([^']+)'",
                capability: "x-mission-control-capability: ([A-Za-z0-9_-]+)'"
              },
              actions: [
                {
                  toolCalls: [
                    {
                      name: "exec",
                      args: {
                        command: `${curl("/agent/task-status", '{"taskId":"{{taskId}}","status":"in_progress"}')} && ${curl("/agent/document", '{"title":"By curl","content":"It worked.","type":"note"}')}`
                      }
                    }
                  ]
                }
              ]
            }
          ]
        }
        const model = yield* Effect.acquireRelease(
          Effect.promise(() => startModel({ script })),
          (server) => Effect.promise(() => server.stop())
        )
        const { gateway } = yield* startGateway({ name: "exec", modelUrl: model.url, builtIns: ["exec"] })
        const { account, messages, person, plane, taskId } = yield* setUp
        const { accountId } = account
        yield* Effect.promise(() =>
          person.mutation("app/messages:post", { accountId, taskId, content: "@alpha please take this." })
        )
        const runtime = yield* launchRuntime({
          env: runtimeEnv(
            account,
            plane.url,
            { url: gateway.url, token: gateway.token },
            { OPENCLAW_CLIENT_TOOLS_ENABLED: "false" }
          )
        })
        yield* eventually(messages, (all) => all.some(({ content }) => content === "Done with curl."))
        const { task } = yield* Effect.promise(() => person.query("app/tasks:get", { accountId, taskId }))
        assert.strictEqual(task.status, "in_progress")
        const documents: ReadonlyArray<{ readonly title: string }> = yield* Effect.promise(() =>
          person.query("app/documents:list", { accountId, taskId })
        )
        assert.deepStrictEqual(
          documents.map(({ title }) => title),
          ["By curl"]
        )
        const capability = /x-mission-control-capability: ([A-Za-z0-9_-]+)'/.exec(
          JSON.stringify(model.model.requests)
        )?.[1]
        assert.isDefined(capability)
        assert.notInclude(runtime.output(), capability)
      }).pipe(Effect.scoped),
    180_000
  )
})
