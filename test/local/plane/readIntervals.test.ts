import { assert, describe, it } from "vitest"
import { api } from "../../../convex/_generated/api.js"
import { seededPlane } from "../../convex/controlPlane.ts"
import { api as fixture, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const intervals = fixture["intervals"]!
const items = fixture["items"]!

const added = async (count: number): Promise<ReadonlyArray<string>> => {
  const client = served.http()
  const ids: Array<string> = []
  for (let rank = 0; rank < count; rank += 1) {
    ids.push(await client.mutation(items["add"]!, { group: "added", rank }))
  }
  return ids
}

const lastOf = async (path: string): Promise<number> =>
  (await served.local("GET", "stats")).functions[path].usage.readIntervals.last

const rejection = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => assert.fail("it should have failed"),
    (error: Error) => error
  )

describe("read intervals", () => {
  it("count each document that is read or changed once", async () => {
    const client = served.http()
    const [a, b, c] = await added(3)
    await client.query(intervals["getAll"]!, { ids: [a, b, a] })
    assert.equal(await lastOf("intervals:getAll"), 2)
    await client.mutation(intervals["write"]!, { patched: [a, a], replaced: [b], removed: [b, c], inserted: 0 })
    assert.equal(await lastOf("intervals:write"), 3)
  })

  it("count an index range once, with any number of documents", async () => {
    const client = served.http()
    await client.mutation(items["addMany"]!, { group: "range a", count: 30 })
    await client.query(intervals["scanAll"]!, { groups: ["range a", "range b", "range a"] })
    assert.equal(await lastOf("intervals:scanAll"), 2)
  })

  it("count no document that the transaction inserted, and no search", async () => {
    const client = served.http()
    await client.mutation(intervals["write"]!, { patched: [], replaced: [], removed: [], inserted: 5 })
    assert.equal(await lastOf("intervals:write"), 0)
    await client.query(items["search"]!, { words: "anything" })
    assert.equal(await lastOf("items:search"), 0)
  })

  it("count a document that a nested call reads again once", async () => {
    const ids = await added(2)
    await served.http().mutation(intervals["nested"]!, { ids })
    assert.equal(await lastOf("intervals:nested"), 2)
  })

  it("count nothing that is read from a stale snapshot", async () => {
    await served.http().mutation(intervals["addCounted"]!, { group: "stale", into: "counted", isStale: true })
    assert.equal(await lastOf("intervals:addCounted"), 0)
  })

  it("are limited to 4,096 in one transaction", async () => {
    const client = served.http()
    await client.mutation(intervals["getMany"]!, { count: 4_096 })
    assert.equal(await lastOf("intervals:getMany"), 4_096)
    const error = await rejection(client.mutation(intervals["getMany"]!, { count: 4_097 }))
    assert.match(error.message, /^\[Request ID: [0-9a-f]{16}\] Server Error$/)
    assert.include(served.plane.output(), "Too many reads in a single function execution (limit: 4096)")
  })

  it("fail with an error that the function can catch", async () => {
    const caught = await served.http().mutation(intervals["getMany"]!, { count: 5_000, isCaught: true })
    assert.match(String(caught), /^Too many reads/)
  })

  it("are reported for the last, the largest and all transactions of a function", async () => {
    const client = served.http()
    await served.local("DELETE", "stats")
    for (const count of [3, 7, 2]) await client.mutation(intervals["getMany"]!, { count })
    const { functions } = await served.local("GET", "stats")
    assert.deepEqual(functions["intervals:getMany"].usage.readIntervals, { last: 2, max: 7, total: 12 })
  })
})

describe("read intervals in a test without a plane's process", () => {
  it("are counted the same way", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    await plane.claim()
    const first = plane.usage()
    assert.isAbove(first.readIntervals, 5)
    assert.isBelow(first.readIntervals, 100)
    await plane.t.run(async (ctx) => {
      const account = await ctx.db.query("accounts").first()
      for (let time = 0; time < 5; time += 1) await ctx.db.patch(account!._id, { name: "Other" })
    })
    assert.equal(plane.usage().readIntervals, 2)
  })
})
