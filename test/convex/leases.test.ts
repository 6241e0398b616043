import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { claimRuns } from "../../convex/model/queue/claim.ts"
import { pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  fail,
  finish,
  leaseOf,
  type Leased,
  makeTask,
  only,
  type Plane,
  refusalOf,
  release,
  type Run,
  seededPlane
} from "./controlPlane.ts"
import { footprintOf } from "./footprint.ts"

stopTime()

const leaseMs = 90_000
const other = { runtimeId: "r2", bootId: "c1" }

const bootRow = (plane: Plane) =>
  plane.t.run(async (ctx) => only((await ctx.db.query("boots").collect()).filter((row) => row.runtimeId === "r1")))

const renew = (plane: Plane, runs: ReadonlyArray<Leased>, more: object = {}) =>
  plane.mutate(api.service.notifications.renew, {
    runtimeId: "r1",
    bootId: "b1",
    leaseMs,
    leases: runs.map(leaseOf),
    ...more
  })

/** The engineer's and QA's assignments, leased by the first boot. A second runtime is online. */
const held = async () => {
  const plane = await seededPlane()
  await plane.pulse("r2", "c1")
  await makeTask(plane, [plane.engineer])
  await makeTask(plane, [plane.qa])
  const { runs } = await plane.claim()
  const [engineers, qas] = runs
  if (engineers === undefined || qas === undefined) throw new Error("expected two runs")
  return { plane, engineers, qas }
}

/** A claim of a process that holds these leases and may have missed an answer. */
const recover = (plane: Plane, holds: ReadonlyArray<Leased>, more: object = {}) =>
  plane.claim({ held: holds.map(leaseOf), recoverUnnamed: true, ...more })

const idsOf = (runs: ReadonlyArray<Run>) => runs.map(({ id }) => id)

describe("the number of a claim", () => {
  it("is stored if the claim leased something", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await plane.claim({ number: 7 })
    expect((await bootRow(plane)).lastClaim).toBe(7)
  })

  it.each([6, 7])(
    "makes claim %i lease nothing after claim 7 did, because it arrived late or twice",
    async (number) => {
      const plane = await seededPlane()
      await makeTask(plane, [plane.engineer])
      const run = only((await plane.claim({ number: 7 })).runs)
      await makeTask(plane, [plane.qa])
      expect(await plane.claim({ number })).toMatchObject({ runs: [], spent: [], hasMore: false })
      expect(idsOf((await plane.claim({ number: 8, held: [leaseOf(run)] })).runs)).not.toContain(run.id)
    }
  )

  it("is not stored by an empty claim, which writes nothing", async () => {
    const plane = await seededPlane()
    const request = {
      protocol: 1,
      runtimeId: "r1",
      bootId: "b1",
      limit: 8,
      heartbeatLimit: 8,
      leaseMs,
      maxAttempts: 8,
      maxTurns: 40
    }
    const { writes } = await footprintOf(plane, (ctx, accountId) =>
      claimRuns(ctx, accountId, { ...request, number: 7, held: [], abandoned: [], recoverUnnamed: false })
    )
    expect([...writes]).toEqual([])
    await plane.claim({ number: 7 })
    expect((await bootRow(plane)).lastClaim).toBe(0)
    await makeTask(plane, [plane.engineer])
    expect((await plane.claim({ number: 1 })).runs).toHaveLength(1)
  })

  it("starts again with the next boot", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await plane.claim({ number: 7 })
    await plane.pulse("r1", "b2")
    expect((await plane.claim({ bootId: "b2", number: 1 })).runs).toHaveLength(1)
  })
})

describe("a lease that its process does not name", () => {
  it("is returned under a new epoch and as the same attempt, before other work", async () => {
    const { engineers, plane, qas } = await held()
    await plane.post(await makeTask(plane), "@lead hello")
    const { hasMore, runs } = await recover(plane, [qas], { limit: 1 })
    expect(runs).toMatchObject([{ id: engineers.id, epoch: engineers.epoch + 1, attempt: 1, kind: "notification" }])
    expect(hasMore).toBe(true)
    const { textNumber: _, ...again } = contextOf(only(runs))
    expect(contextOf(engineers)).toMatchObject(again)
    expect(await plane.row(engineers.id)).toMatchObject({ attempts: 1, claims: 1, crashes: 0 })
  })

  it("is returned even after it expired", async () => {
    const { engineers, plane, qas } = await held()
    pass(leaseMs + 1)
    const { runs } = await recover(plane, [qas])
    expect(runs).toMatchObject([{ id: engineers.id, epoch: engineers.epoch + 1, attempt: 1 }])
    expect(only(runs).expiresAt).toBe(Date.now() + leaseMs)
  })

  it("loses its old epoch: every outcome under it is refused", async () => {
    const { engineers, plane, qas } = await held()
    const again = only((await recover(plane, [qas])).runs)
    const ends = [complete(plane, engineers), fail(plane, engineers), release(plane, engineers)]
    for (const end of ends) expect(await codeOf(end)).toBe("lease_lost")
    await complete(plane, again)
    expect((await plane.row(engineers.id)).state).toBe("delivered")
  })

  it("includes one that the process names under another epoch", async () => {
    const { engineers, plane, qas } = await held()
    const again = only((await recover(plane, [qas])).runs)
    const { runs } = await recover(plane, [qas, engineers])
    expect(runs).toMatchObject([{ id: engineers.id, epoch: again.epoch + 1 }])
  })

  it("is returned only if the process asks to recover or holds nothing", async () => {
    const { engineers, plane, qas } = await held()
    expect((await plane.claim({ held: [leaseOf(qas)] })).runs).toEqual([])
    expect(idsOf((await plane.claim({ held: [] })).runs)).toEqual([engineers.id, qas.id])
  })

  it("cannot come from an earlier claim that arrives after a recovery, even if the recovery leased nothing", async () => {
    const plane = await seededPlane()
    await plane.claim({ number: 8, recoverUnnamed: true })
    await makeTask(plane, [plane.engineer])
    expect((await plane.claim({ number: 7 })).runs).toEqual([])
    expect((await plane.claim({ number: 9 })).runs).toHaveLength(1)
  })

  it("is not returned to another boot or runtime", async () => {
    const { plane } = await held()
    expect((await plane.claim(other)).runs).toEqual([])
  })

  it("does not run twice if the process ended it before", async () => {
    const { engineers, plane, qas } = await held()
    await complete(plane, engineers)
    expect((await recover(plane, [qas])).runs).toEqual([])
  })

  it("waits while the account is paused", async () => {
    const { engineers, plane, qas } = await held()
    await plane.asPerson(api.app.runtimes.pause, {})
    expect((await recover(plane, [qas])).runs).toEqual([])
    await plane.asPerson(api.app.runtimes.resume, {})
    expect(idsOf((await recover(plane, [qas])).runs)).toEqual([engineers.id])
  })
})

describe("a lease that its process names", () => {
  it("is never leased again by that process, even if it expired", async () => {
    const { engineers, plane, qas } = await held()
    pass(leaseMs + 1)
    expect((await plane.claim({ held: [engineers, qas].map(leaseOf) })).runs).toEqual([])
    await complete(plane, engineers, { outcome: "replied", reply: "Late, but mine." })
    expect((await plane.row(engineers.id)).state).toBe("delivered")
  })

  it("is rescued by another runtime once it expired, with a crash counted", async () => {
    const { engineers, plane } = await held()
    expect((await plane.claim(other)).runs).toEqual([])
    pass(leaseMs + 1)
    const { runs } = await plane.claim(other)
    expect(runs.find(({ id }) => id === engineers.id)).toMatchObject({ attempt: 2, epoch: engineers.epoch + 1 })
    expect(await plane.row(engineers.id)).toMatchObject({ crashes: 1, attempts: 2 })
    expect(await codeOf(complete(plane, engineers))).toBe("lease_lost")
    expect(await codeOf(release(plane, engineers))).toBe("lease_lost")
  })

  it("stays valid after it expired, until another claim takes it", async () => {
    const { engineers, plane, qas } = await held()
    pass(leaseMs + 1)
    expect(await renew(plane, [engineers, qas])).toMatchObject({ lost: [], hasUnnamed: false })
    expect((await plane.claim(other)).runs).toEqual([])
  })

  it("is rescued by the next boot of its runtime at its first pulse", async () => {
    const { engineers, plane } = await held()
    expect((await plane.pulse("r2", "c2")).releasedLeases).toBe(0)
    expect((await plane.pulse("r1", "b1")).releasedLeases).toBe(0)
    expect((await plane.pulse("r1", "b2")).releasedLeases).toBe(2)
    expect(await plane.row(engineers.id)).toMatchObject({ state: "ready", crashes: 1, attempts: 1 })
    expect((await plane.claim({ bootId: "b2" })).runs).toHaveLength(2)
  })
})

describe("a run that its process abandons", () => {
  it("is rescued with a crash and its attempt counted, and can be claimed in the same call", async () => {
    const { engineers, plane, qas } = await held()
    const { runs } = await plane.claim({ held: [leaseOf(qas)], abandoned: [leaseOf(engineers)] })
    expect(runs).toMatchObject([{ id: engineers.id, attempt: 2, epoch: engineers.epoch + 1 }])
    expect(await plane.row(engineers.id)).toMatchObject({ crashes: 1, attempts: 2, claims: 2 })
  })

  it("is rescued even while the account is paused, and by a late claim", async () => {
    const { engineers, plane, qas } = await held()
    await plane.asPerson(api.app.runtimes.pause, {})
    await plane.claim({ held: [leaseOf(qas)], abandoned: [leaseOf(engineers)] })
    expect(await plane.row(engineers.id)).toMatchObject({ state: "ready", crashes: 1 })
    await plane.asPerson(api.app.runtimes.resume, {})
    await plane.claim({ number: 1, held: [], abandoned: [leaseOf(qas)] })
    expect(await plane.row(qas.id)).toMatchObject({ state: "ready", crashes: 1 })
  })

  it("is ignored under another epoch", async () => {
    const { engineers, plane, qas } = await held()
    const stale = { ...leaseOf(engineers), epoch: engineers.epoch - 1 }
    await plane.claim({ held: [leaseOf(engineers), leaseOf(qas)], abandoned: [stale] })
    expect(await plane.row(engineers.id)).toMatchObject({ state: "claimed", crashes: 0 })
  })
})

describe("the last claim of a process, with limit 0", () => {
  it("releases what the process does not name without counting the attempt, and leases nothing", async () => {
    const { engineers, plane, qas } = await held()
    const { at } = await plane.row(engineers.id)
    expect(await plane.claim({ limit: 0, held: [leaseOf(qas)] })).toMatchObject({ runs: [], spent: [] })
    expect(await plane.row(engineers.id)).toMatchObject({ state: "ready", attempts: 0, crashes: 0, at })
    expect(await plane.row(qas.id)).toMatchObject({ state: "claimed", attempts: 1 })
    expect(idsOf((await plane.claim(other)).runs)).toEqual([engineers.id])
  })

  it("keeps later claims of the boot from leasing anything, and lets the named runs end", async () => {
    const { plane, qas } = await held()
    await plane.claim({ limit: 0, held: [leaseOf(qas)] })
    const refused = await refusalOf(plane.claim())
    expect(refused).toMatchObject({ code: "conflict", reason: "ended" })
    expect(await refusalOf(plane.claim({ limit: 0 }))).toMatchObject({ reason: "ended" })
    await complete(plane, qas)
    expect((await plane.row(qas.id)).state).toBe("delivered")
    await plane.pulse("r1", "b2")
    expect((await plane.claim({ bootId: "b2" })).runs).toHaveLength(1)
  })

  it("still rescues abandoned runs", async () => {
    const { engineers, plane, qas } = await held()
    await plane.claim({ limit: 0, held: [leaseOf(qas)], abandoned: [leaseOf(engineers)] })
    expect(await plane.row(engineers.id)).toMatchObject({ state: "ready", attempts: 1, crashes: 1 })
  })

  it("works while the account is paused", async () => {
    const { engineers, plane } = await held()
    await plane.asPerson(api.app.runtimes.pause, {})
    await plane.claim({ limit: 0 })
    expect(await plane.row(engineers.id)).toMatchObject({ state: "ready", attempts: 0 })
  })

  it("releases a heartbeat too", async () => {
    const plane = await seededPlane()
    pass(120_000)
    const heartbeat = only((await plane.claim({ heartbeatLimit: 1 })).runs)
    expect(heartbeat).toMatchObject({ kind: "heartbeat", attempt: 1 })
    await plane.claim({ limit: 0 })
    await plane.pulse("r1", "b2")
    const again = only((await plane.claim({ bootId: "b2", heartbeatLimit: 1 })).runs)
    expect(again).toMatchObject({ id: heartbeat.id, attempt: 1 })
  })
})

describe("a renewal", () => {
  it("extends each lease that is held and lists each that is lost", async () => {
    const { engineers, plane, qas } = await held()
    const again = only((await recover(plane, [qas])).runs)
    pass(30_000)
    const nonsense = { id: "none", session: "none", epoch: 1 }
    const answer = await renew(plane, [engineers, qas, nonsense])
    expect(answer).toMatchObject({
      news: [],
      lost: [leaseOf(engineers), leaseOf(nonsense)],
      hasUnnamed: true,
      now: Date.now()
    })
    pass(leaseMs - 30_000 + 1)
    const { runs } = await plane.claim(other)
    expect(idsOf(runs)).toEqual([again.id])
  })

  it("reports a lease of the boot that it does not name", async () => {
    const { engineers, plane, qas } = await held()
    expect((await renew(plane, [engineers, qas])).hasUnnamed).toBe(false)
    expect((await renew(plane, [engineers])).hasUnnamed).toBe(true)
    await complete(plane, qas)
    expect((await renew(plane, [engineers])).hasUnnamed).toBe(false)
  })

  it("reports the lease of a run that has ended as lost", async () => {
    const { engineers, plane, qas } = await held()
    await complete(plane, qas)
    expect((await renew(plane, [engineers, qas])).lost).toEqual([leaseOf(qas)])
  })

  it("is refused for an earlier boot, and extends no lease of another runtime", async () => {
    const { engineers, plane, qas } = await held()
    expect((await renew(plane, [engineers], other)).lost).toEqual([leaseOf(engineers)])
    await plane.pulse("r1", "b2")
    expect(await refusalOf(renew(plane, [engineers, qas]))).toMatchObject({ code: "conflict", reason: "superseded" })
  })

  it.each([2_999, 600_001, Number.NaN])("refuses a lease of %d ms", async (ms) => {
    const { engineers, plane } = await held()
    expect(await codeOf(renew(plane, [engineers], { leaseMs: ms }))).toBe("invalid")
  })
})

describe("a repeated outcome", () => {
  const nextAttemptAt = Date.UTC(2026, 0, 6)

  it.each<readonly [string, (plane: Plane, run: Leased) => Promise<unknown>]>([
    ["complete", (plane, run) => complete(plane, run, { outcome: "replied", reply: "Once." })],
    ["fail", (plane, run) => fail(plane, run, { nextAttemptAt })],
    ["fail for good", (plane, run) => fail(plane, run)],
    ["release", (plane, run) => release(plane, run)],
    ["release with a delay", (plane, run) => release(plane, run, { nextAttemptAt, class: "ProviderFailed" })]
  ])("is answered as the first time: %s", async (_, end) => {
    const { engineers, plane } = await held()
    const answer = await end(plane, engineers)
    const row = await plane.row(engineers.id)
    const messages = await plane.thread(row.taskId)
    expect(await end(plane, engineers)).toEqual(answer)
    expect(await plane.row(engineers.id)).toEqual(row)
    expect(await plane.thread(row.taskId)).toEqual(messages)
  })

  it.each<readonly [string, (plane: Plane, run: Leased) => Promise<unknown>]>([
    ["updateAgentHeartbeat", (plane, run) => finish(plane, run)],
    ["fail", (plane, run) => fail(plane, run, { nextAttemptAt })],
    ["release", (plane, run) => release(plane, run, { nextAttemptAt })]
  ])("of a heartbeat is answered as the first time: %s", async (_, end) => {
    const plane = await seededPlane()
    pass(120_000)
    const run = await plane.takeOne({ heartbeatLimit: 1 })
    const answer = await end(plane, run)
    expect(await end(plane, run)).toEqual(answer)
  })

  it("of another kind is refused, and so is one of an attempt that was followed by another", async () => {
    const { engineers, plane, qas } = await held()
    await release(plane, engineers)
    expect(await codeOf(complete(plane, engineers))).toBe("lease_lost")
    const again = only((await plane.claim({ held: [leaseOf(qas)] })).runs)
    expect(await release(plane, engineers)).toMatchObject({ state: "ready" })
    await release(plane, again)
    expect(await codeOf(release(plane, engineers))).toBe("lease_lost")
  })
})
