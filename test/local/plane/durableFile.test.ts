import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, assert, describe, it } from "vitest"
import { type LaunchedPlane } from "../../../local/launcher.ts"
import { readHistory } from "../../../local/plane/callHistory.ts"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp(null)
const counters = api["counters"]!
const folder = mkdtempSync(join(tmpdir(), "plane-"))
afterAll(() => rmSync(folder, { recursive: true }))
const kill = (plane: LaunchedPlane): Promise<unknown> =>
  Effect.runPromise(Effect.andThen(plane.signal("SIGKILL"), plane.exit))

describe("a plane with a file", () => {
  it("has every acknowledged document after a kill, with indexes, order and counters", async () => {
    const data = join(folder, "kept")
    const first = await served.start(["--data", data])
    const client = served.http(first)
    const id = await client.mutation(api["items"]!["add"]!, { group: "kept", rank: 2, text: "amber" })
    await client.mutation(api["items"]!["add"]!, { group: "kept", rank: 1 })
    const gone = await client.mutation(api["items"]!["add"]!, { group: "kept", rank: 3 })
    await client.mutation(api["items"]!["remove"]!, { id: gone })
    const before = await client.query(api["items"]!["get"]!, { id })
    await kill(first)
    const second = await served.start(["--data", data])
    const again = served.http(second)
    assert.isAtLeast(Number(second.ready["restored"]), 2)
    assert.deepEqual(await again.query(api["items"]!["ranks"]!, { group: "kept" }), [1, 2])
    assert.deepEqual(await again.query(api["items"]!["search"]!, { words: "amber" }), ["amber"])
    assert.deepEqual(await again.query(api["items"]!["get"]!, { id }), before)
    const later = await again.mutation(api["items"]!["add"]!, { group: "kept", rank: 4 })
    assert.notInclude([id, gone], later)
    assert.isAbove((await again.query(api["items"]!["get"]!, { id: later }))._creationTime, before._creationTime)
  })

  it("continues the waiting jobs", async () => {
    const data = join(folder, "jobs")
    const first = await served.start(["--data", data])
    await served.http(first).mutation(counters["later"]!, { name: "job", milliseconds: 400, how: "mutation" })
    const far = await served
      .http(first)
      .mutation(counters["later"]!, { name: "far", milliseconds: 86_400_000, how: "mutation" })
    await kill(first)
    const second = await served.start(["--data", data])
    await served.watch(served.socket(second), counters["value"]!, { name: "job" }).value((value) => value === 1)
    assert.equal(await served.http(second).query(counters["job"]!, { id: far }), "pending")
  })

  it("recognizes a mutation that is repeated to the next plane", async () => {
    const data = join(folder, "requests")
    const send = async (plane: LaunchedPlane, count: number): Promise<number> => {
      const socket = new WebSocket(`${plane.url.replace("http", "ws")}/api/1.48.0/sync`)
      await new Promise((resolve) => socket.addEventListener("open", resolve))
      socket.send(
        JSON.stringify({
          type: "Connect",
          sessionId: "lasting",
          connectionCount: count,
          lastCloseReason: null,
          clientTs: 0
        })
      )
      socket.send(
        JSON.stringify({ type: "Mutation", requestId: 1, udfPath: "counters:increment", args: [{ name: "lasting" }] })
      )
      const { data: text } = await new Promise<MessageEvent>((resolve) =>
        socket.addEventListener("message", resolve, { once: true })
      )
      socket.close()
      return JSON.parse(text as string).result
    }
    const first = await served.start(["--data", data])
    assert.equal(await send(first, 0), 1)
    await kill(first)
    const second = await served.start(["--data", data])
    assert.equal(await send(second, 1), 1)
    assert.equal(await served.http(second).query(counters["value"]!, { name: "lasting" }), 1)
  })

  it("refuses a file that another plane has open, in one line", async () => {
    const data = join(folder, "shared")
    await served.start(["--data", data])
    const refused = await served.start(["--data", data]).then(
      () => assert.fail("it should have failed"),
      (error: Error) => error
    )
    assert.match(refused.message, /ended before it was ready \(exit code 1\)\ncannot use .*shared: database is locked$/)
  })

  it("keeps the calls of mutations that were answered before a kill, and records again after it", async () => {
    const data = join(folder, "history")
    const first = await served.start(["--data", data, "--history"])
    await served.http(first).mutation(counters["increment"]!, { name: "recorded" })
    await served
      .http(first)
      .mutation(api["failures"]!["halfWritten"]!, { group: "g" })
      .catch(() => {})
    await kill(first)
    const second = await served.start(["--data", data])
    await served.http(second).mutation(counters["increment"]!, { name: "recorded" })
    await kill(second)
    // The app's crons are calls of the plane.
    const ofClients = readHistory(data).filter(({ caller }) => caller === "client")
    const recorded = ofClients.map(({ changes, path, refused, value }) => ({
      path,
      end: refused ?? value,
      writes: changes.length
    }))
    assert.deepEqual(recorded, [
      { path: "counters:increment", end: 1, writes: 1 },
      { path: "failures:halfWritten", end: { code: "conflict" }, writes: 0 },
      { path: "counters:increment", end: 2, writes: 1 }
    ])
  })

  it("begins no history in a file that has documents already", async () => {
    const data = join(folder, "late history")
    const first = await served.start(["--data", data])
    await served.http(first).mutation(counters["increment"]!, { name: "unrecorded" })
    await kill(first)
    const refused = await served.start(["--data", data, "--history"]).then(
      () => assert.fail("it should have failed"),
      (error: Error) => error
    )
    assert.match(refused.message, /cannot use .*late history: its first calls were not recorded/)
    assert.throws(() => readHistory(data), /it has no history/)
  })

  it("lets a client continue after a restart on the same port", async () => {
    const data = join(folder, "restart")
    const first = await served.start(["--data", data])
    const client = served.socket(first)
    const watched = served.watch(client, counters["value"]!, { name: "over" })
    assert.equal(await client.mutation(counters["increment"]!, { name: "over" }), 1)
    await kill(first)
    await served.start(["--data", data, "--port", new URL(first.url).port])
    assert.equal(await client.mutation(counters["increment"]!, { name: "over" }), 2)
    await watched.value((value) => value === 2)
    assert.deepEqual(watched.errors, [])
  })
})
