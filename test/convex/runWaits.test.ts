import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { minute, pass, stopTime } from "./clock.ts"
import { complete, fail, makeTask, type Plane, runningTurn, seededPlane } from "./controlPlane.ts"

stopTime()
const { app } = api

/** The waits of the waiting runs. */
const waits = async (plane: Plane) =>
  (await plane.seen(app.runs.list, {})).filter(({ state }) => state === "waiting").map(({ wait }) => wait)

describe("a waiting run", () => {
  it("waits for nothing if it can be claimed", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    expect(await waits(plane)).toEqual([null])
  })

  it("waits for its agent's running turn, and not longer", async () => {
    const { plane, run, taskId } = await runningTurn()
    await plane.post(taskId, "@engineer one more")
    expect(await waits(plane)).toEqual([{ reason: "session", detail: null, until: null }])
    await complete(plane, run)
    expect(await waits(plane)).toEqual([null])
  })

  it("waits for its retry after a failure, whose class it names", async () => {
    const { plane, run } = await runningTurn()
    const until = Date.now() + minute
    await fail(plane, run, { nextAttemptAt: until })
    const wait = { reason: "retry", detail: "TurnTimeout", until }
    expect(await waits(plane)).toEqual([wait])
    expect((await plane.seen(app.runs.get, { run: run.id })).run.wait).toEqual(wait)
    pass(minute)
    expect(await waits(plane)).toEqual([null])
  })

  it("waits while its agent or the account is paused", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.qa])
    await plane.asPerson(app.agents.pause, { agentId: plane.engineer })
    const paused = { reason: "paused", detail: null, until: null }
    expect(await waits(plane)).toEqual([paused, null])
    await plane.asPerson(app.agents.resume, { agentId: plane.engineer })
    await plane.asPerson(app.runtimes.pause, {})
    expect(await waits(plane)).toEqual([paused, paused])
  })
})
