import { describe, expect, it } from "vitest"
import { nextStep } from "../../../src/domain/controlPlane/CommandStep.ts"
import type { RunningVersions } from "../../../src/domain/controlPlane/CommandStep.ts"
import type { RuntimeCommands, VersionChange } from "../../../src/domain/controlPlane/RuntimeCommands.ts"
import { describeVersions } from "../../../src/domain/shared/Versions.ts"

const running: RunningVersions = { bootId: "b2", runtime: "1.0.0", openclaw: "2026.9.1" }
const change = (more: Partial<VersionChange> = {}): VersionChange => ({
  id: "c1",
  kind: "upgrade",
  runtimeVersion: "1.1.0",
  openclawVersion: null,
  requestedAt: 0,
  ...more
})
const commands = (more: Partial<RuntimeCommands> = {}): RuntimeCommands => ({
  paused: false,
  restart: null,
  upgrade: null,
  underway: null,
  ...more
})
const stepOf = (more: Partial<RuntimeCommands>, of: RunningVersions = running) => nextStep(commands(more), of)._tag
const taken = (more: Partial<VersionChange> = {}, takenBy = "b1") => ({ ...change(more), takenBy })

describe("the next step", () => {
  it("is Nothing without a request, paused or not", () => {
    expect(stepOf({})).toBe("Nothing")
    expect(stepOf({ paused: true })).toBe("Nothing")
  })

  it("is the requested restart", () => {
    expect(nextStep(commands({ restart: { id: "r1", requestedAt: 0 } }), running)).toEqual({
      _tag: "Restart",
      id: "r1"
    })
  })

  it("is the change before the restart, which it includes", () => {
    expect(stepOf({ restart: { id: "r1", requestedAt: 0 }, upgrade: change() })).toBe("ChangeVersion")
  })

  it.each([
    { runtimeVersion: "1.0.0" },
    { runtimeVersion: "v1.0.0" },
    { runtimeVersion: null, openclawVersion: "2026.9.1" },
    { runtimeVersion: "1.0.0", openclawVersion: "2026.9.1" }
  ])("does nothing for versions that run already: %j", (more) => {
    expect(stepOf({ upgrade: change(more) })).toBe("AlreadyThere")
  })

  it.each([
    { runtimeVersion: "1.0.0", openclawVersion: "2026.9.6" },
    { runtimeVersion: "1.0.1", openclawVersion: "2026.9.1" },
    { runtimeVersion: "10.0" }
  ])("changes versions of which one is another: %j", (more) => {
    expect(stepOf({ upgrade: change(more) })).toBe("ChangeVersion")
    expect(stepOf({ upgrade: change({ ...more, kind: "rollback" }) })).toBe("ChangeVersion")
  })

  it.each([
    { runtimeVersion: null },
    { runtimeVersion: "" },
    { runtimeVersion: "1.1.0; reboot" },
    { runtimeVersion: "$(reboot)" },
    { runtimeVersion: "1.1.0\nX=1" },
    { runtimeVersion: "-rf" },
    { runtimeVersion: "1.1.0", openclawVersion: "a b" },
    { runtimeVersion: "1".repeat(65) }
  ])("refuses a target that is no version: %j", (more) => {
    expect(stepOf({ upgrade: change(more) })).toBe("Refuse")
  })
})

describe("a change that was taken", () => {
  it("is complete when a later boot runs its versions", () => {
    expect(stepOf({ underway: taken() }, { ...running, runtime: "1.1.0" })).toBe("Arrived")
    expect(stepOf({ underway: taken({ kind: "rollback" }) }, { ...running, runtime: "1.1.0" })).toBe("Arrived")
  })

  it("is not started again, however often the old version starts", () => {
    for (const bootId of ["b2", "b3", "b4"])
      expect(stepOf({ underway: taken() }, { ...running, bootId })).toBe("Nothing")
  })

  it("is not complete while the gateway's version is unknown or different", () => {
    const underway = taken({ openclawVersion: "2026.9.6" })
    const now = { ...running, runtime: "1.1.0" }
    expect(stepOf({ underway }, { ...now, openclaw: null })).toBe("Nothing")
    expect(stepOf({ underway }, now)).toBe("Nothing")
    expect(stepOf({ underway }, { ...now, openclaw: "2026.9.6" })).toBe("Arrived")
  })

  it("is left to the boot that took it", () => {
    expect(stepOf({ underway: taken({ runtimeVersion: "1.0.0" }, "b2") })).toBe("Nothing")
  })

  it("keeps a later one waiting but no restart", () => {
    expect(stepOf({ underway: taken(), upgrade: change({ id: "c2" }) })).toBe("Nothing")
    expect(stepOf({ underway: taken(), restart: { id: "r1", requestedAt: 0 } })).toBe("Restart")
  })
})

it("a target in words names what changes", () => {
  expect(describeVersions(change())).toBe("runtime 1.1.0")
  expect(describeVersions(change({ openclawVersion: "2026.9.6" }))).toBe("runtime 1.1.0, OpenClaw 2026.9.6")
})
