import { assert, describe, it } from "vitest"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const counters = api["counters"]!
const path = "counters:increment"
const fault = (body: Record<string, unknown>): Promise<unknown> =>
  served.local("POST", "faults", { path, count: 1, ...body })
const rejection = (work: Promise<unknown>): Promise<any> =>
  work.then(
    () => assert.fail("it should have failed"),
    (error: unknown) => error
  )
const increment = (name: string): Promise<number> => served.http().mutation(counters["increment"]!, { name })
const valueOf = (name: string): Promise<number> => served.http().query(counters["value"]!, { name })

describe("faults on demand", () => {
  it("drop the answer after the function has run", async () => {
    await fault({ kind: "drop" })
    assert.match((await rejection(increment("dropped"))).message, /fetch failed/)
    assert.equal(await valueOf("dropped"), 1)
  })

  it("refuse before the function runs", async () => {
    await fault({ kind: "refuse" })
    assert.match((await rejection(increment("refused"))).message, /fetch failed/)
    assert.equal(await valueOf("refused"), 0)
  })

  it("answer as an overloaded deployment does", async () => {
    await fault({ kind: "overload" })
    assert.match((await rejection(increment("overloaded"))).message, /TooManyConcurrentRequests/)
    assert.equal(await valueOf("overloaded"), 0)
  })

  it("answer Server Error", async () => {
    await fault({ kind: "error" })
    assert.match((await rejection(increment("error"))).message, /Server Error/)
    assert.equal(await valueOf("error"), 0)
  })

  it("delay an answer after the function has run", async () => {
    await fault({ kind: "delay", milliseconds: 300 })
    let isAnswered = false
    const slow = increment("delayed").then((value) => {
      isAnswered = true
      return value
    })
    const watched = served.watch(served.socket(), counters["value"]!, { name: "delayed" })
    await watched.value((value) => value === 1)
    assert.isFalse(isAnswered)
    assert.equal(await slow, 1)
  })

  it("never answer a call", async () => {
    await fault({ kind: "hang" })
    const client = served.http()
    const hanging = new AbortController()
    const call = fetch(`${served.plane.url}/api/mutation`, {
      method: "POST",
      body: JSON.stringify({ path, args: [{ name: "hung" }], format: "convex_encoded_json" }),
      signal: hanging.signal
    })
    // The next call of the same function is answered, so the first has met its fault and waits.
    while ((await served.local("GET", "faults")).faults.length > 0)
      await client.query(counters["value"]!, { name: "hung" })
    assert.equal(await client.mutation(counters["increment"]!, { name: "not hung" }), 1)
    hanging.abort()
    assert.equal((await rejection(call)).name, "AbortError")
    assert.equal(await valueOf("hung"), 0)
  })

  it("apply `count` times, and only to their function", async () => {
    await fault({ kind: "error", count: 2 })
    assert.equal(await valueOf("counted"), 0)
    await rejection(increment("counted"))
    await rejection(increment("counted"))
    assert.equal(await increment("counted"), 1)
  })

  it("apply until cleared if they have no count", async () => {
    await served.local("POST", "faults", { kind: "overload", path })
    for (let time = 0; time < 5; time += 1) await rejection(increment("until cleared"))
    await served.local("DELETE", "faults")
    assert.equal(await increment("until cleared"), 1)
  })

  it("close the socket of an overloaded client, which reconnects and is served", async () => {
    await fault({ kind: "overload", transport: "websocket" })
    assert.equal(await served.socket().mutation(counters["increment"]!, { name: "socket overload" }), 1)
  })

  it("can be set by an admin only, and a refusal names the kinds", async () => {
    const response = await fetch(`${served.plane.url}/__local/faults`, {
      method: "POST",
      body: JSON.stringify({ kind: "drop" })
    })
    assert.equal(response.status, 403)
    assert.match((await served.local("POST", "faults", { kind: "explode" })).message, /drop, delay, refuse/)
  })
})

describe("conflicts", () => {
  it("retry a mutation, which then counts once", async () => {
    await fault({ kind: "conflict", count: 2 })
    await served.local("DELETE", "stats")
    assert.equal(await increment("conflicted"), 1)
    const { functions } = await served.local("GET", "stats")
    assert.equal(functions[path].conflicts, 2)
    assert.equal(functions[path].calls, 1)
  })

  it("fail a mutation that keeps losing, which has written nothing", async () => {
    await fault({ kind: "conflict", count: 5 })
    const response = await fetch(`${served.plane.url}/api/mutation`, {
      method: "POST",
      body: JSON.stringify({ path, args: [{ name: "hopeless" }], format: "convex_encoded_json" })
    })
    assert.equal(response.status, 503)
    assert.include(await response.json(), { code: "OptimisticConcurrencyControlFailure" })
    assert.equal(await valueOf("hopeless"), 0)
  })

  it("never fail a scheduled mutation, which is retried until it commits", async () => {
    await served.local("POST", "faults", { kind: "conflict", path: "counters:incrementQuietly", count: 9 })
    const client = served.socket()
    await client.mutation(counters["later"]!, { name: "patient", milliseconds: 0, how: "mutation" })
    await served.watch(client, counters["value"]!, { name: "patient" }).value((value) => value === 1)
  })

  it("have the requested rate, and are the same for the same seed", async () => {
    const lost = async (): Promise<ReadonlyArray<number>> => {
      const plane = await served.start(["--conflicts", "0.3", "--seed", "11"])
      const client = served.http(plane)
      const perCall: Array<number> = []
      let before = 0
      for (let call = 0; call < 40; call += 1) {
        await client.mutation(api["items"]!["add"]!, { group: "seeded", rank: call }).catch(() => undefined)
        const { functions } = await served.local("GET", "stats", undefined, plane)
        perCall.push(functions["items:add"].conflicts - before)
        before = functions["items:add"].conflicts
      }
      return perCall
    }
    const first = await lost()
    assert.deepEqual(await lost(), first)
    assert.isAbove(first.filter((conflicts) => conflicts > 0).length, 4)
    assert.isAbove(first.filter((conflicts) => conflicts === 0).length, 15)
  })
})

describe("statistics", () => {
  it("count calls and documents per function", async () => {
    const client = served.http()
    await client.mutation(api["items"]!["addMany"]!, { group: "counted", count: 7 })
    await served.local("DELETE", "stats")
    await client.query(api["items"]!["ranks"]!, { group: "counted", take: 3 })
    await client.query(api["items"]!["ranks"]!, { group: "counted" })
    await client.mutation(api["items"]!["ownWrites"]!, { group: "counted 2" })
    await rejection(client.query(api["failures"]!["unknown"]!, {}))
    const { calls, functions } = await served.local("GET", "stats")
    const { milliseconds, usage, ...ranks } = functions["items:ranks"]
    assert.isAbove(milliseconds, 0)
    assert.deepEqual(usage.documentsRead, { last: 7, max: 7, total: 10 })
    assert.deepEqual(usage.readIntervals, { last: 1, max: 1, total: 2 })
    assert.isAbove(usage.bytesRead.max, 0)
    assert.deepEqual(ranks, {
      calls: 2,
      byOrigin: { client: 2, subscription: 0, scheduled: 0, cron: 0, action: 0 },
      errors: 0,
      conflicts: 0,
      retries: 0,
      givenUp: 0,
      documentsRead: 10,
      documentsWritten: 0
    })
    // Two inserts and a patch, which reads its document; then a query of both.
    assert.deepEqual(
      [functions["items:ownWrites"].documentsWritten, functions["items:ownWrites"].documentsRead],
      [3, 3]
    )
    assert.equal(functions["failures:unknown"].errors, 1)
    assert.isAtLeast(calls, 4)
  })

  it("show that a claim from a queue costs the same with any length of history", async () => {
    const admin = served.admin()
    const cost = async (): Promise<ReadonlyArray<number>> => {
      await admin.mutation(api["queue"]!["seed"]!, { count: 1, status: "ready" })
      await served.local("DELETE", "stats")
      const id = await admin.mutation(api["queue"]!["claim"]!, { holder: "h" })
      await admin.mutation(api["queue"]!["complete"]!, { id })
      const { functions } = await served.local("GET", "stats")
      const { "queue:claim": claim, "queue:complete": complete } = functions
      return [claim.documentsRead, claim.documentsWritten, complete.documentsRead, complete.documentsWritten]
    }
    const before = await cost()
    await admin.mutation(api["queue"]!["seed"]!, { count: 5_000, status: "delivered" })
    assert.deepEqual(await cost(), before)
    assert.deepEqual(before, [2, 1, 1, 1])
  })

  it("count the documents that a filter read, not those that it accepted", async () => {
    const client = served.http()
    await client.mutation(api["items"]!["addMany"]!, { group: "scanned over", count: 20 })
    await client.mutation(api["items"]!["add"]!, { group: "scanned for", rank: 1 })
    await served.local("DELETE", "stats")
    assert.deepEqual(await client.query(api["items"]!["scanned"]!, { group: "scanned for" }), [1])
    const { functions, documents } = await served.local("GET", "stats")
    assert.equal(functions["items:scanned"].documentsRead, documents.items)
  })
})
