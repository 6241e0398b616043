import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Action, Script } from "../../local/model/script.ts"
import { startModel } from "../../local/model/server.ts"
import { personAt } from "../../local/person.ts"
import { eventually } from "../process/setup.ts"
import type { Message, NotificationRow } from "../process/setup.ts"
import { stopInOpenClaw } from "../process/stopInOpenClaw.ts"
import { startGateway } from "./oneGateway.ts"
import { setting } from "./sharedGateway.ts"

/** A separate gateway whose agents may run commands; the first turn does this, each later one answers. */
const makeWorld = Effect.fnUntraced(function* (first: Action) {
  const script: Script = {
    rules: [
      {
        matchSystem: "You are Alpha One",
        match: "the second request",
        repeat: true,
        actions: [{ text: "Second done." }]
      },
      { matchSystem: "You are Alpha One", match: "the first request", actions: [first] }
    ],
    fallback: { text: "NO_ACTION" }
  }
  const model = yield* Effect.acquireRelease(
    Effect.promise(() => startModel({ script })),
    (server) => Effect.promise(() => server.stop())
  )
  const { gateway, root } = yield* startGateway({ name: "stop", modelUrl: model.url, builtIns: ["exec"] })
  const plane = yield* launchPlane({})
  const person = personAt(plane.url, plane.adminKey)
  const account = yield* Effect.promise(() =>
    makeAccount(person, [{ slug: "alpha", name: "Alpha One", role: "builds", flags: { canCreateTasks: true } }])
  )
  const { accountId } = account
  const { taskId } = yield* Effect.promise(() => person.mutation("app/tasks:create", { accountId, title: "T" }))
  yield* launchRuntime({ env: runtimeEnv(account, plane.url, { url: gateway.url, token: gateway.token }) })
  const rows: Effect.Effect<ReadonlyArray<NotificationRow>> = Effect.promise(() =>
    person.query("app/notifications:list", { accountId, limit: 500 })
  ).pipe(Effect.map((all: ReadonlyArray<NotificationRow>) => all.filter((row) => row.recipientType === "agent")))
  const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
    person.query("app/messages:list", { accountId, taskId })
  )
  return {
    rows,
    messages,
    root,
    stopInOpenClaw: stopInOpenClaw(gateway, `agent:alpha:${accountId}`),
    modelRequests: Effect.sync(() => model.model.requests),
    post: (content: string) =>
      Effect.asVoid(Effect.promise(() => person.mutation("app/messages:post", { accountId, taskId, content }))),
    stop: (run: string) => Effect.promise(() => person.mutation("app/runs:stop", { accountId, run })),
    limit: (tokens: number) =>
      Effect.promise(() =>
        person.mutation("app/budgets:set", { accountId, period: "lifetime", unit: "tokens", limit: tokens })
      ),
    tasks: Effect.promise((): Promise<ReadonlyArray<{ readonly title: string }>> =>
      person.query("app/tasks:list", { accountId })
    )
  }
})

type World = Effect.Success<ReturnType<typeof makeWorld>>

/** A second request must be answered alone, with the stopped run marked as stopped. */
const answersAlone = Effect.fnUntraced(function* ({ messages, modelRequests, post, rows }: World, run: string) {
  yield* post("@alpha the second request")
  const thread = yield* eventually(messages, (all) => all.some(({ content }) => content === "Second done."))
  assert.deepStrictEqual(
    thread.filter(({ author, kind }) => author.name === "Alpha One" && kind === "reply").map(({ content }) => content),
    ["Second done."]
  )
  const prompts = JSON.stringify((yield* modelRequests).at(-1))
  assert.include(prompts, `Stopped runs, which you must not continue or answer even if their texts are above: ${run}`)
  assert.strictEqual((yield* rows).find(({ id }) => id === run)?.outcome, "stopped")
})

const firstRun = ({ rows }: World) => Effect.map(rows, (all) => all.find(({ type }) => type === "mention")!)

/** Stops the first request's turn, then sends and checks the second request. */
const stopAndContinue = Effect.fnUntraced(function* (world: World) {
  const { id } = yield* firstRun(world)
  assert.deepInclude(yield* world.stop(id), { stopped: 1, outcome: "stopped" })
  yield* answersAlone(world, id)
})

describe("a stop on a real gateway", () => {
  it.live(
    "in OpenClaw itself ends the run as stopped, and the next request is answered alone",
    (ctx) =>
      Effect.gen(function* () {
        if (setting("OPENCLAW_TEST_VERSION") === "2026.8.2") ctx.skip("2026.8.2 does not report it")
        const world = yield* makeWorld({ text: "First done.", delayMs: 60_000 })
        yield* world.post("@alpha the first request")
        yield* eventually(world.modelRequests, (all) => JSON.stringify(all).includes("the first request"))
        yield* world.stopInOpenClaw
        const { id } = yield* eventually(firstRun(world), ({ outcome }) => outcome !== null)
        const [, note] = yield* world.messages
        assert.include(note?.content, "Alpha One was stopped in OpenClaw.")
        yield* answersAlone(world, id)
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "ends a turn in the middle of a model call, and the next request is answered alone",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld({ text: "First done.", delayMs: 60_000 })
        yield* world.post("@alpha the first request")
        yield* eventually(world.modelRequests, (all) => JSON.stringify(all).includes("the first request"))
        yield* stopAndContinue(world)
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "ends a turn in the middle of a built-in tool, and the next request is answered alone",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld({ toolCalls: [{ name: "exec", args: { command: "sleep 60" } }] })
        yield* world.post("@alpha the first request")
        yield* eventually(world.modelRequests, (all) => JSON.stringify(all).includes("the first request"))
        yield* Effect.sleep("1 second")
        assert.isFalse((yield* world.messages).some(({ author }) => author.name === "Alpha One"))
        yield* stopAndContinue(world)
      }).pipe(Effect.scoped),
    300_000
  )
})

describe("a budget on a real gateway", () => {
  it.live(
    "closes a request whose model call uses it up, in the middle of a built-in tool",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld({ toolCalls: [{ name: "exec", args: { command: "sleep 600" } }] })
        yield* world.limit(100)
        yield* world.post("@alpha the first request")
        const { outcome } = yield* eventually(firstRun(world), (run) => run?.outcome !== null)
        assert.strictEqual(outcome, "stopped")
        const notes = (yield* world.messages).filter(({ author }) => author.type !== "person")
        assert.lengthOf(notes, 1)
        assert.match(
          notes[0]?.content ?? "",
          /^Alpha One was stopped: 100 % of the account's budget of 100.*Done: nothing/
        )
        const calls = (yield* world.modelRequests).filter((each) => JSON.stringify(each).includes("the first request"))
        assert.lengthOf(calls, 1)
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "ends a run that reaches it with one note of the work done, and resumes it when it is raised",
    () =>
      Effect.gen(function* () {
        const call = { name: "task_create", args: { title: "Follow-up" } }
        const { limit, messages, modelRequests, post, rows, tasks } = yield* makeWorld({ toolCalls: [call] })
        yield* limit(100)
        yield* post("@alpha the first request")
        const [run] = yield* eventually(rows, (all) => all.some(({ outcome }) => outcome !== null))
        assert.strictEqual(run?.outcome, "stopped")
        const before = (yield* modelRequests).length
        const ofAlpha = Effect.map(messages, (all) => all.filter(({ author }) => author.type !== "person"))
        const notes = yield* ofAlpha
        assert.lengthOf(notes, 1)
        assert.include(notes[0]?.content, "Alpha One was stopped: 100 % of the account's budget of 100")
        assert.include(notes[0]?.content, "Done: task_create.")
        yield* post("@alpha the second request")
        yield* eventually(rows, (all) => all.some((row) => (row as { held?: unknown }).held !== null))
        assert.strictEqual((yield* modelRequests).length, before)
        yield* limit(1_000_000)
        yield* eventually(messages, (all) => all.some(({ content }) => content === "Second done."))
        assert.lengthOf(yield* ofAlpha, 2)
        const titles = (yield* tasks).map(({ title }) => title)
        assert.lengthOf(
          titles.filter((title) => title === call.args.title),
          1
        )
      }).pipe(Effect.scoped),
    300_000
  )
})
