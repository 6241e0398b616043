import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { claimRuns } from "../../convex/model/queue/claim.ts"
import { renew } from "../../convex/model/queue/leases.ts"
import { recalledLeases } from "../../convex/model/queue/leases.ts"
import { wakeCount } from "../../convex/model/queue/wakes.ts"
import { completeRun } from "../../convex/model/runs/completion.ts"
import { recordProgress, watch } from "../../convex/model/runs/progress.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { hour, pass, stopTime } from "./clock.ts"
import {
  complete,
  fenceOf,
  leaseOf,
  makeTask,
  only,
  type Plane,
  release,
  type Run,
  seededPlane,
  settings,
  withoutHeartbeats
} from "./controlPlane.ts"
import { conflictsOf, footprintOf } from "./footprint.ts"

stopTime()

const watchNow = (plane: Plane) => plane.asPerson(api.app.agents.watch, {})
const watchedBy = async (plane: Plane) =>
  (await plane.query(api.service.runtimes.commands, { runtimeId: "r1" })).watched
const running = (plane: Plane) => plane.seen(api.app.runs.running, {})

const turnOf = (run: Pick<Run, "session" | "epoch">) => ({
  ...leaseOf(run),
  tool: "exec",
  stepMs: 5_000,
  quietMs: 2_000,
  isStuck: false
})
const report = (plane: Plane, runs: ReadonlyArray<Pick<Run, "session" | "epoch">>, more: object = {}) =>
  plane.mutate(api.service.runs.progress, { runtimeId: "r1", turns: runs.map((run) => ({ ...turnOf(run), ...more })) })

/** A plane whose engineer works on a task. */
const working = async () => {
  const plane = await withoutHeartbeats(await seededPlane())
  const taskId = await makeTask(plane, [plane.engineer])
  return { plane, taskId, run: await plane.takeOne() }
}

/** What a call reads and writes. */
const cost = async (plane: Plane, call: Promise<unknown>) => {
  await call
  const { documentsRead, documentsWritten } = plane.usage()
  return { read: documentsRead, written: documentsWritten }
}

describe("a watch", () => {
  it("is pushed to the runtimes with the commands, for 60 s from the last call", async () => {
    const plane = await seededPlane()
    expect(await watchedBy(plane)).toBeNull()
    const since = Date.now()
    await watchNow(plane)
    expect(await watchedBy(plane)).toEqual({ since, until: since + 60_000 })
    pass(30_000)
    await watchNow(plane)
    expect(await watchedBy(plane)).toEqual({ since, until: since + 90_000 })
    expect((await plane.pulse()).commands.watched).toEqual({ since, until: since + 90_000 })
  })

  it("begins again after it has ended", async () => {
    const plane = await seededPlane()
    await watchNow(plane)
    pass(60_000)
    await watchNow(plane)
    expect(await watchedBy(plane)).toEqual({ since: Date.now(), until: Date.now() + 60_000 })
  })

  it("reads two documents, and writes one row of the account at most every 20 s", async () => {
    const plane = await seededPlane()
    expect(await cost(plane, watchNow(plane))).toEqual({ read: 1, written: 1 })
    pass(19_999)
    expect(await cost(plane, watchNow(plane))).toEqual({ read: 2, written: 0 })
    pass(1)
    expect((await cost(plane, watchNow(plane))).written).toBe(1)
    expect(await plane.t.run((ctx) => ctx.db.query("watches").collect())).toHaveLength(1)
  })

  it("is only for members", async () => {
    const plane = await seededPlane()
    const stranger = plane.t.withIdentity({ subject: "mallory" })
    await expect(stranger.mutation(api.app.agents.watch, { accountId: plane.accountId })).rejects.toThrow("forbidden")
    await expect(stranger.query(api.app.runs.running, { accountId: plane.accountId })).rejects.toThrow("forbidden")
    expect(await watchedBy(plane)).toBeNull()
  })
})

describe("the list of running runs", () => {
  it("shows since when and in which attempt an agent works on what, and its reported progress", async () => {
    const { plane, run, taskId } = await working()
    const claimedAt = Date.now()
    const listed = { id: run.id, agentSlug: "engineer", taskId, state: "running", attempts: 1, at: claimedAt }
    expect(only(await running(plane))).toMatchObject({ ...listed, progress: null })
    await watchNow(plane)
    pass(10_000)
    await report(plane, [run])
    const progress = { tool: "exec", stepSince: Date.now() - 5_000, lastActivityAt: Date.now() - 2_000, isStuck: false }
    expect(only(await running(plane))).toMatchObject({ ...listed, progress })
    await report(plane, [run], { tool: null, isStuck: true })
    expect(only(await running(plane)).progress).toEqual({ ...progress, tool: null, isStuck: true })
  })

  it("shows no progress that was reported before the present watch", async () => {
    const { plane, run } = await working()
    await report(plane, [run])
    expect(only(await running(plane)).progress).toBeNull()
    await watchNow(plane)
    pass(60_000)
    await watchNow(plane)
    expect(only(await running(plane)).progress).toBeNull()
    await report(plane, [run])
    expect(only(await running(plane)).progress).not.toBeNull()
  })

  it("ignores a report that arrives after the run has ended, and one of an earlier attempt", async () => {
    const { plane, run } = await working()
    await watchNow(plane)
    await release(plane, run)
    await report(plane, [run])
    expect(await running(plane)).toEqual([])
    const again = await plane.takeOne()
    expect(again.id).toBe(run.id)
    await report(plane, [run])
    expect(only(await running(plane)).progress).toBeNull()
    await report(plane, [again])
    expect(only(await running(plane)).progress).not.toBeNull()
    await complete(plane, again)
    await report(plane, [again])
    expect(await running(plane)).toEqual([])
  })

  it("ignores reports of another runtime and of another account", async () => {
    const { plane, run } = await working()
    await watchNow(plane)
    await plane.mutate(api.service.runs.progress, { runtimeId: "r2", turns: [turnOf(run)] })
    const other = await plane.secondAccount()
    await plane.t.mutation(api.service.runs.progress, { ...other, runtimeId: "r1", turns: [turnOf(run)] })
    expect(only(await running(plane)).progress).toBeNull()
  })
})

describe("a report of progress", () => {
  it("reads and writes one row for all turns of its runtime", async () => {
    const { plane, run } = await working()
    const turns = Array.from({ length: 200 }, (_, index) => ({ ...run, epoch: index }))
    expect(await cost(plane, report(plane, turns))).toEqual({ read: 1, written: 1 })
    expect(await cost(plane, report(plane, turns))).toEqual({ read: 3, written: 1 })
    const rows = await plane.t.run((ctx) => ctx.db.query("progress").collect())
    expect(only(rows).turns).toHaveLength(200)
    await expect(report(plane, [...turns, run])).rejects.toThrow("limit")
  })

  it("conflicts with no claim, renewal, outcome or push, and neither does a watch", async () => {
    const { plane, run } = await working()
    await watchNow(plane)
    await report(plane, [run])
    pass(30_000)
    const writers = {
      report: await footprintOf(plane, (ctx, accountId) =>
        recordProgress(ctx, accountId, { runtimeId: "r1", turns: [turnOf(run)] })
      ),
      watch: await footprintOf(plane, (ctx, accountId) => watch(ctx, accountId))
    }
    const self = { runtimeId: "r1", bootId: "b1" }
    const claim = {
      ...self,
      protocol: PROTOCOL,
      number: 99,
      limit: 8,
      heartbeatLimit: 2,
      leaseMs: 90_000,
      maxAttempts: 8,
      maxTurns: 40,
      held: [leaseOf(run)],
      abandoned: [],
      recoverUnnamed: false
    }
    const others = {
      claim: await footprintOf(plane, (ctx, accountId) => claimRuns(ctx, accountId, claim)),
      renewal: await footprintOf(plane, (ctx, accountId) =>
        renew(ctx, accountId, { ...self, leaseMs: 90_000, leases: [leaseOf(run)] })
      ),
      outcome: await footprintOf(plane, (ctx, accountId) =>
        completeRun(ctx, accountId, { ...fenceOf(run), outcome: "replied", reply: "Done.", turn: "answered", settings })
      ),
      push: await footprintOf(plane, async (ctx, accountId) => {
        await wakeCount(ctx, accountId)
        await recalledLeases(ctx, accountId)
      })
    }
    for (const [writing, writer] of Object.entries(writers)) {
      for (const [name, other] of Object.entries(others)) {
        expect([writing, name, conflictsOf(writer, other), conflictsOf(other, writer)]).toEqual([writing, name, [], []])
      }
    }
    expect(conflictsOf(writers.watch, writers.report)).toEqual([])
    // A check of the check: the outcome reruns a renewal.
    expect(conflictsOf(others.outcome, others.renewal)).toEqual(["sessions"])
  })

  it("is deleted with its runtime", async () => {
    const { plane, run } = await working()
    await report(plane, [run])
    await complete(plane, run)
    await plane.pulse("r1", "b1", { status: "offline" })
    pass(8 * 24 * hour)
    await plane.t.mutation(internal.scheduled.retention.sweep, {})
    expect(await plane.t.run((ctx) => ctx.db.query("progress").collect())).toEqual([])
  })
})
