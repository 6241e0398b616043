import { ConvexError } from "convex/values"
import { assert, describe, it } from "vitest"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const rejection = (work: Promise<unknown>): Promise<any> =>
  work.then(
    () => assert.fail("it should have failed"),
    (error: unknown) => error
  )
const json = async (response: Response): Promise<any> => await response.json()
const post = (path: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${served.plane.url}${path}`, { method: "POST", body, headers })

describe("ConvexHttpClient", () => {
  it("runs a mutation and reads it back by a query", async () => {
    const client = served.http()
    const id = await client.mutation(api["items"]!["add"]!, { group: "http", rank: 1, text: "one" })
    const item = await client.query(api["items"]!["get"]!, { id })
    assert.deepEqual([item._id, item.group, item.rank, item.text], [id, "http", 1, "one"])
    assert.isNumber(item._creationTime)
  })

  it("runs an action that runs a mutation and a query", async () => {
    assert.deepEqual(await served.admin().action(api["failures"]!["viaAction"]!, { group: "via action" }), [0])
  })

  it("returns the data of a ConvexError, including bigint, and no message", async () => {
    const error = await rejection(served.http().query(api["failures"]!["known"]!, {}))
    assert.instanceOf(error, ConvexError)
    assert.deepEqual(error.data, { code: "lease_lost", epoch: 7n })
    assert.match(error.message, /^\[Request ID: [0-9a-f]{16}\] Server Error$/)
  })

  it("redacts every other error", async () => {
    const error = await rejection(served.http().query(api["failures"]!["unknown"]!, {}))
    assert.notInstanceOf(error, ConvexError)
    assert.match(error.message, /^\[Request ID: [0-9a-f]{16}\] Server Error$/)
  })

  it("logs the redacted error in the plane, with the same request id", async () => {
    const error = await rejection(served.http().query(api["failures"]!["unknown"]!, {}))
    const [, id] = /Request ID: (\w+)/.exec(error.message)!
    assert.include(served.plane.output(), `failures:unknown failed (${id}): Error: the secret is 42`)
  })

  it("refuses a body with half of a surrogate pair, as Convex's parser does", async () => {
    const body = (text: string) =>
      `{"path":"items:add","format":"convex_encoded_json","args":[{"group":"halves","rank":1,"text":"${text}"}]}`
    const refused = await post("/api/mutation", body("\\ud83d"))
    assert.equal(refused.status, 400)
    assert.equal((await json(refused)).code, "BadJsonBody")
    assert.equal((await json(await post("/api/mutation", body("\\ud83d\\ude00")))).status, "success")
  })

  it("refuses internal functions", async () => {
    assert.match((await rejection(served.http().query(api["items"]!["hidden"]!, {}))).message, /Server Error/)
    assert.match(
      (await rejection(served.http().mutation(api["items"]!["hiddenAdd"]!, { group: "x" }))).message,
      /Server Error/
    )
  })

  it("refuses functions that do not exist", async () => {
    assert.match((await rejection(served.http().query(api["items"]!["nothing"]!, {}))).message, /Server Error/)
    assert.match((await rejection(served.http().query(api["nowhere"]!["nothing"]!, {}))).message, /Server Error/)
  })

  it("refuses a function of another kind", async () => {
    assert.match(
      (await rejection(served.http().query(api["items"]!["add"]!, { group: "kind", rank: 1 }))).message,
      /Server Error/
    )
    assert.match(
      (await rejection(served.http().action(api["items"]!["add"]!, { group: "kind", rank: 1 }))).message,
      /Server Error/
    )
    assert.deepEqual(await served.http().query(api["items"]!["ranks"]!, { group: "kind" }), [])
  })

  it("refuses invalid arguments, and does not log them", async () => {
    const error = await rejection(served.http().mutation(api["items"]!["add"]!, { group: 417_417_417, rank: 1 }))
    assert.match(error.message, /Server Error/)
    assert.notInclude(served.plane.output(), "417417417")
  })

  it("undoes a mutation whose return value is invalid", async () => {
    await rejection(served.http().mutation(api["items"]!["wrongReturn"]!, { group: "wrong" }))
    assert.deepEqual(await served.http().query(api["items"]!["ranks"]!, { group: "wrong" }), [])
  })

  it("lets an admin call internal functions", async () => {
    assert.isString(await served.admin().mutation(api["items"]!["hiddenAdd"]!, { group: "admin" }))
    assert.isNumber(await served.admin().query(api["items"]!["hidden"]!, {}))
  })

  it("lets an admin act as a person", async () => {
    const ada = { subject: "ada", issuer: "https://id.example", name: "Ada" }
    assert.deepEqual(await served.admin(ada).query(api["people"]!["whoAmI"]!, {}), {
      subject: "ada",
      name: "Ada",
      tokenIdentifier: "https://id.example|ada"
    })
    assert.isNull(await served.http().query(api["people"]!["whoAmI"]!, {}))
  })

  it("refuses a wrong admin key", async () => {
    const client = served.http() as unknown as {
      setAdminAuth(key: string): void
      query(...args: Array<unknown>): Promise<unknown>
    }
    client.setAdminAuth("local|guessed")
    assert.match((await rejection(client.query(api["people"]!["whoAmI"]!, {}))).message, /Unauthenticated/)
  })

  it("refuses the token of an unknown identity provider", async () => {
    const client = served.http()
    client.setAuth("eyJhbGciOiJub25lIn0.e30.")
    assert.match((await rejection(client.query(api["people"]!["whoAmI"]!, {}))).message, /Unauthenticated/)
  })

  it("answers a consistent query if nothing was written since, and refuses an older snapshot", async () => {
    const client = served.http()
    await client.mutation(api["items"]!["add"]!, { group: "snapshot", rank: 5 })
    assert.deepEqual(await client.consistentQuery(api["items"]!["ranks"]!, { group: "snapshot" }), [5])
    await client.mutation(api["items"]!["add"]!, { group: "snapshot", rank: 6 })
    assert.match(
      (await rejection(client.consistentQuery(api["items"]!["ranks"]!, { group: "snapshot" }))).message,
      /SnapshotTooOld/
    )
  })

  it("runs queued mutations one after another, and loses no unqueued one", async () => {
    const client = served.http()
    const add = (): Promise<number> => client.mutation(api["counters"]!["increment"]!, { name: "queued" })
    assert.deepEqual(await Promise.all([add(), add(), add()]), [1, 2, 3])
    const unqueued = await Promise.all(
      Array.from({ length: 30 }, () =>
        client.mutation(api["counters"]!["increment"]!, { name: "queued" }, { skipQueue: true })
      )
    )
    assert.sameMembers(
      unqueued,
      Array.from({ length: 30 }, (_, index) => index + 4)
    )
  })
})

describe("the HTTP protocol", () => {
  it("sends a Date header, from which clients read the clock skew", async () => {
    const response = await post(
      "/api/query",
      JSON.stringify({ path: "people:whoAmI", args: [{}], format: "convex_encoded_json" })
    )
    assert.isNotNaN(Date.parse(response.headers.get("date") ?? ""))
    assert.deepEqual(await response.json(), { status: "success", value: null, logLines: [] })
  })

  it("answers 404, 405 and 400 with a code", async () => {
    assert.equal((await post("/api/elsewhere", "{}")).status, 404)
    assert.equal((await fetch(`${served.plane.url}/api/query`)).status, 405)
    assert.equal((await post("/api/query", "not JSON")).status, 400)
    assert.equal((await json(await post("/api/query", "{}"))).code, "BadJsonBody")
  })

  it("returns timestamps that increase with each commit", async () => {
    const now = async (): Promise<bigint> => {
      const { ts } = await json(await post("/api/query_ts", "{}"))
      return Buffer.from(ts, "base64").readBigUInt64LE()
    }
    const before = await now()
    await served.http().mutation(api["items"]!["add"]!, { group: "time", rank: 1 })
    assert.isTrue((await now()) > before)
  })

  it("accepts the path with an extension, as the command line sends it", async () => {
    const response = await post(
      "/api/query",
      JSON.stringify({ path: "people.js:whoAmI", args: {}, format: "convex_encoded_json" })
    )
    assert.equal((await json(response)).status, "success")
  })
})
