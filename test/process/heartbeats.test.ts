import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Rule } from "../../local/model/script.ts"
import { eventually, makeHouse } from "./house.ts"
import type { House } from "./house.ts"

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
const heartbeatsOf = (house: House, agent: string) =>
  Effect.map(house.requests, (requests) =>
    requests.flatMap((request) =>
      request.agent === agent ? [...request.input.matchAll(/^heartbeat (\S+), attempt/gm)].map(([, id]) => id!) : []
    )
  )

const setHeartbeat = (house: House, slug: string, heartbeat: number | string) =>
  Effect.promise(() =>
    house.person.mutation("app/agents:update", {
      accountId: house.account.accountId,
      agentId: house.account.agents[slug]!,
      heartbeat
    })
  )

const assigned = (house: House, slug: string) =>
  Effect.promise(() =>
    house.person.mutation("app/tasks:create", {
      accountId: house.account.accountId,
      title: "Fix the login button",
      assigneeIds: [house.account.agents[slug]!]
    })
  ).pipe(Effect.map(({ taskId }) => String(taskId)))

const removeAgent = (house: House, slug: string) =>
  Effect.promise(() =>
    house.person.mutation("app/agents:remove", {
      accountId: house.account.accountId,
      agentId: house.account.agents[slug]!
    })
  )

describe("heartbeats over whole processes", () => {
  it.live("post an agent's text once in its task, post no HEARTBEAT_OK, and are shown in presence", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script({
        rules: [{ ...inHeartbeatOf("Engineer"), actions: [{ text: "The button works again." }] }, ...others]
      })
      const runtime = yield* house.startRuntime()
      const taskId = yield* assigned(house, "engineer")
      yield* eventually(house.messages(taskId), (messages) => messages.some(({ content }) => content === "On it."))
      yield* setHeartbeat(house, "engineer", EVERY_SECOND)
      yield* eventually(heartbeatsOf(house, "engineer"), (ids) => ids.length >= 4)
      const messages = yield* house.messages(taskId)
      assert.deepStrictEqual(
        messages.filter(({ content }) => content !== "On it.").map(({ author, content }) => [author.name, content]),
        [["Engineer", "The button works again."]]
      )
      const ids = yield* heartbeatsOf(house, "engineer")
      assert.strictEqual(new Set(ids).size, ids.length)
      const { agentSync, heartbeats } = yield* eventually(
        house.health(runtime),
        (health) => health["heartbeats"]["outcomes"]["ok"] >= 2
      )
      assert.deepInclude(heartbeats, { agents: 3, limit: 2, lastErrorMessage: null })
      assert.strictEqual(heartbeats["outcomes"]["posted"], 1)
      assert.deepInclude(agentSync, { agents: 3, lastErrorMessage: null })
      const agents = yield* Effect.promise(() =>
        house.person.query("app/agents:list", { accountId: house.account.accountId })
      )
      const engineer = agents.find(({ slug }: { slug: string }) => slug === "engineer")
      assert.deepInclude(engineer, { status: "busy", currentTaskId: taskId })
      assert.isNumber(engineer.lastHeartbeatAt)
    }).pipe(Effect.scoped)
  )

  it.live("start for an added agent, follow its new schedule, and end with its removal, without a restart", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse({ gatewayArgs: ["--agents", "squad-lead,engineer,qa,newcomer"] })
      yield* house.script({ rules: others })
      const runtime = yield* house.startRuntime()
      const { accountId } = house.account
      const { agentId } = yield* Effect.promise(() =>
        house.person.mutation("app/agents:create", {
          accountId,
          slug: "newcomer",
          name: "New Comer",
          role: "helps",
          heartbeat: EVERY_SECOND
        })
      )
      yield* eventually(heartbeatsOf(house, "newcomer"), (ids) => ids.length >= 2)
      assert.strictEqual((yield* house.health(runtime))["heartbeats"]["agents"], 4)
      yield* Effect.promise(() => house.person.mutation("app/agents:remove", { accountId, agentId }))
      yield* eventually(house.health(runtime), (health) => health["heartbeats"]["agents"] === 3)
      yield* eventually(house.health(runtime), (health) => health["heartbeats"]["inFlight"] === 0)
      const before = (yield* heartbeatsOf(house, "newcomer")).length
      // Another agent's heartbeats prove that time has passed.
      yield* setHeartbeat(house, "qa", EVERY_SECOND)
      yield* eventually(heartbeatsOf(house, "qa"), (ids) => ids.length >= 3)
      assert.strictEqual((yield* heartbeatsOf(house, "newcomer")).length, before)
      assert.notInclude(runtime.output(), '"level":"ERROR"')
    }).pipe(Effect.scoped)
  )

  it.live("are stopped, like turns, if their agent is removed while they run", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script({
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
      const runtime = yield* house.startRuntime()
      const taskId = yield* house.newTask()
      yield* setHeartbeat(house, "qa", EVERY_SECOND)
      yield* house.post(taskId, "@engineer are you there?")
      yield* eventually(house.posts, (count) => count >= 2)
      yield* eventually(house.health(runtime), (health) => health["heartbeats"]["inFlight"] === 1)
      yield* Effect.all([removeAgent(house, "engineer"), removeAgent(house, "qa")], { concurrency: 2 })
      const messages = yield* eventually(house.messages(taskId), (messages) => messages.length === 2)
      assert.match(messages[1]?.content ?? "", /stopped/)
      const { heartbeats } = yield* eventually(
        house.health(runtime),
        ({ heartbeats }) =>
          heartbeats["inFlight"] === 0 && heartbeats["agents"] === 1 && heartbeats["lastHeartbeat"] !== null
      )
      assert.strictEqual(heartbeats["lastHeartbeat"]["agent"], "qa")
      assert.strictEqual(heartbeats["lastHeartbeat"]["outcome"], "stopped")
    }).pipe(Effect.scoped)
  )

  it.live("never run twice on two runtimes of one account, even if one is killed during a heartbeat", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      yield* house.script({
        rules: [
          {
            match: "This is your heartbeat",
            repeat: true,
            actions: [{ delayMs: 200, text: "HEARTBEAT_OK" }]
          },
          ...others
        ]
      })
      const first = yield* house.startRuntime({ RUNTIME_ID: "one", DELIVERY_LEASE_MS: "3000" })
      yield* house.startRuntime({ RUNTIME_ID: "two", DELIVERY_LEASE_MS: "3000" })
      for (const slug of ["squad-lead", "engineer", "qa"]) yield* setHeartbeat(house, slug, EVERY_SECOND)
      yield* eventually(heartbeatsOf(house, "qa"), (ids) => ids.length >= 3)
      for (const slug of ["squad-lead", "engineer", "qa"]) {
        const ids = yield* heartbeatsOf(house, slug)
        assert.strictEqual(new Set(ids).size, ids.length)
      }
      yield* eventually(house.health(first), (health) => health["heartbeats"]["inFlight"] > 0)
      yield* first.signal("SIGKILL")
      yield* first.exit
      // The other runtime takes over the dead one's heartbeat when its lease has ended.
      for (const slug of ["squad-lead", "engineer", "qa"]) {
        const before = (yield* heartbeatsOf(house, slug)).length
        yield* eventually(heartbeatsOf(house, slug), (ids) => ids.length > before)
      }
    }).pipe(Effect.scoped)
  )
})
