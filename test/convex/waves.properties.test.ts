import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { RolloutAccountState } from "../../convex/tables/rollouts.ts"
import { Dice } from "../simulation/dice.ts"
import { type FleetInWaves, fleetOf, minute, openCommands, target, versionsOf, waves } from "./fleetInWaves.ts"
import { ownerOf } from "./fleetPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

describe("200 accounts with 200 runtimes", () => {
  /** 1, 5 %, 25 % and the rest. */
  const sizes = [1, 10, 50, 139]
  /** An account in the third wave. */
  const lost = 30

  const twoHundred = (fateOfLost: "vanishes" | "obeys") =>
    fleetOf(...Array.from({ length: 200 }, (_, index) => [index === lost ? fateOfLost : "obeys"] as const))

  const countsOf = async ({ show }: FleetInWaves) => {
    const { waves } = await show()
    return waves.map(({ counts }) => Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)))
  }

  /** More attempts of every account of the first three waves than the gate reads, with as many steps as are stored. */
  const addAttempts = async ({ ids, plane }: FleetInWaves) => {
    const [accountId = ""] = ids
    const slug = `agent-${Date.now()}`
    const agent = { accountId, slug, name: slug, role: "Engineer" }
    const { agentId } = await plane.call(api.app.agents.create, agent, { identity: ownerOf("A0") })
    const step = { kind: "tool", tool: "task_load", startMs: 1, durationMs: 1, error: null } as const
    await plane.engine.transact("add attempts", (database) => {
      for (const accountId of ids.slice(0, 61)) {
        for (let run = 0; run < 25; run += 1) {
          database.insert("attempts", {
            accountId,
            agentId,
            kind: "notification",
            run: `run ${run}`,
            epoch: 1,
            endedAt: Date.now() - 1,
            end: "process_ended",
            steps: Array.from({ length: 60 }, () => ({ ...step })),
            stepsLeftOut: 0,
            usage: null
          })
        }
      }
    })
  }

  it("stop at the wave of an account that never comes back, resume without it, and roll back", async () => {
    const fleet = await twoHundred("vanishes")
    await fleet.upgrade(sizes)
    await fleet.plane.pass(34 * minute)
    expect(await fleet.state()).toBe("stopped")
    expect(await countsOf(fleet)).toEqual([{ done: 1 }, { done: 10 }, { done: 49, failed: 1 }, { waiting: 139 }])
    expect(versionsOf(fleet).flatMap(([version], index) => (version === target ? [index] : []))).toEqual(
      Array.from({ length: 61 }, (_, index) => index).filter((index) => index !== lost)
    )
    await fleet.plane.call(waves.resume, {})
    await fleet.plane.pass(40 * minute)
    expect(await fleet.state()).toBe("stopped")
    await fleet.plane.call(waves.resume, { skip: [fleet.ids[lost] ?? ""] })
    await fleet.plane.pass(15 * minute)
    expect(await fleet.state()).toBe("done")
    expect(await countsOf(fleet)).toEqual([{ done: 1 }, { done: 10 }, { done: 49, skipped: 1 }, { done: 139 }])
    await fleet.plane.call(waves.rollback, { all: true })
    await fleet.plane.pass(40 * minute)
    expect(await countsOf(fleet)).toEqual([
      { rolled_back: 1 },
      { rolled_back: 10 },
      { rolled_back: 49, rollback_failed: 1 },
      { rolled_back: 139 }
    ])
    expect(new Set(versionsOf(fleet).flat())).toEqual(new Set(["1.0.0"]))
    expect(openCommands(fleet).map(({ accountId, kind }) => [accountId, kind])).toEqual([[fleet.ids[lost], "rollback"]])
  })

  it("cost at most ten calls per account in a wave of 50, and each step reads a bounded number of documents", async () => {
    const fleet = await twoHundred("obeys")
    const { engine } = fleet.plane
    await addAttempts(fleet)
    await fleet.upgrade(sizes.slice(0, 3))
    // Wave 3 begins when the second one has been healthy for five minutes.
    await fleet.plane.pass(14 * minute - 1)
    expect((await countsOf(fleet)).slice(1)).toEqual([{ underway: 10 }, { waiting: 50 }])
    engine.stats.reset()
    await fleet.plane.pass(5 * minute)
    await addAttempts(fleet)
    await fleet.plane.pass(3 * minute)
    const stats = fleet.plane.stats()
    const callsOf = (...origins: ReadonlyArray<"client" | "scheduled" | "subscription">) =>
      Object.values(stats).reduce(
        (sum, { byOrigin }) => sum + origins.reduce((all, each) => all + byOrigin[each], 0),
        0
      )
    const step = stats["scheduled/rollouts:step"]
    const pulses = stats["service/runtimes:pulse"]
    expect((await countsOf(fleet)).slice(1)).toEqual([{ done: 10 }, { done: 50 }])
    const perAccount = (calls: number) => Math.round((100 * calls) / 50) / 100
    const restart = { pulses: pulses?.calls ?? 0, subscriptions: 50 }
    const all = callsOf("client", "scheduled", "subscription")
    const measured = {
      /** Calls of the runtimes and scheduled functions, with the four pulses of each restart. */
      callsPerAccount: perAccount(callsOf("client", "scheduled")),
      /** Everything that an upgrade adds to an ordinary restart, with pushes. */
      addedPerAccount: perAccount(all - restart.pulses - restart.subscriptions),
      steps: step?.calls,
      documentsRead: step?.usage.documentsRead.max,
      readIntervals: step?.usage.readIntervals.max,
      bytesRead: step?.usage.bytesRead.max
    }
    console.log(`a wave of 50 accounts: ${JSON.stringify(measured)}`)
    expect(measured.callsPerAccount).toBeLessThanOrEqual(10)
    expect(measured.addedPerAccount).toBeLessThanOrEqual(10)
    // Twenty accounts with one runtime and twenty attempts each.
    expect(measured.documentsRead).toBeLessThanOrEqual(20 * 26)
    expect(measured.readIntervals).toBeLessThanOrEqual(20 * 30)
    expect(measured.bytesRead).toBeLessThanOrEqual(4_000_000)
  })
})

describe("a random rollout", () => {
  const fates = ["obeys", "obeys", "obeys", "obeys", "refuses", "vanishes", "offline", "deaf", "ails"] as const
  const finals: ReadonlyArray<RolloutAccountState> = [
    "waiting",
    "done",
    "failed",
    "left_out",
    "skipped",
    "rolled_back",
    "rollback_failed"
  ]
  /** States of an account that let the next wave begin. */
  const passed: ReadonlyArray<RolloutAccountState> = ["done", "left_out", "skipped"]

  /** What must hold after every step, whatever the runtimes and the operator do. */
  const problemsOf = ({ plane }: FleetInWaves, isRollback: boolean): Array<string> => {
    const found: Array<string> = []
    const entries = plane.rows("rolloutAccounts")
    const rollout = plane.rows("rollouts").at(-1)
    const open = plane.rows("runtimeCommands").filter(({ isOpen }) => isOpen)
    const runtimes = open.map(({ accountId, runtimeId }) => `${accountId} ${runtimeId}`)
    if (new Set(runtimes).size < runtimes.length) found.push("two open commands for a runtime")
    for (const { accountId, kind, state } of open) {
      const isWatched = entries.some((entry) => entry.accountId === accountId && entry.state === "underway")
      if (kind === "upgrade" && state === "pending" && !isWatched) found.push("an upgrade that is not watched")
    }
    for (const entry of entries) {
      const isTouched = entry.runtimes.length > 0
      const earlier = entries.filter(({ wave }) => wave < entry.wave)
      if (isTouched && !isRollback && !earlier.every(({ state }) => passed.includes(state))) {
        found.push(`wave ${entry.wave} was begun before an earlier one was healthy`)
      }
      if (isTouched && entry.wave > (rollout?.wave ?? 0)) found.push("an account after the current wave was asked")
      if (entry.state === "waiting" && isTouched) found.push("an account that was asked is waiting")
    }
    for (const [wave, { counts, size }] of (rollout?.waves ?? []).entries()) {
      const states = entries.flatMap((entry) => (entry.wave === wave ? [entry.state] : []))
      for (const [state, count] of Object.entries(counts)) {
        if (states.filter((each) => each === state).length !== count) found.push(`count of ${state}`)
      }
      if (states.length !== size) found.push("size of a wave")
    }
    return found
  }

  const live = async (seed: number) => {
    const dice = new Dice(`waves ${seed}`)
    const count = dice.between(3, 8)
    const fleet = await fleetOf(
      ...Array.from({ length: count }, () => Array.from({ length: dice.between(1, 2) }, () => dice.pick(fates)))
    )
    const { plane, state, states } = fleet
    const first = dice.between(1, 2)
    const second = dice.between(1, count - first)
    await fleet.upgrade([first, second, count - first - second].filter((size) => size > 0))
    const decisions: Array<string> = []
    const check = () =>
      expect([seed, decisions, problemsOf(fleet, decisions.includes("rollback"))]).toEqual([seed, decisions, []])
    for (let step = 0; step < 200; step += 1) {
      const now = await state()
      if (["done", "cancelled", "rolled_back"].includes(now)) break
      const isAsked = now === "stopped" || (now === "running" && dice.between(1, 25) === 1)
      if (isAsked) {
        const decision = dice.pick(["resume", "resume", "skip", "skip", "skip", "rollback", "cancel"])
        decisions.push(decision)
        if (decision === "rollback") await plane.call(waves.rollback, { all: dice.between(0, 1) === 1 })
        if (decision === "cancel") await plane.call(waves.cancel, {})
        if (decision === "resume") await plane.call(waves.resume, {})
        if (decision === "skip") {
          const failed = (await states()).flatMap((each, index) => (each === "failed" ? [fleet.ids[index] ?? ""] : []))
          await plane.call(waves.resume, { skip: failed })
        }
        check()
      }
      // A runtime may change its mind, or return.
      const changed = dice.pick(fleet.runtimes.flat())
      if (dice.between(1, 10) === 1 && changed.fate !== "offline") {
        changed.fate = dice.pick(["obeys", "vanishes", "deaf"])
        if (changed.isGone) await changed.boot()
      }
      await plane.pass(dice.pick([5_000, 30_000, minute, 3 * minute]))
      check()
    }
    const end = await state()
    expect([seed, decisions, end]).toEqual([seed, decisions, expect.stringMatching(/^(done|cancelled|rolled_back)$/)])
    const ends = await states()
    for (const [index, each] of ends.entries()) {
      expect([seed, index, finals.includes(each), each]).toEqual([seed, index, true, each])
      const running = (fleet.runtimes[index] ?? [])
        .filter(({ isGone }) => !isGone)
        .map(({ versions }) => versions.runtime)
      if (each === "rolled_back" || each === "waiting")
        expect([seed, index, new Set(running)]).toEqual([seed, index, new Set(running.map(() => "1.0.0"))])
      if (each === "done") expect([seed, index, running.includes(target)]).toEqual([seed, index, true])
    }
    return { end, ends, decisions }
  }

  it("never asks an account of the next wave early, and reports how every account ended", async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= 40; seed += 1) {
      const { decisions, end, ends } = await live(seed)
      for (const each of [end, ...ends, ...decisions]) seen.add(each)
    }
    // The histories reach every end and every decision.
    expect([...seen].toSorted()).toEqual(
      [...new Set([...finals, "cancelled", "rolled_back", "done", "resume", "skip", "rollback", "cancel"])].toSorted()
    )
  })
})
