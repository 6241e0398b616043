import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { mustBeCurrentBoot } from "../../convex/model/runtimes/boots.ts"
import { recordPulse } from "../../convex/model/runtimes/presence.ts"
import { servedProtocols } from "../../src/domain/shared/Protocol.ts"
import { codeOf, complete, contextOf, first, type Plane, seededPlane, silence } from "./controlPlane.ts"
import { conflictsOf, footprintOf } from "./footprint.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const later = async (plane: Plane, ms: number) => {
  vi.advanceTimersByTime(ms)
  await plane.t.finishInProgressScheduledFunctions()
}
const statusOf = async (plane: Plane, runtimeId = "r1") =>
  (await plane.seen(api.app.runtimes.list, {})).find((each) => each.runtimeId === runtimeId)?.status
const commands = (plane: Plane) => plane.query(api.service.runtimes.commands, { runtimeId: "r1" })
const acknowledge = (
  plane: Plane,
  command: string,
  result: "taken" | "progress" | "success" | "failed" | "rolled_back",
  bootId = "b1",
  message?: string
) =>
  plane.mutate(api.service.runtimes.acknowledge, {
    runtimeId: "r1",
    bootId,
    command,
    result,
    ...(message === undefined ? {} : { message })
  })
const lastOf = async (plane: Plane) => (await plane.seen(api.app.runtimes.list, {}))[0]?.lastCommand

describe("a pulse", () => {
  it("of the same boot does not write what claims and renewals read", async () => {
    const plane = await seededPlane()
    const presence = {
      runtimeId: "r1",
      status: "online" as const,
      reasons: [],
      versions: { runtime: "1.0.0", openclaw: null },
      infrastructure: { dropletId: null, ipAddress: null, region: null },
      intervalMs: 60_000
    }
    const pulseOf = (bootId: string) =>
      footprintOf(plane, (ctx, accountId) => recordPulse(ctx, accountId, { ...presence, bootId }))
    const fence = await footprintOf(plane, (ctx, accountId) => mustBeCurrentBoot(ctx, accountId, "r1", "b1"))
    expect(conflictsOf(await pulseOf("b1"), fence)).toEqual([])
    expect(conflictsOf(await pulseOf("b2"), fence)).toEqual(["boots"])
  })

  it("shows the runtime with its versions, and returns everything that is also pushed", async () => {
    const plane = await seededPlane()
    const now = Date.now()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const answer = await plane.pulse("r1", "b1", {
      status: "degraded",
      reasons: ["gateway away"],
      health: { inFlight: 0 },
      infrastructure: { dropletId: "d1", ipAddress: "192.0.2.1", region: "fra1" }
    })
    const roster = await plane.query(api.service.agents.list, {})
    expect(answer).toEqual({
      commands: { paused: false, restart: null, upgrade: null, underway: null, watched: null },
      oldest: now,
      nextDueAt: now,
      rosterRevision: roster.revision,
      now,
      releasedLeases: 0,
      protocol: servedProtocols
    })
    expect(await plane.seen(api.app.runtimes.list, {})).toMatchObject([
      { status: "degraded", reasons: ["gateway away"], health: '{"inFlight":0}', infrastructure: { region: "fra1" } }
    ])
  })

  it("that stops marks the runtime as offline, with its agents and their typing", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    await plane.take()
    const typing = async () => (await plane.seen(api.app.tasks.get, { taskId })).typing.map((agent) => agent.slug)
    const agents = async () => new Set((await plane.seen(api.app.agents.list, {})).map((agent) => agent.status))
    await later(plane, 140_000)
    expect([await statusOf(plane), await typing(), await agents()]).toEqual([
      "online",
      ["engineer"],
      new Set(["online"])
    ])
    await plane.pulse()
    await later(plane, 149_000)
    expect(await statusOf(plane)).toBe("online")
    await later(plane, 1_000)
    expect([await statusOf(plane), await typing(), await agents()]).toEqual(["offline", [], new Set(["offline"])])
    await plane.pulse()
    expect(await statusOf(plane)).toBe("online")
  })

  it("marks it no sooner than 90 seconds, however short its interval, and not after a shutdown", async () => {
    const plane = await seededPlane()
    await plane.pulse("r1", "b1", { intervalMs: 5_000 })
    await later(plane, 89_000)
    expect(await statusOf(plane)).toBe("online")
    await later(plane, 1_000)
    expect(await statusOf(plane)).toBe("offline")
    await plane.pulse()
    await plane.pulse("r1", "b1", { status: "offline" })
    expect(await statusOf(plane)).toBe("offline")
    const before = (await plane.seen(api.app.activities.list, {})).length
    await later(plane, 600_000)
    expect((await plane.seen(api.app.activities.list, {})).length).toBe(before)
  })

  it("leaves the account online while another runtime is", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    await plane.pulse("r1", "b1", { status: "offline" })
    expect((await plane.seen(api.app.accounts.get, {})).isOnline).toBe(true)
    await plane.pulse("r2", "c1", { status: "draining" })
    expect((await plane.seen(api.app.accounts.get, {})).isOnline).toBe(false)
  })

  it.each([{ intervalMs: 999 }, { intervalMs: Number.NaN }])("refuses %j", async (more) => {
    const plane = await seededPlane()
    expect(await codeOf(plane.pulse("r1", "b1", more))).toBe("invalid")
    expect(await codeOf(plane.pulse("", "b1"))).toBe("invalid")
  })

  it("refuses each of the last twenty boots", async () => {
    const plane = await seededPlane()
    for (let boot = 2; boot <= 22; boot += 1) await plane.pulse("r1", `b${boot}`)
    expect(await codeOf(plane.pulse("r1", "b2"))).toBe("conflict")
    expect(await codeOf(plane.pulse("r1", "b22"))).toBeNull()
  })
})

describe("commands", () => {
  it("reach the runtime until it takes the restart, which only one boot can", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    const { commandIds } = await plane.asPerson(api.app.runtimes.restart, { runtimeId: "r1" })
    const id = first(commandIds)
    expect((await commands(plane)).restart?.id).toBe(id)
    expect((await plane.query(api.service.runtimes.commands, { runtimeId: "r2" })).restart).toBeNull()
    await acknowledge(plane, id, "taken")
    await acknowledge(plane, id, "taken")
    expect((await commands(plane)).restart).toBeNull()
    await plane.pulse("r1", "b2")
    expect(await codeOf(acknowledge(plane, id, "taken", "b2"))).toBe("conflict")
    expect(await codeOf(acknowledge(plane, id, "success", "b1"))).toBe("conflict")
  })

  it("request an upgrade once: a taken one is in progress until the runtime's next start reports", async () => {
    const plane = await seededPlane()
    const { commandIds } = await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
    const id = first(commandIds)
    expect((await commands(plane)).upgrade).toMatchObject({ id, kind: "upgrade", runtimeVersion: "1.1.0" })
    await acknowledge(plane, id, "taken")
    expect(await commands(plane)).toMatchObject({ upgrade: null, underway: { id, takenBy: "b1" } })
    const again = plane.asPerson(api.app.runtimes.rollback, { runtimeVersion: "1.0.0" })
    expect(await codeOf(again)).toBe("conflict")
    await plane.pulse("r1", "b2")
    await acknowledge(plane, id, "success", "b2")
    expect(await commands(plane)).toMatchObject({ upgrade: null, underway: null })
    await later(plane, 600_000)
    const lines = (await plane.seen(api.app.activities.list, {})).map((each) => each.summary)
    expect(lines).toContain("upgrade of r1: success")
    expect(lines.filter((line) => line.includes("no report"))).toEqual([])
  })

  it("fail an upgrade without a report for ten minutes", async () => {
    const plane = await seededPlane()
    const { commandIds } = await plane.asPerson(api.app.runtimes.upgrade, { openclawVersion: "2026.9.1" })
    await acknowledge(plane, first(commandIds), "taken")
    await later(plane, 600_000)
    expect((await commands(plane)).underway).toBeNull()
    const lines = (await plane.seen(api.app.activities.list, {})).map((each) => each.summary)
    expect(lines).toContain("upgrade of r1: failed, no report for ten minutes")
  })

  it("show people how far an upgrade is, and why it failed", async () => {
    const plane = await seededPlane()
    const { commandIds } = await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
    const id = first(commandIds)
    await acknowledge(plane, id, "taken", "b1", "running UPGRADE_COMMAND")
    expect((await commands(plane)).underway?.message).toBe("running UPGRADE_COMMAND")
    await acknowledge(plane, id, "progress", "b1", "two turns run")
    expect((await commands(plane)).underway?.message).toBe("two turns run")
    expect(await lastOf(plane)).toBeNull()
    await acknowledge(plane, id, "failed", "b1", "exit code 3: no space left")
    await acknowledge(plane, id, "progress", "b1", "too late")
    expect(await lastOf(plane)).toMatchObject({
      kind: "upgrade",
      state: "failed",
      runtimeVersion: "1.1.0",
      message: "exit code 3: no space left"
    })
    const lines = (await plane.seen(api.app.activities.list, {})).map((each) => each.summary)
    expect(lines).toContain("upgrade of r1: failed, exit code 3: no space left")
    // Another request is another attempt.
    await plane.asPerson(api.app.runtimes.rollback, { runtimeVersion: "1.0.0" })
    expect((await commands(plane)).upgrade?.kind).toBe("rollback")
  })

  it("accept a rollback that the next start reports, and no progress from another boot", async () => {
    const plane = await seededPlane()
    const { commandIds } = await plane.asPerson(api.app.runtimes.rollback, { runtimeVersion: "1.0.0" })
    const id = first(commandIds)
    await acknowledge(plane, id, "taken", "b1", "leaving a file")
    await plane.pulse("r1", "b2")
    await acknowledge(plane, id, "progress", "b2", "not mine")
    expect((await commands(plane)).underway).toMatchObject({ takenBy: "b1", message: "leaving a file" })
    await acknowledge(plane, id, "rolled_back", "b2")
    expect(await lastOf(plane)).toMatchObject({ kind: "rollback", state: "rolled_back" })
  })

  it("count the ten minutes from the last report of the boot that took an upgrade, however long its turns took", async () => {
    const plane = await seededPlane()
    const { commandIds } = await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
    const id = first(commandIds)
    await acknowledge(plane, id, "taken")
    for (let minute = 1; minute <= 14; minute++) {
      await later(plane, 60_000)
      await plane.pulse("r1", "b1", { status: "draining" })
    }
    expect((await commands(plane)).underway?.id).toBe(id)
    await acknowledge(plane, id, "progress", "b1", "the process ends")
    await plane.pulse("r1", "b1", { status: "offline" })
    // The host starts the old version repeatedly. None of these starts takes the upgrade again.
    for (let minute = 1; minute <= 9; minute++) {
      await later(plane, 60_000)
      const { commands: seen } = await plane.pulse("r1", `old${minute}`, { status: "booting" })
      expect(seen).toMatchObject({ upgrade: null, underway: { id, takenBy: "b1" } })
    }
    await later(plane, 61_000)
    expect(await commands(plane)).toMatchObject({ upgrade: null, underway: null })
    const last = await lastOf(plane)
    expect(last?.state).toBe("failed")
    expect(last?.message).toMatch(/within ten minutes\. The runtime last reported \S+/)
    await later(plane, 3_600_000)
    expect(await lastOf(plane)).toEqual(last)
  })

  it("replace an open command of their kind, and need a target and a runtime", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
    await plane.asPerson(api.app.runtimes.rollback, { runtimeVersion: "1.0.0" })
    expect((await commands(plane)).upgrade).toMatchObject({ kind: "rollback", runtimeVersion: "1.0.0" })
    expect(await codeOf(plane.asPerson(api.app.runtimes.upgrade, {}))).toBe("invalid")
    expect(await codeOf(plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1; rm -rf" }))).toBe("invalid")
    expect(await codeOf(plane.asPerson(api.app.runtimes.restart, { runtimeId: "nobody" }))).toBe("not_found")
  })

  it("expire a day after the request, and add an activity", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
    await plane.asPerson(api.app.runtimes.restart, {})
    await later(plane, 86_399_000)
    expect(await commands(plane)).toMatchObject({ restart: {}, upgrade: {} })
    await later(plane, 1_000)
    expect(await commands(plane)).toMatchObject({ restart: null, upgrade: null })
    const lines = (await plane.seen(api.app.activities.list, {})).map((each) => each.summary)
    expect(lines).toContain("restart of r1: failed, not taken within a day")
    expect(lines).toContain("upgrade of r1: failed, not taken within a day")
  })

  it("do not restart a runtime that has started since the request", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.runtimes.restart, {})
    await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
    expect((await plane.pulse("r1", "b1")).commands).toMatchObject({ restart: {}, upgrade: {} })
    const { commands: open } = await plane.pulse("r1", "b2")
    expect(open).toMatchObject({ restart: null, upgrade: { runtimeVersion: "1.1.0" } })
    expect(await lastOf(plane)).toMatchObject({ kind: "restart", state: "success" })
  })

  it("pause and resume the account", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.runtimes.pause, {})
    expect((await commands(plane)).paused).toBe(true)
    expect((await plane.pulse()).commands.paused).toBe(true)
    await plane.asPerson(api.app.runtimes.resume, {})
    expect((await commands(plane)).paused).toBe(false)
  })
})

describe("the roster", () => {
  it("raises its revision with agents, skills and flags, but not with presence", async () => {
    const plane = await seededPlane()
    const revision = async () => (await plane.query(api.service.agents.list, {})).revision
    const before = await revision()
    await plane.pulse("r1", "b1", { status: "degraded" })
    expect(await revision()).toBe(before)
    await plane.asPerson(api.app.agents.update, { agentId: plane.qa, model: "m" })
    expect(await revision()).toBe(before + 1)
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canMarkDone: true } })
    const roster = await plane.query(api.service.agents.list, {})
    expect(roster.revision).toBe(before + 2)
    expect(roster.agents.every((agent) => agent.flags.canMarkDone)).toBe(true)
  })

  it("has the account's name, and a new revision when the account is renamed", async () => {
    const plane = await seededPlane()
    const before = await plane.query(api.service.agents.list, {})
    await plane.asPerson(api.app.accounts.configure, { name: "Acme East" })
    const after = await plane.query(api.service.agents.list, {})
    expect(before.accountName).not.toBe("Acme East")
    expect(after).toMatchObject({ accountName: "Acme East", revision: before.revision + 1 })
  })

  it("loses an agent: its runs are stopped and its work in progress is blocked", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const run = await plane.takeOne()
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect((await plane.query(api.service.agents.list, {})).agents.map((agent) => agent.slug)).toEqual(["lead", "qa"])
    const { task } = await plane.query(api.service.tasks.get, { taskId })
    expect(task).toMatchObject({ status: "blocked", assignees: [] })
    expect(await codeOf(complete(plane, run, { outcome: "replied", reply: "My last words." }))).toBe("lease_lost")
    expect((await plane.thread(taskId)).map((message) => message.content)).toEqual([
      "Ana stopped the turn of Engineer: the agent was removed\nIt had changed nothing here."
    ])
    expect((await plane.take()).runs.length).toBeLessThanOrEqual(1)
    const rows = (await plane.notifications(taskId)).filter((row) => row.recipientName === "Engineer")
    expect(rows.every((row) => row.state === "delivered")).toBe(true)
    await plane.asPerson(api.app.agents.create, { slug: "engineer", name: "Engineer II" })
  })

  it.each(["agent", "task"] as const)(
    "gives an agent that reuses a removed one's slug new sessions (scope %s)",
    async (sessionScope) => {
      const plane = await seededPlane({ sessionScope })
      const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
      const used: Array<string> = []
      const work = async () => {
        const run = await plane.takeOne()
        used.push(contextOf(run).sessionKey)
        return run
      }
      await complete(plane, await work())
      await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
      // The attempt after this silence runs in a generation that the session does not have yet.
      await plane.post(taskId, "@engineer?")
      await silence(plane, await work(), { rotate: true })
      const live = await work()
      await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
      for (const name of ["Engineer II", "Engineer III"]) {
        const { agentId } = await plane.asPerson(api.app.agents.create, { slug: "engineer", name })
        await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [agentId] })
        await complete(plane, await work())
        if (name === "Engineer II") {
          expect(await codeOf(complete(plane, live))).toBe("lease_lost")
          await plane.asPerson(api.app.agents.remove, { agentId })
        }
      }
      expect(used).toHaveLength(5)
      expect(new Set(used).size).toBe(5)
    }
  )
})

describe("an account with hundreds of offline runtimes", () => {
  const crowded = async () => {
    const plane = await seededPlane()
    await plane.t.run(async (ctx) => {
      const row = await ctx.db.query("runtimes").first()
      if (row === null) throw new Error("expected a runtime")
      const { _id, _creationTime, ...rest } = row
      for (let count = 0; count < 220; count += 1) {
        const runtimeId = `a-container-${count}`
        const lastPulseAt = rest.lastPulseAt - 1_000 * (1 + count)
        await ctx.db.insert("runtimes", { ...rest, runtimeId, status: "offline", lastPulseAt })
      }
    })
    return plane
  }

  it("is online while one runtime serves it, which the list shows first", async () => {
    const plane = await crowded()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    await plane.take()
    expect((await plane.seen(api.app.accounts.get, {})).isOnline).toBe(true)
    expect((await plane.seen(api.app.agents.list, {})).every(({ status }) => status === "online")).toBe(true)
    expect((await plane.seen(api.app.tasks.get, { taskId })).typing).toMatchObject([{ slug: "engineer" }])
    expect((await plane.seen(api.app.runtimes.list, {}))[0]?.runtimeId).toBe("r1")
  })

  it("lists all of them in pages, each once", async () => {
    const plane = await crowded()
    const seen: Array<string> = []
    let before: number | undefined
    for (;;) {
      const page = await plane.seen(api.app.runtimes.list, { limit: 100, ...(before === undefined ? {} : { before }) })
      if (page.length === 0) break
      seen.push(...page.map(({ runtimeId }) => runtimeId))
      before = page.at(-1)?.lastPulseAt
    }
    expect(seen.slice(0, 2)).toEqual(["r1", "a-container-0"])
    expect([seen.length, new Set(seen).size]).toEqual([221, 221])
  })

  it("asks only the running one to restart, unless an offline one is named", async () => {
    const plane = await crowded()
    expect((await plane.asPerson(api.app.runtimes.restart, {})).commandIds).toHaveLength(1)
    expect((await commands(plane)).restart).not.toBeNull()
    const named = { runtimeId: "a-container-219", runtimeVersion: "1.1.0" }
    expect((await plane.asPerson(api.app.runtimes.upgrade, named)).commandIds).toHaveLength(1)
    await plane.pulse("r1", "b1", { status: "offline" })
    expect(await codeOf(plane.asPerson(api.app.runtimes.restart, {}))).toBe("not_found")
  })
})
