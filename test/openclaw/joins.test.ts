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
import type { Message, NotificationRow } from "../process/setup.ts"
import { startGateway } from "./oneGateway.ts"

const lastUserText = ({ messages }: ChatRequest): string => {
  const isOurs = (text: string) => !text.includes("BEGIN_OPENCLAW_INTERNAL_CONTEXT")
  const texts = messages.filter(({ role }) => role === "user").map((message) => textOf(message))
  return texts.findLast(isOurs) ?? ""
}

const SECOND = "Also write the summary."
/** A turn that never sees the message ends all the same. */
const MOST_ROUNDS = 5

describe("a message in the middle of a tool loop on a real gateway", () => {
  it.live(
    "joins the running turn together with the tool's result, and one answer covers both",
    () =>
      Effect.gen(function* () {
        const requests: Array<string> = []
        let post: () => Promise<unknown> = () => Promise.reject(new Error("too early"))
        const baseUrl = yield* serveActingModel(async ({ tools }, chat) => {
          const own = lastUserText(chat)
          if (tools.includes(CANARY_TOOL)) return { name: CANARY_TOOL, args: { word: "canary" } }
          if (!own.includes("delivery ") && !own.includes('"tool":"')) return "NO_ACTION"
          requests.push(own)
          if (own.includes("And now?")) return "Third done."
          // The person writes while the model thinks.
          if (requests.length === 1) await post()
          const taskId = /task id: (\w+)/.exec(requests[0] ?? "")?.[1] ?? ""
          return own.includes(SECOND) || requests.length > MOST_ROUNDS
            ? "Both done."
            : { name: "task_load", args: { taskId } }
        })
        const { gateway } = yield* startGateway({ name: "joins", modelUrl: baseUrl.replace(/\/v1$/, ""), builtIns: [] })
        const plane = yield* launchPlane({})
        const person = personAt(plane.url, plane.adminKey)
        const account = yield* Effect.promise(() =>
          makeAccount(person, [{ slug: "alpha", name: "Alpha One", role: "builds" }])
        )
        const { accountId } = account
        const { taskId } = yield* Effect.promise(() => person.mutation("app/tasks:create", { accountId, title: "T" }))
        const say = (content: string) => person.mutation("app/messages:post", { accountId, taskId, content })
        post = () => say(`@alpha ${SECOND}`)
        const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
          person.query("app/messages:list", { accountId, taskId })
        )
        yield* launchRuntime({ env: runtimeEnv(account, plane.url, { url: gateway.url, token: gateway.token }) })
        yield* Effect.promise(() => say("@alpha fix the button."))
        const thread = yield* eventually(messages, (all) => all.length >= 3)
        assert.deepStrictEqual(
          thread.map(({ content }) => content),
          ["@alpha fix the button.", `@alpha ${SECOND}`, "Both done."]
        )
        const joined = requests.find((text) => text.includes(SECOND)) ?? ""
        assert.include(joined, '"tool":"task_load"')
        assert.include(joined, "arrived while you were working")
        const rows: ReadonlyArray<NotificationRow> = yield* Effect.promise(() =>
          person.query("app/notifications:list", { accountId, taskId })
        )
        assert.deepStrictEqual(
          rows.filter(({ recipientType }) => recipientType === "agent").map(({ outcome }) => outcome),
          ["replied"]
        )

        yield* Effect.promise(() => say("@alpha And now?"))
        yield* eventually(messages, (all) => all.some(({ content }) => content === "Third done."))
        const last = requests.at(-1) ?? ""
        assert.include(last, "This text adds to full text")
        assert.notInclude(last, SECOND)
      }).pipe(Effect.scoped),
    { timeout: 300_000 }
  )
})
