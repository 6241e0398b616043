import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { codeOf } from "./controlPlane.ts"
import { fleetOf, minute, openCommands, target, versionsOf, waves } from "./fleetInWaves.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

describe("a rollback", () => {
  it("returns the runtimes of the stopped wave to their former versions, and leaves the waves before", async () => {
    const fleet = await fleetOf(["obeys"], ["obeys"], ["refuses"], ["obeys"])
    await fleet.upgrade([1, 2, 1])
    await fleet.plane.pass(20 * minute)
    expect(await fleet.states()).toEqual(["done", "done", "failed", "waiting"])
    await fleet.plane.call(waves.rollback, {})
    await fleet.plane.pass(5 * minute)
    expect(await fleet.state()).toBe("rolled_back")
    expect(await fleet.states()).toEqual(["done", "rolled_back", "rolled_back", "waiting"])
    expect(versionsOf(fleet)).toEqual([[target], ["1.0.0"], ["1.0.0"], ["1.0.0"]])
    // The refused upgrade changed nothing, so nothing was asked of that runtime.
    expect(fleet.plane.rows("runtimeCommands").filter(({ kind }) => kind === "rollback")).toHaveLength(1)
    expect(fleet.activities(1).slice(-2)).toEqual([
      "upgrade to runtime 1.1.0 (wave 2 of 3): rollback requested",
      "upgrade to runtime 1.1.0 (wave 2 of 3): rolled back"
    ])
  })

  it("returns all waves, also after the end and only the versions that the upgrade changed", async () => {
    const fleet = await fleetOf(["obeys"], ["obeys", "obeys"])
    await fleet.plane.call(waves.upgrade, { openclawVersion: "2026.9.6", waves: fleet.ids.map((id) => [id]) })
    await fleet.plane.pass(30 * minute)
    expect(await fleet.state()).toBe("done")
    await fleet.plane.call(waves.rollback, { all: true })
    await fleet.plane.pass(5 * minute)
    expect(await fleet.states()).toEqual(["rolled_back", "rolled_back"])
    const rollbacks = fleet.plane.rows("runtimeCommands").filter(({ kind }) => kind === "rollback")
    expect(rollbacks.map(({ openclawVersion, runtimeVersion }) => [runtimeVersion, openclawVersion])).toEqual(
      Array.from({ length: 3 }, () => [null, "2026.9.1"])
    )
    expect(await codeOf(fleet.plane.call(waves.rollback, {}))).toBe("conflict")
  })

  it("leaves a command for a runtime that never came back, and reports that it is not rolled back", async () => {
    const fleet = await fleetOf(["vanishes"])
    await fleet.upgrade([1])
    await fleet.plane.pass(20 * minute)
    await fleet.plane.call(waves.rollback, {})
    await fleet.plane.pass(40 * minute)
    expect(await fleet.states()).toEqual(["rollback_failed"])
    expect(await fleet.reasons()).toEqual(["not back within 30 min: r1 is offline"])
    const [runtime] = fleet.runtimes.flat()
    if (runtime === undefined) throw new Error("expected a runtime")
    runtime.versions = { ...runtime.versions, runtime: target }
    runtime.fate = "obeys"
    await runtime.boot()
    await fleet.plane.pass(5 * minute)
    expect(versionsOf(fleet)).toEqual([["1.0.0"]])
    expect(openCommands(fleet)).toEqual([])
  })

  it("withdraws upgrades that no runtime has taken, and waits for those that one has", async () => {
    const fleet = await fleetOf(["deaf"], ["obeys"], ["obeys"])
    await fleet.upgrade([3])
    await fleet.plane.settle()
    await fleet.plane.call(waves.rollback, {})
    await fleet.plane.settle()
    expect(await fleet.states()).toEqual(["waiting", "rolling_back", "rolling_back"])
    expect(openCommands(fleet).map(({ kind, state }) => [kind, state])).toEqual([
      ["upgrade", "taken"],
      ["upgrade", "taken"]
    ])
    await fleet.plane.pass(10 * minute)
    expect(await fleet.states()).toEqual(["waiting", "rolled_back", "rolled_back"])
    expect(versionsOf(fleet).flat()).toEqual(["1.0.0", "1.0.0", "1.0.0"])
  })

  it("includes an account that was skipped after its upgrade", async () => {
    const fleet = await fleetOf(["obeys"], ["obeys"])
    await fleet.upgrade([2])
    await fleet.plane.pass(4 * minute)
    await fleet.plane.call(waves.resume, { skip: [fleet.ids[0] ?? ""] })
    await fleet.plane.pass(10 * minute)
    expect(await fleet.states()).toEqual(["skipped", "done"])
    await fleet.plane.call(waves.rollback, { all: true })
    await fleet.plane.pass(5 * minute)
    expect(await fleet.states()).toEqual(["rolled_back", "rolled_back"])
    expect(versionsOf(fleet)).toEqual([["1.0.0"], ["1.0.0"]])
  })

  it("is refused for a restart", async () => {
    const fleet = await fleetOf(["obeys"])
    await fleet.plane.call(waves.restart, { waves: [fleet.ids] })
    expect(await codeOf(fleet.plane.call(waves.rollback, {}))).toBe("invalid")
  })
})

describe("a cancelled rollout", () => {
  it("withdraws what no runtime has taken, and reports what is unknown", async () => {
    const fleet = await fleetOf(["deaf"], ["obeys"], ["obeys"])
    await fleet.upgrade([2, 1])
    await fleet.plane.settle()
    await fleet.plane.call(waves.cancel, {})
    await fleet.plane.pass(5 * minute)
    expect(await fleet.state()).toBe("cancelled")
    expect(await fleet.states()).toEqual(["waiting", "failed", "waiting"])
    expect(await fleet.reasons()).toEqual([
      null,
      "the rollout was cancelled while a runtime carried out its command",
      null
    ])
    expect(versionsOf(fleet)).toEqual([["1.0.0"], [target], ["1.0.0"]])
    expect(openCommands(fleet)).toEqual([])
    expect(await codeOf(fleet.plane.call(waves.resume, {}))).toBe("not_found")
    await fleet.plane.call(waves.rollback, {})
    await fleet.plane.pass(5 * minute)
    expect(versionsOf(fleet).flat()).toEqual(["1.0.0", "1.0.0", "1.0.0"])
  })

  it("keeps the failure of an account that it was trying again", async () => {
    const fleet = await fleetOf(["refuses"])
    await fleet.upgrade([1])
    await fleet.plane.pass(2 * minute)
    for (const runtime of fleet.runtimes.flat()) runtime.fate = "deaf"
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.settle()
    expect(await fleet.states()).toEqual(["underway"])
    await fleet.plane.call(waves.cancel, {})
    await fleet.plane.settle()
    expect(await fleet.states()).toEqual(["failed"])
    expect(await fleet.reasons()).toEqual(["the upgrade of r1 failed: exit code 3: no space left"])
  })
})
