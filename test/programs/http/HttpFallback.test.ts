import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { httpAccessIn, serveActingModel } from "../../actingModel.ts"
import { eventually, makeSetup } from "../../process/setup.ts"

/** What the agent did over HTTP in its turn. */
interface Done {
  readonly tools: ReadonlyArray<string>
  readonly capability: string
  readonly answers: ReadonlyArray<{ readonly status: number; readonly body: any }>
}

const scenario = (env: Record<string, string>, reply: string) =>
  Effect.gen(function* () {
    const turns: Array<Done> = []
    const modelUrl = yield* serveActingModel(async ({ system, tools, user }) => {
      if (!system.includes("You are Engineer")) return "NO_ACTION"
      const { call, capability } = httpAccessIn(user)
      const taskId = /task id: (\w+)/.exec(user)?.[1] ?? ""
      const answers = [
        await call("/agent/task-status", { taskId, status: "in_progress" }),
        await call("/agent/document", { title: "Findings", content: `It is ${capability}.`, type: "note" }),
        await call("/agent/task-delete", { taskId, reason: "I want to." })
      ]
      turns.push({ tools, capability, answers })
      return reply
    })
    const house = yield* makeSetup({ gatewayArgs: ["--model-url", modelUrl] })
    const { account, person } = house
    const runtime = yield* house.startRuntime({ OPENCLAW_CLIENT_TOOLS_ENABLED: "false", ...env })
    const { taskId } = yield* Effect.promise(() =>
      person.mutation("app/tasks:create", {
        accountId: account.accountId,
        title: "Fix the login button",
        assigneeIds: [account.agents["engineer"]!]
      })
    )
    yield* eventually(house.notifications, (rows) =>
      rows.some(({ state, type }) => type === "assignment" && state === "delivered")
    )
    const [turn] = turns
    if (turn === undefined) throw new Error("the agent had no turn")
    return { house, runtime, taskId: String(taskId), turn }
  })

describe("with OPENCLAW_CLIENT_TOOLS_ENABLED=false", () => {
  it.live(
    "an agent gets its work done over HTTP, by what its prompt says, and its reply is posted",
    () =>
      Effect.gen(function* () {
        const { house, runtime, taskId, turn } = yield* scenario({}, "All done.")
        const { account, person } = house
        assert.deepStrictEqual(
          turn.tools.filter((name) => name.startsWith("task_")),
          []
        )
        assert.deepStrictEqual(
          turn.answers.map(({ body, status }) => [status, body.tool, body.success]),
          [
            [200, "task_status", true],
            [200, "document_upsert", true],
            [403, "task_delete", false]
          ]
        )
        const { task } = yield* Effect.promise(() =>
          person.query("app/tasks:get", { accountId: account.accountId, taskId })
        )
        assert.strictEqual(task.status, "in_progress")
        const messages = yield* house.messages(taskId)
        assert.deepStrictEqual(
          messages.map(({ content }) => content),
          ["All done."]
        )
        // The capability is in the prompt and nowhere else.
        const documents = yield* Effect.promise(() =>
          person.query("app/documents:list", { accountId: account.accountId, taskId })
        )
        assert.deepStrictEqual(
          documents.map(({ content }: { content: string }) => content),
          ["It is <redacted>."]
        )
        assert.notInclude(runtime.output(), turn.capability)
        // It dies with the run.
        const late = yield* Effect.promise(() =>
          fetch(`${runtime.url}/agent/task-load`, {
            method: "POST",
            headers: {
              "content-type": "application/json",
              "x-openclaw-session-key": `agent:engineer:${account.accountId.toLowerCase()}`,
              "x-mission-control-capability": turn.capability
            },
            body: JSON.stringify({ taskId })
          })
        )
        assert.strictEqual(late.status, 401)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "an agent that acts over HTTP and ends with NO_ACTION has acted, and the thread shows what was done",
    () =>
      Effect.gen(function* () {
        const { house, taskId } = yield* scenario({ AGENT_HTTP_AUTH: "session-key" }, "NO_ACTION")
        const row = (yield* house.notifications).find(({ type }) => type === "assignment")
        assert.strictEqual(row?.outcome, "acted")
        const [note] = yield* house.messages(taskId)
        assert.strictEqual(note?.kind, "note")
        assert.include(note?.content, "task_status, document_upsert")
      }).pipe(Effect.scoped),
    60_000
  )
})
