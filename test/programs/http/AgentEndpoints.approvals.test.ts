import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { makeToolHouse } from "./toolHouse.ts"

describe("a call that needs approval", () => {
  it.live(
    "is answered alike over both transports: needs_approval, then the result or the denial",
    () =>
      Effect.gen(function* () {
        const house = yield* makeToolHouse()
        const { accountId, person } = house
        const tell = (path: string, args: object) => Effect.promise(() => person.mutation(path, { accountId, ...args }))
        yield* house.mention(house.ids.own, "@engineer please look")
        const run = (yield* house.claimEach).find(({ context }) => context.agent.slug === "engineer")
        if (run === undefined) throw new Error("the engineer has no run")
        yield* tell("app/policies:set", { tool: "task_create", effect: "ask" })
        const call = (title: string) =>
          house.agentTools.executeAgentTool(run, {
            callId: "call_1",
            name: "task_create",
            arguments: JSON.stringify({ title })
          })
        const post = (title: string) => house.post("/agent/task-create", run, { title })
        const request = (index: number): Effect.Effect<string> =>
          Effect.promise(async () => (await person.query("app/approvals:list", { accountId })).at(index)?.id)

        const asked = yield* post("One")
        assert.strictEqual(asked.status, 403)
        assert.deepInclude(asked.body, { tool: "task_create", success: false, code: "needs_approval" })
        assert.include(asked.body.error, "you are notified of the decision")
        const repeated = yield* call("One")
        assert.deepInclude(repeated, { success: false, isEffect: false, code: "needs_approval" })
        assert.deepStrictEqual(JSON.parse(repeated.json), asked.body)

        yield* tell("app/approvals:approve", { id: yield* request(0) })
        const approved = yield* post("One")
        assert.strictEqual(approved.status, 200)
        assert.deepInclude(approved.body, { success: true, status: "inbox", repeated: true })

        assert.deepInclude(yield* call("Two"), { code: "needs_approval" })
        yield* tell("app/approvals:deny", { id: yield* request(0), reason: "one is enough" })
        const denied = yield* post("Two")
        assert.strictEqual(denied.status, 403)
        assert.deepInclude(denied.body, { code: "forbidden" })
        assert.include(denied.body.error, "one is enough")
      }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))),
    60_000
  )
})
