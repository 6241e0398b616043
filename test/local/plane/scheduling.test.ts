import { assert, describe, it } from "vitest"
import { nextMoment } from "../../../local/plane/crons.ts"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp()
const counters = api["counters"]!

describe("scheduled functions", () => {
  it("run when due, a mutation together with the end of its job", async () => {
    const client = served.socket()
    const id = await client.mutation(counters["later"]!, { name: "soon", milliseconds: 20, how: "mutation" })
    const both = served.watch(client, counters["value"]!, { name: "soon" })
    const job = served.watch(client, counters["job"]!, { id })
    await both.value((value) => value === 1)
    await job.value((state) => state === "success")
    assert.notInclude(job.values, "inProgress")
  })

  it("run actions", async () => {
    const client = served.socket()
    const id = await client.mutation(counters["later"]!, { name: "by action", milliseconds: 0, how: "action" })
    await served.watch(client, counters["value"]!, { name: "by action" }).value((value) => value === 1)
    await served.watch(client, counters["job"]!, { id }).value((state) => state === "success")
  })

  it("fail without writes if they throw", async () => {
    const client = served.socket()
    const id = await client.mutation(counters["later"]!, { name: "in vain", milliseconds: 0, how: "failure" })
    await served.watch(client, counters["job"]!, { id }).value((state) => state === "failed")
    assert.equal(await client.query(counters["value"]!, { name: "in vain" }), 0)
  })

  it("do not run once cancelled", async () => {
    const client = served.socket()
    const id = await client.mutation(counters["later"]!, { name: "cancelled", milliseconds: 150, how: "mutation" })
    await client.mutation(counters["cancel"]!, { id })
    // A job that is due later than the cancelled one has run, so the cancelled one will not.
    await client.mutation(counters["later"]!, { name: "after the cancelled", milliseconds: 200, how: "mutation" })
    await served.watch(client, counters["value"]!, { name: "after the cancelled" }).value((value) => value === 1)
    assert.equal(await client.query(counters["job"]!, { id }), "canceled")
    assert.equal(await client.query(counters["value"]!, { name: "cancelled" }), 0)
  })

  it("wait longer than the longest timer", async () => {
    const client = served.socket()
    const tenWeeks = 70 * 86_400_000
    const id = await client.mutation(counters["later"]!, { name: "far", milliseconds: tenWeeks, how: "mutation" })
    // With an overflow of the wait it would have run before this one, which was scheduled after it.
    await client.mutation(counters["later"]!, { name: "near", milliseconds: 0, how: "mutation" })
    await served.watch(client, counters["value"]!, { name: "near" }).value((value) => value === 1)
    assert.equal(await client.query(counters["job"]!, { id }), "pending")
    assert.equal(await client.query(counters["value"]!, { name: "far" }), 0)
  })
})

describe("cron jobs", () => {
  it("run at their interval, the first time at once", async () => {
    await served.watch(served.socket(), counters["value"]!, { name: "cron" }).value((value) => value >= 2)
    const { functions } = await served.local("GET", "stats")
    assert.isAtLeast(functions["counters:incrementQuietly"].byOrigin.cron, 2)
  })

  it("run at the times of their schedule, in UTC", () => {
    const from = Date.parse("2026-03-04T10:30:00Z")
    const next = (schedule: { type: string; [field: string]: unknown }): string =>
      new Date(nextMoment(schedule)(from)).toISOString()
    assert.equal(next({ type: "interval", minutes: 5 }), "2026-03-04T10:35:00.000Z")
    assert.equal(next({ type: "interval", hours: 1000 }), "2026-04-15T02:30:00.000Z")
    assert.equal(next({ type: "hourly", minuteUTC: 15 }), "2026-03-04T11:15:00.000Z")
    assert.equal(next({ type: "daily", hourUTC: 9, minuteUTC: 5 }), "2026-03-05T09:05:00.000Z")
    assert.equal(next({ type: "weekly", dayOfWeek: "monday", hourUTC: 1 }), "2026-03-09T01:00:00.000Z")
    assert.equal(next({ type: "monthly", day: 1, hourUTC: 0 }), "2026-04-01T00:00:00.000Z")
    assert.equal(next({ type: "cron", cron: "*/20 * * * *" }), "2026-03-04T10:40:00.000Z")
    assert.throws(() => next({ type: "interval" }), /not an interval/)
  })
})
