import { globSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { codeOf, seededPlane } from "./controlPlane.ts"

const root = join(import.meta.dirname, "../../convex")

/** Every public function of a folder, as `file:name` with its registration. */
const functionsOf = async (folder: "service" | "app") => {
  const found: Array<{ path: string; call: any; kind: "query" | "mutation"; args: Record<string, any>; returns: any }> =
    []
  for (const file of globSync("*.ts", { cwd: join(root, folder) })) {
    const module = (await import(join(root, folder, file))) as Record<string, any>
    for (const [name, each] of Object.entries(module)) {
      if (each?.isPublic !== true) continue
      found.push({
        path: `${folder}/${file.replace(".ts", "")}:${name}`,
        call: (api as any)[folder][file.replace(".ts", "")][name],
        kind: each.isQuery === true ? "query" : "mutation",
        args: JSON.parse(each.exportArgs()).value,
        returns: JSON.parse(each.exportReturns())
      })
    }
  }
  return found
}

/** A value that the validator accepts. */
const sample = (type: any): unknown => {
  switch (type.type) {
    case "string":
    case "id":
      return "x"
    case "number":
      return 1
    case "boolean":
      return false
    case "null":
      return null
    case "literal":
      return type.value
    case "union":
      return sample(type.value[0])
    case "array":
      return []
    case "object":
      return Object.fromEntries(
        Object.entries(type.value as Record<string, any>)
          .filter(([, field]) => !field.optional)
          .map(([name, field]) => [name, sample(field.fieldType)])
      )
    default:
      return null
  }
}
const samplesOf = (args: Record<string, any>) => sample({ type: "object", value: args }) as Record<string, unknown>

describe("every service function", () => {
  it("takes account and token, declares its answer, and refuses wrong credentials before anything else", async () => {
    const plane = await seededPlane()
    const other = await plane.secondAccount()
    const revoked = await plane.asPerson(api.app.tokens.provision, { label: "old" })
    await plane.asPerson(api.app.tokens.revoke, { id: revoked.id })
    const functions = await functionsOf("service")
    expect(functions.length).toBeGreaterThan(30)
    for (const { path, call, kind, args, returns } of functions) {
      expect([path, Object.keys(args)]).toEqual([path, expect.arrayContaining(["accountId", "serviceToken"])])
      expect([path, returns]).not.toEqual([path, null])
      const codeWith = (accountId: string, serviceToken: string) =>
        codeOf((plane.t as any)[kind](call, { ...samplesOf(args), accountId, serviceToken }))
      const { accountId, serviceToken } = plane
      expect([path, await codeWith(accountId, "")]).toEqual([path, "unauthenticated"])
      expect([path, await codeWith(accountId, serviceToken.replace(/.$/, "g"))]).toEqual([path, "unauthenticated"])
      expect([path, await codeWith(accountId, `mc_service_${accountId}_${"0".repeat(64)}`)]).toEqual([
        path,
        "unauthenticated"
      ])
      expect([path, await codeWith(accountId, revoked.serviceToken)]).toEqual([path, "unauthenticated"])
      expect([path, await codeWith("nonsense", serviceToken)]).toEqual([path, "unauthenticated"])
      expect([path, await codeWith(other.accountId, serviceToken)]).toEqual([path, "forbidden"])
      expect([path, await codeWith(accountId, other.serviceToken)]).toEqual([path, "forbidden"])
    }
  }, 60_000)

  it("accepts several live tokens, so that one can replace another", async () => {
    const plane = await seededPlane()
    const second = await plane.asPerson(api.app.tokens.provision, {})
    const list = (serviceToken: string) =>
      plane.t.query(api.service.agents.list, { accountId: plane.accountId, serviceToken })
    expect((await list(plane.serviceToken)).agents).toHaveLength(3)
    expect((await list(second.serviceToken)).agents).toHaveLength(3)
  })

  it("stores only hashes of tokens", async () => {
    const plane = await seededPlane()
    const secret = plane.serviceToken.slice(-64)
    const stored = await plane.t.run(async (ctx) => JSON.stringify(await ctx.db.query("serviceTokens").collect()))
    expect(stored).not.toContain(secret)
    const listed = await plane.t
      .withIdentity({ subject: "ana", name: "Ana" })
      .query(api.app.tokens.list, { accountId: plane.accountId })
    expect(JSON.stringify(listed)).not.toContain(secret)
  })
})

describe("every app function", () => {
  it("refuses callers who are not signed in or not members of the account", async () => {
    const plane = await seededPlane()
    const stranger = plane.t.withIdentity({ subject: "eve", name: "Eve" })
    const open = ["app/accounts:create", "app/accounts:list"]
    for (const { path, call, kind, args, returns } of await functionsOf("app")) {
      expect([path, returns]).not.toEqual([path, null])
      const codeAs = (who: any, accountId: string) =>
        codeOf(who[kind](call, { ...samplesOf(args), ...(open.includes(path) ? {} : { accountId }) }))
      expect([path, await codeAs(plane.t, plane.accountId)]).toEqual([path, "unauthenticated"])
      if (open.includes(path)) continue
      expect([path, await codeAs(stranger, plane.accountId)]).toEqual([path, "forbidden"])
      expect([path, await codeAs(stranger, "nonsense")]).toEqual([path, "forbidden"])
    }
  })

  it("that manages is for owners and admins; members work on tasks, messages, documents and approvals", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.members.add, {
      tokenIdentifier:
        (await plane.t.run(async (ctx) => ctx.db.query("members").first()))?.tokenIdentifier.replace("ana", "bob") ??
        "",
      name: "Bob",
      role: "member"
    })
    const bob = plane.t.withIdentity({ subject: "bob", name: "Bob" })
    const forMembers = new Set([
      "app/accounts:create",
      "app/accounts:list",
      "app/accounts:get",
      "app/budgets:list",
      "app/policies:list",
      "app/usage:report",
      "app/members:list",
      "app/agents:list",
      "app/agents:watch",
      "app/runtimes:list",
      "app/skills:list",
      "app/activities:list",
      "app/notifications:list",
      "app/notifications:inbox",
      "app/notifications:deadLetters",
      "app/notifications:markRead",
      "app/notifications:deadLetters",
      "app/notifications:retry",
      "app/notifications:discard"
    ])
    for (const { path, call, kind, args } of await functionsOf("app")) {
      const isOpen = forMembers.has(path) || /^app\/(approvals|tasks|messages|documents|runs):/.test(path)
      const { accountId } = plane
      const given = "accountId" in args ? { ...samplesOf(args), accountId } : samplesOf(args)
      const code = await codeOf((bob as any)[kind](call, given))
      expect([path, code === "forbidden"]).toEqual([path, !isOpen])
    }
  })

  it("lets only owners change owners", async () => {
    const plane = await seededPlane()
    const identity = async (subject: string) =>
      (await plane.t.run(async (ctx) => ctx.db.query("members").first()))?.tokenIdentifier.replace("ana", subject) ?? ""
    const add = { name: "Adam", tokenIdentifier: await identity("adam") }
    await plane.asPerson(api.app.members.add, { ...add, role: "admin" })
    const { accountId, memberId } = plane
    const adam = plane.t.withIdentity({ subject: "adam", name: "Adam" })
    const more = { accountId, name: "Ann", tokenIdentifier: await identity("ann") }
    expect(await codeOf(adam.mutation(api.app.members.add, { ...more, role: "owner" }))).toBe("forbidden")
    expect(await codeOf(adam.mutation(api.app.members.remove, { accountId, memberId }))).toBe("forbidden")
    expect(await codeOf(adam.mutation(api.app.members.add, { ...more, role: "member" }))).toBeNull()
    expect(await codeOf(plane.asPerson(api.app.members.remove, { memberId }))).toBe("invalid")
    const { memberId: adams } = await plane.asPerson(api.app.members.add, { ...add, role: "member" })
    await plane.asPerson(api.app.members.remove, { memberId: adams })
    expect(await codeOf(adam.query(api.app.members.list, { accountId }))).toBe("forbidden")
  })
})
