import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import { textOf } from "../../local/model/chat.ts"
import type { ChatRequest } from "../../local/model/chat.ts"
import { personAt } from "../../local/person.ts"
import { CANARY_TOOL } from "../../src/domain/gateway/Canary.ts"
import { serveActingModel } from "../actingModel.ts"
import { eventually } from "../process/setup.ts"
import type { Message } from "../process/setup.ts"
import { startGateway } from "./oneGateway.ts"

/** The messages of a request without the note about the gateway that it adds to each call. */
const spoken = ({ messages }: ChatRequest) =>
  messages.filter((message) => message.role !== "user" || !textOf(message).includes("BEGIN_OPENCLAW_INTERNAL_CONTEXT"))

/** The parts of a request by which a provider caches, in order. */
const cacheable = (request: ChatRequest): ReadonlyArray<string> => [
  JSON.stringify(request.tools),
  ...spoken(request).map((message) => JSON.stringify(message))
]

const lastUserText = (request: ChatRequest): string => {
  const last = spoken(request).findLast(({ role }) => role === "user")
  return last === undefined ? "" : textOf(last)
}

describe("the provider's requests from a real gateway", () => {
  it.live(
    "start with the whole previous request of their session, across runtimes, for deliveries and for heartbeats",
    () =>
      Effect.gen(function* () {
        const deliveries: Array<ChatRequest> = []
        const heartbeats: Array<ChatRequest> = []
        const baseUrl = yield* serveActingModel(async ({ tools }, chat) => {
          const own = lastUserText(chat)
          if (tools.includes(CANARY_TOOL)) return { name: CANARY_TOOL, args: { word: "canary" } }
          if (own.includes("warm up")) return "ok"
          if (/\bheartbeat \S+, attempt /.test(own)) {
            heartbeats.push(chat)
            return "HEARTBEAT_OK"
          }
          deliveries.push(chat)
          const taskId = /task id: (\w+)/.exec(own)?.[1] ?? ""
          if (own.includes("look at it first") && !own.includes('"tool":"'))
            return { name: "task_load", args: { taskId } }
          return `answer ${deliveries.length}`
        })
        const { gateway } = yield* startGateway({
          name: "prefix",
          modelUrl: baseUrl.replace(/\/v1$/, ""),
          builtIns: ["read", "exec"]
        })
        const plane = yield* launchPlane({})
        const person = personAt(plane.url, plane.adminKey)
        const account = yield* Effect.promise(() =>
          makeAccount(person, [{ slug: "alpha", name: "Alpha One", role: "builds", heartbeat: "0 0 29 2 *" }])
        )
        const { accountId, agents } = account
        const agentId = agents["alpha"]!
        const { taskId } = yield* Effect.promise(() =>
          person.mutation("app/tasks:create", { accountId, title: "Fix the login button" })
        )
        const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
          person.query("app/messages:list", { accountId, taskId })
        )
        const start = (runtimeId: string) =>
          launchRuntime({
            env: runtimeEnv(account, plane.url, { url: gateway.url, token: gateway.token }, { RUNTIME_ID: runtimeId })
          })
        const ask = Effect.fnUntraced(function* (content: string) {
          const before = (yield* messages).length
          yield* Effect.promise(() => person.mutation("app/messages:post", { accountId, taskId, content }))
          yield* eventually(messages, (thread) => thread.length === before + 2)
        })

        const first = yield* start("one")
        yield* ask("@alpha can you take this?")
        yield* first.signal("SIGINT")
        yield* first.exit
        yield* start("two")
        yield* ask("@alpha look at it first, please.")
        yield* Effect.promise(() => person.mutation("app/tasks:assign", { accountId, taskId, assigneeIds: [agentId] }))
        yield* eventually(
          Effect.sync(() => deliveries.length),
          (count) => count >= 3
        )
        yield* Effect.promise(() =>
          person.mutation("app/agents:update", { accountId, agentId, heartbeat: "* * * * * *" })
        )
        yield* eventually(
          Effect.sync(() => heartbeats.length),
          (count) => count >= 3
        )

        for (const requests of [deliveries, heartbeats]) {
          assert.isAtLeast(requests.length, 3)
          for (const [index, request] of requests.slice(1).entries()) {
            const previous = cacheable(requests[index]!)
            assert.deepStrictEqual(cacheable(request).slice(0, previous.length), previous)
          }
        }
      }).pipe(Effect.scoped),
    { timeout: 240_000 }
  )
})
