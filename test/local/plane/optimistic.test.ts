import { type JSONValue } from "convex/values"
import { assert, describe, it } from "vitest"
import { loadApp } from "../../../local/plane/app.ts"
import { type Result } from "../../../local/plane/call.ts"
import { Engine } from "../../../local/plane/engine.ts"
import { api, appFolder, ServedApp } from "./fixtures/servedApp.ts"

const app = await loadApp(appFolder)
const counters = "counters:increment"

/** An engine whose waits the test ends: up to 40 ms for a mutation, 100 ms or more for a retry. */
const makeEngine = () => {
  const waits: Array<{ readonly milliseconds: number; readonly end: () => void }> = []
  const engine = new Engine({
    app,
    optimistic: {
      mutationMs: 40,
      random: () => 1,
      wait: (milliseconds) => new Promise((end) => waits.push({ milliseconds, end }))
    },
    transactionTimeout: 60_000,
    onStuck: (path) => assert.fail(`${path} is stuck`),
    log: () => {}
  })
  const mutate = (path: string, args: JSONValue): Promise<Result> =>
    engine.run({ path, args, identity: null, isAdmin: true, origin: "client" })
  /** Waits until that many waits are open, and returns them, oldest first. */
  const waiting = async (count: number) => {
    while (waits.length < count) await new Promise((resolve) => setImmediate(resolve))
    return waits.splice(0)
  }
  /** Ends every wait, oldest first, until the work is done. */
  const finish = async <A>(work: Promise<A>): Promise<A> => {
    const over = { is: false }
    const ended = work.finally(() => {
      over.is = true
    })
    while (!over.is) {
      for (const { end } of waits.splice(0)) end()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return await ended
  }
  const commit = (path: string, args: JSONValue): Promise<Result> => finish(mutate(path, args))
  const statsOf = (path: string) => {
    const { conflicts, retries, givenUp } = engine.stats.report().functions[path]!
    return { conflicts, retries, givenUp }
  }
  return { engine, mutate, waiting, finish, commit, statsOf }
}

const valueOf = (result: Result): unknown => (result.status === "success" ? result.value : result)

type Mutation = readonly [path: string, args: JSONValue]

/** Runs two mutations at once, of which the first one commits first; returns how often the second one lost. */
const race = async (first: Mutation, second: Mutation, before: ReadonlyArray<Mutation> = []): Promise<number> => {
  const { mutate, waiting, finish, commit, statsOf } = makeEngine()
  for (const call of before) await commit(...call)
  const both = Promise.all([mutate(...first), mutate(...second)])
  for (const { end } of await waiting(2)) end()
  assert.deepEqual(
    (await finish(both)).map(({ status }) => status),
    ["success", "success"]
  )
  return statsOf(second[0]).conflicts
}

describe("mutations that run at the same time", () => {
  it("conflict on one document: the later one is retried and sees the other's write", async () => {
    const { mutate, waiting, commit, statsOf } = makeEngine()
    await commit(counters, { name: "one" })
    const both = [mutate(counters, { name: "one" }), mutate(counters, { name: "one" })]
    for (const { end, milliseconds } of await waiting(2)) {
      assert.isAtMost(milliseconds, 40)
      end()
    }
    const [retry] = await waiting(1)
    assert.equal(retry!.milliseconds, 100)
    retry!.end()
    for (const { end } of await waiting(1)) end()
    assert.deepEqual((await Promise.all(both)).map(valueOf), [2, 3])
    assert.deepEqual(statsOf(counters), { conflicts: 1, retries: 1, givenUp: 0 })
  })

  it("do not conflict on two documents", async () => {
    const before = ["a", "b"].map((name) => [counters, { name }] as const)
    const second: Mutation = ["counters:incrementBoth", { names: ["b"] }]
    assert.equal(await race([counters, { name: "a" }], second, before), 0)
    assert.equal(await race([counters, { name: "b" }], second, before), 1)
  })

  const counting = ["intervals:addCounted", { group: "g", into: "elsewhere", isStale: false }] as const

  it("conflict if one inserts into a range that the other has read", async () => {
    assert.equal(await race(["items:add", { group: "g", rank: 1 }], counting), 1)
    assert.equal(await race(["items:add", { group: "h", rank: 1 }], counting), 0)
  })

  it("conflict if one moves a document out of a range that the other has read", async () => {
    const { mutate, waiting, finish, commit, statsOf } = makeEngine()
    const id = String(valueOf(await commit("items:add", { group: "g", rank: 1 })))
    const both = Promise.all([mutate("items:patch", { id, value: { group: "h" } }), mutate(...counting)])
    for (const { end } of await waiting(2)) end()
    await finish(both)
    assert.equal(statsOf(counting[0]).conflicts, 1)
  })

  it("do not conflict in a range that was read from a stale snapshot", async () => {
    const stale = [counting[0], { ...counting[1], isStale: true }] as const
    assert.equal(await race(["items:add", { group: "g", rank: 1 }], stale), 0)
  })

  it("do not conflict if the one that reads writes nothing", async () => {
    const reading = [counting[0], { group: "g", isStale: false }] as const
    assert.equal(await race(["items:add", { group: "g", rank: 1 }], reading), 0)
  })

  it("are retried at most four times, with doubling delays, and then refused", async () => {
    const { engine, mutate, waiting, commit, statsOf } = makeEngine()
    await commit(counters, { name: "busy" })
    const loser = mutate(counters, { name: "busy" })
    const delays: Array<number> = []
    for (let run = 0; run < 5; run += 1) {
      const [own] = await waiting(1)
      await commit("counters:incrementQuietly", { name: "busy" })
      own!.end()
      if (run === 4) break
      const [retry] = await waiting(1)
      delays.push(retry!.milliseconds)
      retry!.end()
    }
    assert.deepEqual(delays, [100, 200, 400, 800])
    assert.include(await loser, { status: "unavailable", code: "OptimisticConcurrencyControlFailure" })
    assert.deepEqual(statsOf(counters), { conflicts: 5, retries: 4, givenUp: 1 })
    const query = { path: "counters:value", args: { name: "busy" }, identity: null, isAdmin: true } as const
    assert.equal(valueOf(await engine.run({ ...query, origin: "client" })), 6)
  })

  it("write nothing if they throw", async () => {
    const { engine, mutate } = makeEngine()
    const result = await mutate("failures:halfWritten", { group: "half" })
    assert.deepInclude(result, { status: "error", errorData: { code: "conflict" } })
    assert.deepEqual(engine.store.counts(), { items: 0, _scheduled_functions: 0 })
  })
})

describe("a plane with --mutation-ms", () => {
  const served = new ServedApp(["--mutation-ms", "5"])

  it("serves mutations, scheduled functions and actions", async () => {
    const client = served.http()
    const increment = (): Promise<number> =>
      client.mutation(api["counters"]!["increment"]!, { name: "served" }, { skipQueue: true })
    assert.sameMembers(await Promise.all([increment(), increment()]), [1, 2])
    const socket = served.socket()
    for (const how of ["mutation", "action"]) {
      await socket.mutation(api["counters"]!["later"]!, { name: how, milliseconds: 0, how })
      await served.watch(socket, api["counters"]!["value"]!, { name: how }).value((value) => value === 1)
    }
    assert.deepEqual(await served.admin().action(api["failures"]!["viaAction"]!, { group: "via action" }), [0])
  })
})
