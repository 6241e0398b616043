import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { codeOf } from "./controlPlane.ts"
import { fleetOf, minute, openCommands, target, versionsOf, waves } from "./fleetInWaves.ts"
import { ownerOf } from "./fleetPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

describe("an upgrade in waves", () => {
  it("upgrades wave after wave, each after five healthy minutes of the one before, and adds activities", async () => {
    const fleet = await fleetOf(["obeys"], ["obeys"], ["obeys", "obeys"])
    await fleet.upgrade([1, 2])
    await fleet.plane.pass(5 * minute)
    expect(versionsOf(fleet)).toEqual([[target], ["1.0.0"], ["1.0.0", "1.0.0"]])
    await fleet.plane.pass(20 * minute)
    expect(versionsOf(fleet)).toEqual([[target], [target], [target, target]])
    expect(await fleet.states()).toEqual(["done", "done", "done"])
    const { endedAt, log, state } = await fleet.show()
    expect(state).toBe("done")
    expect(endedAt).not.toBeNull()
    expect(log.map(({ text }) => text)).toEqual([
      "upgrade to runtime 1.1.0 of 3 accounts started",
      "wave 1 of 2 began",
      "wave 1 of 2 is healthy",
      "wave 2 of 2 began",
      "wave 2 of 2 is healthy",
      "upgrade to runtime 1.1.0 is done"
    ])
    expect(fleet.activities(2)).toEqual([
      "upgrade to runtime 1.1.0 (wave 2 of 2): requested",
      "upgrade to runtime 1.1.0 (wave 2 of 2): done"
    ])
    expect(openCommands(fleet)).toEqual([])
  })

  it.each([
    ["refuses", "the upgrade of r1 failed: exit code 3: no space left"],
    ["deaf", "not healthy within 30 min: r1 has not taken the command"],
    ["ails", "not healthy within 30 min: r1 is degraded: gateway"]
  ] as const)("stops at an account whose runtime %s", async (fate, reason) => {
    const fleet = await fleetOf(["obeys"], [fate], ["obeys"], ["obeys"])
    await fleet.upgrade([2, 2])
    await fleet.plane.pass(60 * minute)
    expect(await fleet.state()).toBe("stopped")
    expect(await fleet.states()).toEqual(["done", "failed", "waiting", "waiting"])
    expect((await fleet.reasons())[1]).toBe(reason)
    expect(versionsOf(fleet).slice(2)).toEqual([["1.0.0"], ["1.0.0"]])
    expect(openCommands(fleet)).toEqual([])
  })

  it("stops for a runtime that never comes back, tries it again, and continues without it", async () => {
    const fleet = await fleetOf(["obeys"], ["vanishes"], ["obeys"])
    await fleet.upgrade([2, 1])
    await fleet.plane.pass(30 * minute)
    expect(await fleet.states()).toEqual(["done", "failed", "waiting"])
    expect((await fleet.reasons())[1]).toMatch(/^the upgrade of r1 failed: No runtime of the target versions reported/)
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.pass(2 * minute)
    expect(await fleet.states()).toEqual(["done", "underway", "waiting"])
    await fleet.plane.pass(30 * minute)
    expect((await fleet.reasons())[1]).toBe("not healthy within 30 min: r1 is offline")
    await fleet.plane.call(waves.resume, { skip: [fleet.ids[1] ?? ""] })
    await fleet.plane.pass(10 * minute)
    expect(await fleet.states()).toEqual(["done", "skipped", "done"])
    expect(await fleet.state()).toBe("done")
    expect(fleet.activities(1).map((text) => text.split(": ")[1]?.split(",")[0])).toEqual([
      "requested",
      "failed",
      "requested again",
      "failed",
      "skipped by the operator"
    ])
  })

  it("takes a late runtime as upgraded when it is resumed, without another command", async () => {
    const fleet = await fleetOf(["vanishes"])
    await fleet.upgrade([1])
    await fleet.plane.pass(30 * minute)
    const [runtime] = fleet.runtimes.flat()
    if (runtime === undefined) throw new Error("expected a runtime")
    runtime.versions = { ...runtime.versions, runtime: target }
    await runtime.boot()
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.pass(10 * minute)
    expect(await fleet.state()).toBe("done")
    expect(fleet.plane.rows("runtimeCommands")).toHaveLength(1)
  })

  it("leaves out accounts that are offline, already there, or have an open request of a person", async () => {
    const fleet = await fleetOf(["obeys"], ["offline"], ["obeys"], ["deaf"], ["obeys", "offline"])
    const [, , there] = fleet.runtimes
    for (const runtime of there ?? []) {
      runtime.versions = { ...runtime.versions, runtime: `v${target}` }
      await runtime.boot()
    }
    const identity = ownerOf("A3")
    const request = { accountId: fleet.ids[3] ?? "", runtimeVersion: "1.0.5" }
    await fleet.plane.call(api.app.runtimes.upgrade, request, { identity })
    await fleet.upgrade([5])
    await fleet.plane.pass(30 * minute)
    expect(await fleet.states()).toEqual(["done", "left_out", "left_out", "left_out", "done"])
    expect((await fleet.reasons()).slice(1, 4)).toEqual([
      "all its runtimes are offline",
      "it already runs the target versions",
      "the upgrade of r1 that Ana requested is open"
    ])
    expect(openCommands(fleet).map(({ runtimeVersion }) => runtimeVersion)).toEqual(["1.0.5"])
  })

  it("stops if every account of a wave was left out, and continues when it is resumed", async () => {
    const fleet = await fleetOf(["offline"], ["obeys"])
    await fleet.upgrade([1, 1])
    await fleet.plane.pass(30 * minute)
    expect(await fleet.state()).toBe("stopped")
    expect(versionsOf(fleet)).toEqual([["1.0.0"], ["1.0.0"]])
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.pass(30 * minute)
    expect(await fleet.states()).toEqual(["left_out", "done"])
  })

  it("fails an account with two runtimes if one of them fails", async () => {
    const fleet = await fleetOf(["obeys", "deaf"], ["obeys"])
    await fleet.upgrade([1, 1])
    await fleet.plane.pass(40 * minute)
    expect(await fleet.states()).toEqual(["failed", "waiting"])
    expect(await fleet.reasons()).toEqual(["not healthy within 30 min: r2 has not taken the command", null])
    expect(openCommands(fleet)).toEqual([])
  })

  it("leaves out accounts that are deleted in the meantime", async () => {
    const fleet = await fleetOf(["obeys"], ["deaf"], ["obeys"])
    await fleet.upgrade([2, 1])
    await fleet.plane.pass(5 * minute)
    await fleet.plane.engine.transact("delete accounts", (database) => {
      const by = { type: "system", id: null, name: "Operator", slug: null } as const
      database.patch("accounts", fleet.ids[1] ?? "", { deletion: { by, at: Date.now() } })
      database._addWrite(fleet.ids[2] ?? "", null)
    })
    await fleet.plane.pass(10 * minute)
    expect(await fleet.states()).toEqual(["done", "left_out", "left_out"])
    expect((await fleet.accounts())[2]).toMatchObject({ name: null, reason: "the account was deleted" })
    expect(openCommands(fleet)).toEqual([])
  })

  it("fails an account whose request a person replaces", async () => {
    const fleet = await fleetOf(["deaf"], ["obeys"])
    await fleet.upgrade([1, 1])
    await fleet.plane.pass(minute)
    const identity = ownerOf("A0")
    const request = { accountId: fleet.ids[0] ?? "", runtimeVersion: "1.0.5" }
    await fleet.plane.call(api.app.runtimes.upgrade, request, { identity })
    await fleet.plane.pass(2 * minute)
    expect(await fleet.reasons()).toEqual(["the upgrade of r1 failed: replaced", null])
    expect(openCommands(fleet).map(({ runtimeVersion }) => runtimeVersion)).toEqual(["1.0.5"])
  })

  it("refuses a second rollout, an account in two waves, an empty wave and a malformed version", async () => {
    const fleet = await fleetOf(["deaf"])
    const [id = ""] = fleet.ids
    const start = (args: object) =>
      codeOf(fleet.plane.call(waves.upgrade, { runtimeVersion: target, waves: [[id]], ...args }))
    expect(await start({ waves: [[id], [id]] })).toBe("invalid")
    expect(await start({ waves: [[id], []] })).toBe("invalid")
    expect(await start({ waves: [["nothing"]] })).toBe("invalid")
    expect(await start({ waves: [] })).toBe("limit")
    expect(await start({ runtimeVersion: "1; rm" })).toBe("invalid")
    expect(await start({ deadlineMs: 0 })).toBe("invalid")
    expect(await codeOf(fleet.plane.call(waves.show, {}))).toBe("not_found")
    expect(await start({})).toBeNull()
    expect(await start({})).toBe("conflict")
    await fleet.plane.call(waves.cancel, {})
    await fleet.plane.settle()
    expect(await start({})).toBeNull()
  })

  it("is deleted ninety days after its end, with its accounts", async () => {
    const fleet = await fleetOf(["deaf"], ["obeys"])
    await fleet.upgrade([1, 1])
    await fleet.plane.call(waves.cancel, {})
    await fleet.plane.pass(89 * 24 * 60 * minute)
    await fleet.plane.call(internal.scheduled.retention.sweep, {})
    await fleet.plane.settle()
    expect(fleet.plane.rows("rolloutAccounts")).toHaveLength(2)
    await fleet.plane.pass(2 * 24 * 60 * minute)
    await fleet.plane.call(internal.scheduled.retention.sweep, {})
    await fleet.plane.settle()
    expect([...fleet.plane.rows("rollouts"), ...fleet.plane.rows("rolloutAccounts")]).toEqual([])
  })
})
