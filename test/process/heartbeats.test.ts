import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Rule } from "../../local/model/script.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const EVERY_SECOND = "* * * * * *"

/** The heartbeats of this agent, which have their own session. */
const inHeartbeatOf = (name: string) => ({ matchSystem: `You are ${name} `, match: "This is your heartbeat" })

/** The other turns get a short answer, because the tests are about heartbeats. */
const others: ReadonlyArray<Rule> = [
  { match: "This is your heartbeat", repeat: true, actions: [{ text: "HEARTBEAT_OK" }] },
  { match: "wrote in the thread", repeat: true, actions: [{ text: "NO_ACTION" }] },
  { match: "assigned this task to you", repeat: true, actions: [{ text: "On it." }] }
]

/** The id of each heartbeat request that reached the gateway. */
const heartbeatsOf = (setup: Setup, agent: string) =>
  Effect.map(setup.requests, (requests) =>
    requests.flatMap((request) =>
      request.agent === agent ? [...request.input.matchAll(/^heartbeat (\S+), attempt/gm)].map(([, id]) => id!) : []
    )
  )

const setHeartbeat = (setup: Setup, slug: string, heartbeat: number | string) =>
  Effect.promise(() =>
    setup.person.mutation("app/agents:update", {
      accountId: setup.account.accountId,
      agentId: setup.account.agents[slug]!,
      heartbeat
    })
  )

const assigned = (setup: Setup, slug: string) =>
  Effect.promise(() =>
    setup.person.mutation("app/tasks:create", {
      accountId: setup.account.accountId,
      title: "Fix the login button",
      assigneeIds: [setup.account.agents[slug]!]
    })
  ).pipe(Effect.map(({ taskId }) => String(taskId)))

const removeAgent = (setup: Setup, slug: string) =>
  Effect.promise(() =>
    setup.person.mutation("app/agents:remove", {
      accountId: setup.account.accountId,
      agentId: setup.account.agents[slug]!
    })
  )

describe("heartbeats over whole processes", () => {
  it.live("post an agent's text once in its task, post no HEARTBEAT_OK, and are shown in presence", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({
        rules: [{ ...inHeartbeatOf("Engineer"), actions: [{ text: "The button works again." }] }, ...others]
      })
      const runtime = yield* setup.startRuntime()
      const taskId = yield* assigned(setup, "engineer")
      yield* eventually(setup.messages(taskId), (messages) => messages.some(({ content }) => content === "On it."))
      yield* setHeartbeat(setup, "engineer", EVERY_SECOND)
      yield* eventually(heartbeatsOf(setup, "engineer"), (ids) => ids.length >= 4)
      const messages = yield* setup.messages(taskId)
      assert.deepStrictEqual(
        messages.filter(({ content }) => content !== "On it.").map(({ author, content }) => [author.name, content]),
        [["Engineer", "The button works again."]]
      )
      const ids = yield* heartbeatsOf(setup, "engineer")
      assert.strictEqual(new Set(ids).size, ids.length)
      const { agentSync, heartbeats } = yield* eventually(
        setup.health(runtime),
        (health) => health["heartbeats"]["outcomes"]["ok"] >= 2
      )
      assert.deepInclude(heartbeats, { agents: 3, limit: 2, lastErrorMessage: null })
      assert.strictEqual(heartbeats["outcomes"]["posted"], 1)
      assert.deepInclude(agentSync, { agents: 3, lastErrorMessage: null })
      const agents = yield* Effect.promise(() =>
        setup.person.query("app/agents:list", { accountId: setup.account.accountId })
      )
      const engineer = agents.find(({ slug }: { slug: string }) => slug === "engineer")
      assert.deepInclude(engineer, { status: "busy", currentTaskId: taskId })
      assert.isNumber(engineer.lastHeartbeatAt)
    }).pipe(Effect.scoped)
  )

  it.live("start for an added agent, follow its new schedule, and end with its removal, without a restart", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup({ gatewayArgs: ["--agents", "squad-lead,engineer,qa,newcomer"] })
      yield* setup.script({ rules: others })
      const runtime = yield* setup.startRuntime()
      const { accountId } = setup.account
      const { agentId } = yield* Effect.promise(() =>
        setup.person.mutation("app/agents:create", {
          accountId,
          slug: "newcomer",
          name: "New Comer",
          role: "helps",
          heartbeat: EVERY_SECOND
        })
      )
      yield* eventually(heartbeatsOf(setup, "newcomer"), (ids) => ids.length >= 2)
      assert.strictEqual((yield* setup.health(runtime))["heartbeats"]["agents"], 4)
      yield* Effect.promise(() => setup.person.mutation("app/agents:remove", { accountId, agentId }))
      yield* eventually(setup.health(runtime), (health) => health["heartbeats"]["agents"] === 3)
      yield* eventually(setup.health(runtime), (health) => health["heartbeats"]["inFlight"] === 0)
      const before = (yield* heartbeatsOf(setup, "newcomer")).length
      // Another agent's heartbeats prove that time has passed.
      yield* setHeartbeat(setup, "qa", EVERY_SECOND)
      yield* eventually(heartbeatsOf(setup, "qa"), (ids) => ids.length >= 3)
      assert.strictEqual((yield* heartbeatsOf(setup, "newcomer")).length, before)
      assert.notInclude(runtime.output(), '"level":"ERROR"')
    }).pipe(Effect.scoped)
  )

  it.live("are stopped, like turns, if their agent is removed while they run", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({
        rules: [
          { match: "mentioned you", repeat: true, actions: [{ delayMs: 60_000, text: "My last words." }] },
          {
            ...inHeartbeatOf("QA"),
            repeat: true,
            actions: [{ delayMs: 60_000, text: "HEARTBEAT_OK" }]
          },
          ...others
        ]
      })
      const runtime = yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      yield* setHeartbeat(setup, "qa", EVERY_SECOND)
      yield* setup.post(taskId, "@engineer are you there?")
      yield* eventually(setup.posts, (count) => count >= 2)
      yield* eventually(setup.health(runtime), (health) => health["heartbeats"]["inFlight"] === 1)
      yield* Effect.all([removeAgent(setup, "engineer"), removeAgent(setup, "qa")], { concurrency: 2 })
      const messages = yield* eventually(setup.messages(taskId), (messages) => messages.length === 2)
      assert.match(messages[1]?.content ?? "", /stopped/)
      const { heartbeats } = yield* eventually(
        setup.health(runtime),
        ({ heartbeats }) =>
          heartbeats["inFlight"] === 0 && heartbeats["agents"] === 1 && heartbeats["lastHeartbeat"] !== null
      )
      assert.strictEqual(heartbeats["lastHeartbeat"]["agent"], "qa")
      assert.strictEqual(heartbeats["lastHeartbeat"]["outcome"], "stopped")
    }).pipe(Effect.scoped)
  )

  it.live("never run twice on two runtimes of one account, even if one is killed during a heartbeat", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({
        rules: [
          {
            match: "This is your heartbeat",
            repeat: true,
            actions: [{ delayMs: 200, text: "HEARTBEAT_OK" }]
          },
          ...others
        ]
      })
      const first = yield* setup.startRuntime({ RUNTIME_ID: "one", DELIVERY_LEASE_MS: "3000" })
      yield* setup.startRuntime({ RUNTIME_ID: "two", DELIVERY_LEASE_MS: "3000" })
      for (const slug of ["squad-lead", "engineer", "qa"]) yield* setHeartbeat(setup, slug, EVERY_SECOND)
      yield* eventually(heartbeatsOf(setup, "qa"), (ids) => ids.length >= 3)
      for (const slug of ["squad-lead", "engineer", "qa"]) {
        const ids = yield* heartbeatsOf(setup, slug)
        assert.strictEqual(new Set(ids).size, ids.length)
      }
      yield* eventually(setup.health(first), (health) => health["heartbeats"]["inFlight"] > 0)
      yield* first.signal("SIGKILL")
      yield* first.exit
      // The other runtime takes over the dead one's heartbeat when its lease has ended.
      for (const slug of ["squad-lead", "engineer", "qa"]) {
        const before = (yield* heartbeatsOf(setup, slug)).length
        yield* eventually(heartbeatsOf(setup, slug), (ids) => ids.length > before)
      }
    }).pipe(Effect.scoped)
  )
})
