import { ConvexError } from "convex/values"
import { assert, describe, it } from "vitest"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const counters = api["counters"]!
const rejection = (work: Promise<unknown>): Promise<any> =>
  work.then(
    () => assert.fail("it should have failed"),
    (error: unknown) => error
  )

describe("ConvexClient", () => {
  it("sends a subscription its first value and each later one", async () => {
    const watched = served.watch(served.socket(), counters["value"]!, { name: "watched" })
    await watched.value((value) => value === 0)
    const client = served.socket()
    await client.mutation(counters["increment"]!, { name: "watched" })
    await watched.value((value) => value === 1)
    await client.mutation(counters["increment"]!, { name: "watched" })
    await watched.value((value) => value === 2)
    assert.deepEqual(watched.values, [0, 1, 2])
  })

  it("resolves a mutation only after the client's own subscriptions show it", async () => {
    const client = served.socket()
    const watched = served.watch(client, counters["value"]!, { name: "own" })
    await watched.value((value) => value === 0)
    assert.equal(await client.mutation(counters["increment"]!, { name: "own" }), 1)
    assert.equal(watched.values.at(-1), 1)
  })

  it("runs mutations of one client in the order they were sent", async () => {
    const client = served.socket()
    const results = await Promise.all(
      Array.from({ length: 10 }, () => client.mutation(counters["increment"]!, { name: "order" }))
    )
    assert.deepEqual(
      results,
      Array.from({ length: 10 }, (_, index) => index + 1)
    )
  })

  it("runs actions", async () => {
    assert.deepEqual(await served.socket().action(api["failures"]!["viaAction"]!, { group: "socket action" }), [0])
  })

  it("answers a single query", async () => {
    assert.equal(await served.socket().query(counters["value"]!, { name: "nobody counts this" }), 0)
  })

  it("does not rerun a subscription for writes outside its reads", async () => {
    const watched = served.watch(served.socket(), api["items"]!["ranks"]!, { group: "narrow", take: 1 })
    await served.http().mutation(api["items"]!["add"]!, { group: "narrow", rank: 5 })
    await watched.value(([rank]) => rank === 5)
    await served.local("DELETE", "stats")
    // After the first row of the range, and in another group: neither can change the first row.
    await served.http().mutation(api["items"]!["add"]!, { group: "narrow", rank: 9 })
    await served.http().mutation(api["items"]!["add"]!, { group: "wide", rank: 1 })
    await served.http().mutation(api["items"]!["add"]!, { group: "narrow", rank: 1 })
    await watched.value(([rank]) => rank === 1)
    const { functions } = await served.local("GET", "stats")
    assert.equal(functions["items:ranks"].byOrigin.subscription, 1)
  })

  it("runs equal subscriptions of fifty clients once per change", async () => {
    const watchers = Array.from({ length: 50 }, () =>
      served.watch(served.socket(), counters["value"]!, { name: "crowd" })
    )
    await Promise.all(watchers.map((watched) => watched.value((value) => value === 0)))
    await served.local("DELETE", "stats")
    await served.http().mutation(counters["increment"]!, { name: "crowd" })
    await Promise.all(watchers.map((watched) => watched.value((value) => value === 1)))
    const { functions } = await served.local("GET", "stats")
    assert.equal(functions["counters:value"].byOrigin.subscription, 1)
  })

  it("never shows two subscriptions of one client different snapshots", async () => {
    const client = served.socket()
    const pair = { left: 0, right: 0 }
    const seen: Array<string> = []
    // Both listeners of one transition are called in the same tick, and the pair is read after it.
    const note = (): void => queueMicrotask(() => queueMicrotask(() => seen.push(`${pair.left} ${pair.right}`)))
    const watch = (name: "left" | "right"): void => {
      client.onUpdate(
        counters["value"] as never,
        { name } as never,
        (value: number) => {
          pair[name] = value
          note()
        },
        (error) => seen.push(error.message)
      )
    }
    watch("left")
    watch("right")
    const last = served.watch(client, counters["both"]!, { names: ["left", "right"] })
    await last.value(([left]) => left === 0)
    const writer = served.http()
    for (let round = 1; round <= 40; round += 1) {
      await writer.mutation(counters["incrementBoth"]!, { names: ["left", "right"] }, { skipQueue: true })
    }
    await last.value(([left]) => left === 40)
    assert.isAbove(seen.length, 2)
    assert.deepEqual(
      seen.filter((moment) => moment.split(" ")[0] !== moment.split(" ")[1]),
      []
    )
    assert.isTrue(last.values.every(([left, right]) => left === right))
  })

  it("reports the failure of a subscription, with the data of a ConvexError", async () => {
    const error = await served.watch(served.socket(), api["failures"]!["known"]!, {}).error()
    assert.instanceOf(error, ConvexError)
    assert.deepEqual((error as ConvexError<any>).data, { code: "lease_lost", epoch: 7n })
  })

  it("reports only a failure for a subscription to an internal function", async () => {
    assert.match((await served.watch(served.socket(), api["items"]!["hidden"]!, {}).error()).message, /Server Error/)
  })

  it("rejects a mutation that fails, redacted or with its data", async () => {
    const client = served.socket()
    const known = await rejection(client.mutation(api["failures"]!["halfWritten"]!, { group: "socket half" }))
    assert.deepEqual(known.data, { code: "conflict" })
    const unknown = await rejection(client.mutation(api["failures"]!["tooLarge"]!, {}))
    assert.match(unknown.message, /Server Error/)
    assert.notMatch(unknown.message, /too large/)
  })

  it("stops running a query without subscribers", async () => {
    const watched = served.watch(served.socket(), counters["value"]!, { name: "left alone" })
    await watched.value((value) => value === 0)
    watched.unsubscribe()
    const other = served.socket()
    await other.mutation(counters["increment"]!, { name: "left alone" })
    await served.local("DELETE", "stats")
    await other.mutation(counters["increment"]!, { name: "left alone" })
    const { functions } = await served.local("GET", "stats")
    assert.isUndefined(functions["counters:value"])
  })

  it("follows a change of identity with its open subscriptions", async () => {
    const client = served.socket()
    const watched = served.watch(client, api["people"]!["whoAmI"]!, {})
    await watched.value((value) => value === null)
    ;(client.client as any).setAdminAuth(served.plane.adminKey, {
      subject: "grace",
      issuer: "https://id.example",
      name: "Grace"
    })
    assert.equal((await watched.value((value) => value !== null)).subject, "grace")
  })

  it("requests a new token if it cannot verify one, and stays without identity", async () => {
    const client = served.socket()
    const isAuthenticated = await new Promise<boolean>((resolve) => {
      client.setAuth(async () => "eyJhbGciOiJub25lIn0.eyJpYXQiOjEsImV4cCI6OTk5OTk5OTk5OX0.", resolve)
    })
    assert.isFalse(isAuthenticated)
  })

  it("reconnects after its socket was closed, and gets the missed changes", async () => {
    const client = served.socket()
    const watched = served.watch(client, counters["value"]!, { name: "cut" })
    await watched.value((value) => value === 0)
    await served.local("POST", "faults", { kind: "drop", path: "counters:increment", transport: "websocket", count: 1 })
    // The plane runs it and closes the socket. The client repeats it and gets the first answer.
    assert.equal(await client.mutation(counters["increment"]!, { name: "cut" }), 1)
    assert.equal(await client.mutation(counters["increment"]!, { name: "cut" }), 2)
    assert.equal(watched.values.at(-1), 2)
  })

  it("answers other clients while one socket is parked, and that one after it was closed", async () => {
    const parked = served.socket()
    const watched = served.watch(parked, counters["value"]!, { name: "parked" })
    await watched.value((value) => value === 0)
    await served.local("POST", "faults", { kind: "park" })
    const other = served.socket()
    await other.mutation(counters["increment"]!, { name: "parked" })
    assert.deepEqual(watched.values, [0])
    await served.local("DELETE", "faults")
    await watched.value((value) => value === 1)
  })
})

describe("the sync protocol", () => {
  const open = async (plane = served.plane): Promise<WebSocket> => {
    const socket = new WebSocket(`${plane.url.replace("http", "ws")}/api/1.48.0/sync`)
    await new Promise((resolve) => socket.addEventListener("open", resolve))
    return socket
  }
  const messages = (socket: WebSocket): { readonly next: () => Promise<any> } => {
    const waiting: Array<any> = []
    const wanted: Array<(message: any) => void> = []
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data as string)
      const taker = wanted.shift()
      if (taker === undefined) waiting.push(message)
      else taker(message)
    })
    return {
      next: async () => waiting.shift() ?? (await new Promise((resolve) => wanted.push(resolve)))
    }
  }

  it("continues each transition from the end of the last, and sends a mutation's after its answer", async () => {
    const socket = await open()
    const { next } = messages(socket)
    const send = (message: unknown): void => socket.send(JSON.stringify(message))
    send({ type: "Connect", sessionId: "s1", connectionCount: 0, lastCloseReason: null, clientTs: 0 })
    send({
      type: "ModifyQuerySet",
      baseVersion: 0,
      newVersion: 1,
      modifications: [{ type: "Add", queryId: 0, udfPath: "counters:value", args: [{ name: "wire" }] }]
    })
    const first = await next()
    assert.deepEqual(first.startVersion, { querySet: 0, identity: 0, ts: "AAAAAAAAAAA=" })
    assert.equal(first.endVersion.querySet, 1)
    send({ type: "Mutation", requestId: 1, udfPath: "counters:increment", args: [{ name: "wire" }] })
    const answers = [await next(), await next()]
    const response = answers.find(({ type }) => type === "MutationResponse")
    assert.deepEqual([response.success, response.result], [true, 1])
    let transition = answers.find(({ type }) => type === "Transition")
    assert.deepEqual(transition.startVersion, first.endVersion)
    if (answers.indexOf(transition) === 0) transition = await next()
    const time = (ts: string): bigint => Buffer.from(ts, "base64").readBigUInt64LE()
    assert.isTrue(time(transition.endVersion.ts) >= time(response.ts))
    send({ type: "ModifyQuerySet", baseVersion: 1, newVersion: 2, modifications: [{ type: "Remove", queryId: 0 }] })
    assert.deepEqual((await next()).modifications, [{ type: "QueryRemoved", queryId: 0 }])
    socket.close()
  })

  it("runs a mutation that is repeated in its session once, even if the first is still running", async () => {
    const connect = { type: "Connect", sessionId: "s2", connectionCount: 0, lastCloseReason: null, clientTs: 0 }
    const mutation = { type: "Mutation", requestId: 7, udfPath: "counters:increment", args: [{ name: "once" }] }
    const results = await Promise.all(
      [1, 2, 3].map(async () => {
        const socket = await open()
        const { next } = messages(socket)
        socket.send(JSON.stringify(connect))
        socket.send(JSON.stringify(mutation))
        const answer = await next()
        socket.close()
        return answer.result
      })
    )
    assert.deepEqual(results, [1, 1, 1])
    assert.equal(await served.http().query(counters["value"]!, { name: "once" }), 1)
  })

  it("pings an open socket, so that a client recognizes a dead one", async () => {
    const socket = await open(await served.start(["--ping-interval", "20"]))
    const { next } = messages(socket)
    assert.deepEqual([await next(), await next()], [{ type: "Ping" }, { type: "Ping" }])
    socket.close()
  })

  it("closes a socket that breaks the protocol's order", async () => {
    const socket = await open()
    const { next } = messages(socket)
    const closed = new Promise((resolve) => socket.addEventListener("close", resolve))
    socket.send(JSON.stringify({ type: "ModifyQuerySet", baseVersion: 5, newVersion: 6, modifications: [] }))
    assert.equal((await next()).type, "FatalError")
    await closed
  })
})
