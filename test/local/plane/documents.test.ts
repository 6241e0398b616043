import { assert, describe, it } from "vitest"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const items = api["items"]!
const failures = api["failures"]!
const isRefused = async (work: Promise<unknown>): Promise<boolean> =>
  await work.then(
    () => false,
    () => true
  )

describe("index ranges", () => {
  const ranks = (args: Record<string, unknown>): Promise<ReadonlyArray<number>> =>
    served.http().query(items["ranks"]!, { group: "range", ...args })
  it("returns the documents between the bounds, in the requested order", async () => {
    for (const rank of [3, 1, 5, 2, 4]) await served.http().mutation(items["add"]!, { group: "range", rank })
    await served.http().mutation(items["add"]!, { group: "rangf", rank: 0 })
    assert.deepEqual(await ranks({}), [1, 2, 3, 4, 5])
    assert.deepEqual(await ranks({ order: "desc" }), [5, 4, 3, 2, 1])
    assert.deepEqual(await ranks({ gt: 2 }), [3, 4, 5])
    assert.deepEqual(await ranks({ gte: 2, lt: 5 }), [2, 3, 4])
    assert.deepEqual(await ranks({ gt: 1, lte: 4, order: "desc" }), [4, 3, 2])
    assert.deepEqual(await ranks({ gt: 5 }), [])
    assert.deepEqual(await ranks({ take: 2 }), [1, 2])
    assert.deepEqual(await ranks({ take: 2, order: "desc" }), [5, 4])
  })

  it("finds by a nested field, and by a missing field", async () => {
    await served.http().mutation(items["add"]!, { group: "kinds", rank: 31, state: { kind: "open" } })
    await served.http().mutation(items["add"]!, { group: "kinds", rank: 32, state: { kind: "shut" }, text: "has text" })
    assert.deepEqual(await served.http().query(items["ofKind"]!, { kind: "open" }), [31])
    assert.include(await served.http().query(items["withoutText"]!, {}), 31)
    assert.notInclude(await served.http().query(items["withoutText"]!, {}), 32)
  })

  it("finds a changed document under its new key and not under the old one", async () => {
    const id = await served.http().mutation(items["add"]!, { group: "moved from", rank: 1 })
    await served.http().mutation(items["patch"]!, { id, value: { group: "moved to" } })
    assert.isNull(await served.http().query(items["first"]!, { group: "moved from" }))
    assert.equal((await served.http().query(items["first"]!, { group: "moved to" }))._id, id)
    await served.http().mutation(items["remove"]!, { id })
    assert.isNull(await served.http().query(items["first"]!, { group: "moved to" }))
  })

  it("removes a field that a patch sets to undefined, and replaces whole documents", async () => {
    const id = await served.http().mutation(items["add"]!, { group: "patched", rank: 1, text: "t" })
    await served.http().mutation(items["patch"]!, { id, value: { rank: 2 } })
    assert.equal((await served.http().query(items["get"]!, { id })).text, "t")
    await served.http().mutation(items["replace"]!, { id, value: { group: "patched", rank: 3 } })
    const { text, rank } = await served.http().query(items["get"]!, { id })
    assert.deepEqual([text, rank], [undefined, 3])
  })

  it("refuses unique() on two documents, an undeclared index, and a range that skips a field", async () => {
    await served.http().mutation(items["addMany"]!, { group: "twice", count: 2 })
    assert.isTrue(await isRefused(served.http().query(items["unique"]!, { group: "twice" })))
    assert.isTrue(await isRefused(served.http().query(items["badIndex"]!, {})))
    assert.isTrue(await isRefused(served.http().query(items["badRange"]!, {})))
    assert.isNull(await served.http().query(items["unique"]!, { group: "none at all" }))
  })

  it("lets a mutation read its own writes by index", async () => {
    assert.deepEqual(await served.http().mutation(items["ownWrites"]!, { group: "own" }), [2, 3])
  })

  it("reads only the documents of a page", async () => {
    await served.http().mutation(items["addMany"]!, { group: "pages", count: 25 })
    const seen: Array<number> = []
    let cursor: string | null = null
    let pages = 0
    for (let isDone = false; !isDone; pages += 1) {
      const page: any = await served
        .http()
        .query(items["page"]!, { group: "pages", order: "desc", paginationOpts: { numItems: 10, cursor } })
      seen.push(...page.page.map(({ rank }: { rank: number }) => rank))
      cursor = page.continueCursor
      isDone = page.isDone
    }
    assert.equal(pages, 3)
    assert.deepEqual(
      seen,
      Array.from({ length: 25 }, (_, index) => 24 - index)
    )
  })

  it("ends a page at its end cursor, even if documents were inserted before it", async () => {
    const page = async (cursor: string | null, endCursor?: string): Promise<any> =>
      await served.http().query(items["page"]!, {
        group: "gapless",
        order: "asc",
        paginationOpts: { numItems: 2, cursor, ...(endCursor === undefined ? {} : { endCursor }) }
      })
    for (const rank of [10, 20, 30]) await served.http().mutation(items["add"]!, { group: "gapless", rank })
    const { continueCursor } = await page(null)
    await served.http().mutation(items["add"]!, { group: "gapless", rank: 15 })
    const again = await page(null, continueCursor)
    assert.deepEqual(
      again.page.map(({ rank }: { rank: number }) => rank),
      [10, 15, 20]
    )
    assert.deepEqual(
      (await page(again.continueCursor)).page.map(({ rank }: { rank: number }) => rank),
      [30]
    )
  })
})

describe("search indexes", () => {
  it("finds words in any order, the last one as a prefix, best match first", async () => {
    for (const text of ["red apple pie", "green apple", "red brick"]) {
      await served.http().mutation(items["add"]!, { group: "search", rank: 1, text })
    }
    const search = (words: string, group = "search"): Promise<ReadonlyArray<string>> =>
      served.http().query(items["search"]!, { words, group })
    assert.deepEqual(await search("apple red"), ["red apple pie", "red brick", "green apple"])
    assert.deepEqual(await search("BRI"), ["red brick"])
    assert.deepEqual(await search("appl pie"), ["red apple pie"])
    assert.deepEqual(await search("apple", "another group"), [])
    assert.deepEqual(await search("nothing"), [])
  })

  it("does not find a document by words that it no longer has", async () => {
    const id = await served.http().mutation(items["add"]!, { group: "search 2", rank: 1, text: "quince" })
    await served.http().mutation(items["patch"]!, { id, value: { text: "medlar" } })
    assert.deepEqual(await served.http().query(items["search"]!, { words: "quince" }), [])
    assert.deepEqual(await served.http().query(items["search"]!, { words: "medlar" }), ["medlar"])
  })
})

describe("transactions", () => {
  it("undo all writes and scheduled functions of a failed mutation", async () => {
    const jobs = async (): Promise<number> => (await served.local("GET", "stats")).documents._scheduled_functions ?? 0
    const before = await jobs()
    assert.isTrue(await isRefused(served.http().mutation(failures["halfWritten"]!, { group: "half" })))
    assert.equal(await jobs(), before)
    assert.deepEqual(await served.http().query(items["ranks"]!, { group: "half" }), [])
  })

  it("undo a nested mutation alone", async () => {
    assert.equal(await served.http().mutation(failures["nested"]!, { group: "nested" }), "conflict")
    assert.deepEqual(await served.http().query(items["ranks"]!, { group: "nested" }), [1])
  })

  it("refuse too many writes, too large documents and invalid field names, as a deployment does", async () => {
    assert.isTrue(await isRefused(served.http().mutation(failures["tooMany"]!, {})))
    assert.deepEqual(await served.http().query(items["ranks"]!, { group: "many", take: 1 }), [])
    assert.isTrue(await isRefused(served.http().mutation(failures["tooLarge"]!, {})))
    const add = (name: string): Promise<unknown> => served.http().mutation(failures["strangeField"]!, { name })
    assert.isTrue(await isRefused(add("_reserved")))
    assert.isTrue(await isRefused(add("größe")))
    assert.isFalse(await isRefused(add("kind")))
  })

  it("refuse arrays longer than 8,192 as arguments and results", async () => {
    await served.http().mutation(items["addMany"]!, { group: "long", count: 8_193 })
    assert.lengthOf(await served.http().query(items["ranks"]!, { group: "long", lt: 8_192 }), 8_192)
    assert.isTrue(await isRefused(served.http().query(items["ranks"]!, { group: "long" })))
    const names = (count: number): Promise<unknown> =>
      served.http().query(api["counters"]!["both"]!, { names: Array.from({ length: count }, () => "none") })
    assert.isTrue(await isRefused(names(8_193)))
    assert.lengthOf((await names(2)) as Array<number>, 2)
  })

  it("refuse fetch and timers", async () => {
    assert.isTrue(await isRefused(served.http().mutation(failures["fetches"]!, {})))
    assert.include(served.plane.output(), "`fetch` is not supported in Convex queries or mutations")
  })

  it("give each of twelve rows to one of thirty concurrent claims", async () => {
    await served.admin().mutation(api["queue"]!["seed"]!, { count: 12, status: "ready" })
    const claims = await Promise.all(
      Array.from({ length: 30 }, (_, racer) =>
        served.http().mutation(api["queue"]!["claim"]!, { holder: `racer ${racer}` })
      )
    )
    const claimed = claims.filter((id) => id !== null)
    assert.equal(claimed.length, 12)
    assert.equal(new Set(claimed).size, 12)
  })
})
