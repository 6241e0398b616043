import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { moreFailures } from "../../convex/model/fleet/healthGate.ts"
import { fenceOf, only, plainClaim, settings, spent } from "./controlPlane.ts"
import { type FleetInWaves, fleetOf, minute, waves } from "./fleetInWaves.ts"
import { ownerOf } from "./fleetPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A fleet of two accounts; the first has an agent, whose turns end as the test wants. */
const workingFleet = async () => {
  const fleet = await fleetOf(["obeys"], ["obeys"])
  const { ids, plane, runtimes } = fleet
  const [accountId = ""] = ids
  const asOwner = { identity: ownerOf("A0") }
  const agent = { accountId, slug: "engineer", name: "Engineer", role: "Engineer" }
  const { agentId } = await plane.call(api.app.agents.create, agent, asOwner)
  let claims = 0
  /** Runs a turn on a new task. */
  const turn = async (end: "succeeds" | "fails" | "dies") => {
    const runtime = runtimes[0]?.[0]
    if (runtime === undefined) throw new Error("expected a runtime")
    const task = { accountId, title: "T", assigneeIds: [agentId] }
    await plane.call(api.app.tasks.create, task, asOwner)
    const { runs } = await plane.call(api.service.notifications.claim, {
      ...plainClaim,
      ...runtime.process,
      number: (claims += 1)
    })
    const call = { ...runtime.tenant, ...fenceOf(only(runs)), usage: spent(10) }
    if (end === "succeeds") {
      await plane.call(api.service.notifications.complete, { ...call, settings, outcome: "acted", turn: "answered" })
      return
    }
    const retry = end === "dies" ? {} : { nextAttemptAt: Date.now() + 86_400_000 }
    const failure = { class: "TurnTimeout", error: "took too long", silence: false, silenceLimit: 3 }
    await plane.call(api.service.notifications.fail, { ...call, ...failure, ...retry })
  }
  return { ...fleet, turn }
}

const firstReason = async (fleet: FleetInWaves) => (await fleet.reasons())[0]

describe("the gate behind a wave", () => {
  it("stops at a dead letter since the account began, but not at an earlier one", async () => {
    const fleet = await workingFleet()
    await fleet.turn("dies")
    await fleet.plane.pass(minute)
    await fleet.upgrade([1, 1])
    await fleet.plane.pass(4 * minute)
    expect(await fleet.state()).toBe("running")
    await fleet.turn("dies")
    await fleet.plane.pass(2 * minute)
    expect(await fleet.state()).toBe("stopped")
    expect(await firstReason(fleet)).toBe("it got a dead letter")
    // Tried again, it is judged by what happens from then on.
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.pass(20 * minute)
    expect(await fleet.states()).toEqual(["done", "done"])
  })

  it("stops if at least three attempts failed since, and more of them than before", async () => {
    const fleet = await workingFleet()
    for (const end of ["succeeds", "succeeds", "fails"] as const) await fleet.turn(end)
    await fleet.plane.pass(minute)
    await fleet.upgrade([1, 1])
    await fleet.plane.pass(3 * minute)
    for (const end of ["succeeds", "fails", "fails"] as const) await fleet.turn(end)
    await fleet.plane.pass(minute)
    expect(await fleet.state()).toBe("running")
    await fleet.turn("fails")
    await fleet.plane.pass(minute)
    expect(await fleet.state()).toBe("stopped")
    expect(await firstReason(fleet)).toBe("3 of its 4 attempts failed since, 1 of 3 before")
  })

  it("accepts an account in which as many attempts failed before", async () => {
    const fleet = await workingFleet()
    for (const end of ["fails", "fails", "fails"] as const) await fleet.turn(end)
    await fleet.plane.pass(minute)
    await fleet.upgrade([1, 1])
    await fleet.plane.pass(3 * minute)
    for (const end of ["fails", "fails", "fails"] as const) await fleet.turn(end)
    await fleet.plane.pass(20 * minute)
    expect(await fleet.states()).toEqual(["done", "done"])
  })

  it("accepts a runtime that is degraded as it was before", async () => {
    const fleet = await fleetOf(["ails"])
    for (const runtime of fleet.runtimes.flat()) await runtime.boot()
    await fleet.upgrade([1])
    await fleet.plane.pass(20 * minute)
    expect(await fleet.states()).toEqual(["done"])
  })

  it("starts the time of observation again if a runtime goes offline in it", async () => {
    const fleet = await fleetOf(["obeys"])
    await fleet.upgrade([1])
    await fleet.plane.pass(5 * minute)
    for (const runtime of fleet.runtimes.flat()) await runtime.stop()
    await fleet.plane.pass(5 * minute)
    for (const runtime of fleet.runtimes.flat()) await runtime.boot()
    await fleet.plane.pass(4 * minute)
    expect(await fleet.states()).toEqual(["underway"])
    await fleet.plane.pass(3 * minute)
    expect(await fleet.states()).toEqual(["done"])
  })

  it("restarts a runtime until another boot is online", async () => {
    const fleet = await fleetOf(["obeys"], ["vanishes"])
    await fleet.plane.call(waves.restart, { waves: [fleet.ids] })
    await fleet.plane.pass(40 * minute)
    expect(await fleet.states()).toEqual(["done", "failed"])
    expect((await fleet.reasons())[1]).toBe("not healthy within 30 min: r1 is offline")
    for (const runtime of fleet.runtimes[1] ?? []) await runtime.boot()
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.pass(10 * minute)
    expect(await fleet.states()).toEqual(["done", "done"])
    expect(fleet.plane.rows("runtimeCommands")).toHaveLength(2)
  })
})

describe("the comparison of attempts", () => {
  it.each([
    [{ attempts: 0, failed: 0 }, { attempts: 2, failed: 2 }, false],
    [{ attempts: 0, failed: 0 }, { attempts: 20, failed: 3 }, true],
    [{ attempts: 20, failed: 3 }, { attempts: 20, failed: 3 }, false],
    [{ attempts: 20, failed: 3 }, { attempts: 19, failed: 3 }, true],
    [{ attempts: 5, failed: 5 }, { attempts: 20, failed: 20 }, false]
  ])("of %j before and %j since finds more failures: %s", (before, since, isMore) => {
    expect(moreFailures(before, since) !== null).toBe(isMore)
  })
})
