import { describe, expect, it } from "vitest"
import { internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { codeOf, emptyPlane, makeTask, seededPlane } from "./controlPlane.ts"
import { fillTables, tables } from "./everyTable.ts"

const { page } = internal.operator.exports

interface Page {
  readonly rows: ReadonlyArray<{ readonly table: string; readonly document: any }>
  readonly next: { readonly table: string; readonly after: number } | null
}

/** All pages of an account's export. */
const exported = async (t: ReturnType<typeof emptyPlane>, accountId: string): Promise<Array<Page>> => {
  const pages: Array<Page> = []
  let from: Page["next"] = null
  do {
    const each: Page = await t.query(page, { accountId, ...(from === null ? {} : { from }) })
    pages.push(each)
    from = each.next
  } while (from !== null)
  return pages
}

describe("the export of an account", () => {
  it("contains the account's rows of every table, and no secret", async () => {
    const t = emptyPlane()
    await fillTables(t, "Other")
    const accountId = await fillTables(t, "Acme")
    const pages = await exported(t, accountId)
    const rows = pages.flatMap(({ rows }) => rows)
    expect(rows.map(({ table }) => table).toSorted()).toEqual(tables.toSorted())
    for (const { document, table } of rows) {
      expect([table, document.accountId ?? accountId]).toEqual([table, accountId])
    }
    const text = JSON.stringify(pages)
    for (const secret of ["serviceTokens.hash", "webhooks.secret", "webhooks.url", "sessions.fenceSecret"])
      expect(text).not.toContain(secret)
    expect(text).toContain("some messages.content")
  })

  it("reads large tables in pages within a transaction's limits, each row once", async () => {
    const plane = await seededPlane()
    const { accountId, t, usage } = plane
    const taskId = (await makeTask(plane, [])) as Id<"tasks">
    await t.run(async (ctx) => {
      const author = { type: "system", id: null, name: "x", slug: null } as const
      const message = { accountId: accountId as Id<"accounts">, taskId, author, hops: 0, kind: "note" } as const
      for (let count = 0; count < 1_100; count += 1)
        await ctx.db.insert("messages", { ...message, content: `${count}` })
    })
    const pages = await exported(t, accountId)
    expect(pages.map(({ rows }) => rows.length)).toEqual([500, 500, expect.any(Number)])
    const messages = pages.flatMap(({ rows }) => rows).filter(({ table }) => table === "messages")
    expect(messages.map(({ document }) => document.content)).toEqual(
      Array.from({ length: 1_100 }, (_, count) => `${count}`)
    )
    expect(usage().bytesRead).toBeLessThan(4_000_000)
  })

  it("refuses unknown accounts and tables", async () => {
    const plane = await seededPlane()
    expect(await codeOf(plane.t.query(page, { accountId: "nonsense" }))).toBe("not_found")
    const from = { table: "_storage", after: 0 }
    expect(await codeOf(plane.t.query(page, { accountId: plane.accountId, from }))).toBe("invalid")
  })
})
