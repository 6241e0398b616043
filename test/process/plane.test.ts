import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, assert, describe, it } from "vitest"
import { type LaunchedPlane } from "../../local/launcher.ts"
import { api, ServedApp } from "../local/plane/fixtures/servedApp.ts"

const served = new ServedApp(null)
const folder = mkdtempSync(join(tmpdir(), "plane-kills-"))
afterAll(() => rmSync(folder, { recursive: true }))

const kills = 20
const httpWriters = 6
const socketWriters = 3
/** Acknowledged writes of each client before each kill: proof of load, and of both clients' reconnection. */
const acknowledgedBeforeKill = { http: 30, socket: 3 }

describe("a plane with a file, killed twenty times under load", () => {
  it("loses no acknowledged write, and runs no repeated one twice", async () => {
    const data = join(folder, "data")
    const plane: LaunchedPlane = await served.start(["--data", data])
    const port = new URL(plane.url).port
    const load = { plane, isOver: false, http: 0, socket: 0 }
    let notify: Array<() => void> = []
    const changed = (): Promise<void> => new Promise((resolve) => notify.push(resolve))
    const note = (): void => {
      const waiting = notify
      notify = []
      for (const resume of waiting) resume()
    }
    /** Its requests are not retried: the outcome of a failed one is unknown. */
    const writeByHttp = async (writer: number): Promise<{ readonly kept: Array<number>; readonly sent: number }> => {
      const kept: Array<number> = []
      let sent = 0
      while (!load.isOver) {
        const from = load.plane
        const rank = sent
        sent += 1
        const done = await served
          .http(from)
          .mutation(api["items"]!["add"]!, { group: `http ${writer}`, rank })
          .then(
            () => true,
            () => false
          )
        if (done) {
          kept.push(rank)
          load.http += 1
          note()
        } else while (load.plane === from && !load.isOver) await changed()
      }
      return { kept, sent }
    }

    /** The client repeats each mutation until it is answered. */
    const writeBySocket = async (writer: number): Promise<number> => {
      const client = served.socket(plane)
      let sent = 0
      while (!load.isOver) {
        await client.mutation(api["items"]!["add"]!, { group: `socket ${writer}`, rank: sent })
        await client.mutation(api["counters"]!["later"]!, { name: "jobs", milliseconds: 0, how: "mutation" })
        sent += 1
        load.socket += 1
        note()
      }
      return sent
    }

    const byHttp = Array.from({ length: httpWriters }, (_, writer) => writeByHttp(writer))
    const bySocket = Array.from({ length: socketWriters }, (_, writer) => writeBySocket(writer))
    for (let kill = 0; kill < kills; kill += 1) {
      const before = { ...load }
      while (
        load.http < before.http + acknowledgedBeforeKill.http ||
        load.socket < before.socket + acknowledgedBeforeKill.socket
      ) {
        await changed()
      }
      await Effect.runPromise(Effect.andThen(load.plane.signal("SIGKILL"), load.plane.exit))
      load.plane = await served.start(["--data", data, "--port", port])
      note()
    }
    load.isOver = true
    note()

    const client = served.http(load.plane)
    const ranks = (group: string): Promise<ReadonlyArray<number>> => client.query(api["items"]!["ranks"]!, { group })
    for (const [writer, { kept, sent }] of (await Promise.all(byHttp)).entries()) {
      const found = await ranks(`http ${writer}`)
      assert.equal(new Set(found).size, found.length, "written twice")
      assert.includeMembers([...found], kept)
      assert.isTrue(found.every((rank) => rank < sent))
      assert.isAbove(kept.length, kills)
    }
    let jobs = 0
    for (const [writer, sent] of (await Promise.all(bySocket)).entries()) {
      assert.deepEqual(
        await ranks(`socket ${writer}`),
        Array.from({ length: sent }, (_, rank) => rank)
      )
      jobs += sent
    }
    const counted = served.watch(served.socket(load.plane), api["counters"]!["value"]!, { name: "jobs" })
    await counted.value((value) => value >= jobs)
    assert.deepEqual(counted.values.at(-1), jobs)
    assert.isAtLeast(jobs, kills * acknowledgedBeforeKill.socket)
  })
})
